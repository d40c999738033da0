//! A manifest among those of a collection.

use std::path::PathBuf;

use super::FeaturesError;
use crate::output::{Collection, Dtype, Head, is_inside};

/// A manifest that was followed.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) path: PathBuf,
    /// Which of the paths that were asked for it is of.
    pub(super) output: usize,
    /// Where its files are.
    pub(super) collection: Collection,
    pub(super) dtype: Dtype,
    pub(super) head: Head,
    pub(super) has_ended: bool,
}

impl Manifest {
    /// A file that it names.
    ///
    /// # Errors
    /// The name leads elsewhere, as anybody can have written it.
    pub(super) fn file(&self, name: &str) -> Result<PathBuf, FeaturesError> {
        match is_inside(name) {
            true => Ok(self.collection.file(name)),
            false => {
                let reason = format!("it names {name:?}, which is not below its directory");
                Err(FeaturesError::damaged(&self.path, reason))
            }
        }
    }
}
