//! A manifest among those of a collection.

use std::path::PathBuf;

use super::FeaturesError;
use crate::output::{Head, Shelf};

/// A manifest that was followed.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) path: PathBuf,
    /// Which of the paths that were asked for it is of.
    pub(super) output: usize,
    pub(super) shelf: Shelf,
    pub(super) head: Head,
    pub(super) has_ended: bool,
}

impl Manifest {
    /// A file that it names.
    ///
    /// # Errors
    /// The name leads elsewhere.
    pub(super) fn file(&self, name: &str) -> Result<PathBuf, FeaturesError> {
        self.shelf.file(name).ok_or_else(|| {
            let reason = format!("it names {name:?}, which is not below its directory");
            FeaturesError::damaged(&self.path, reason)
        })
    }
}
