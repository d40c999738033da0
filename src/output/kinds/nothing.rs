//! Nowhere: tensors are computed, and only what is said of them is of interest.

use std::path::{Path, PathBuf};

use super::{Asked, Claim};
use crate::output::{Array, Contents, Described, Destination, Format, OutputError, Setting, Sink};

#[derive(Debug)]
struct Nothing;

pub(super) fn claim(asked: &Asked) -> Claim {
    asked.path.is_none().then(|| Ok(Box::new(Nothing) as Box<dyn Destination>))
}

impl Destination for Nothing {
    fn describe(&self, _contents: &Contents) -> String {
        "none, shapes are printed".into()
    }

    fn heeds(&self, setting: Setting) -> bool {
        setting == Setting::Part
    }

    fn format(&self) -> Option<Format> {
        None
    }

    fn open(&self, _contents: &Contents, _planned: &[&Path]) -> Result<Box<dyn Sink>, OutputError> {
        Ok(Box::new(Self))
    }
}

impl Sink for Nothing {
    fn write(&mut self, _: &Described<'_>, _: &[Array]) -> Result<Vec<PathBuf>, OutputError> {
        Ok(Vec::new())
    }
}
