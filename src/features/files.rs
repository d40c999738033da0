//! Files that are open: a bounded number, opened again when they are needed.

use std::{
    collections::HashMap,
    fs::File,
    path::Path,
    sync::{Arc, Mutex},
};

use super::FeaturesError;
use crate::bounded;

/// A process may have a thousand files open, and others need some.
const MOST_OPEN: usize = 128;

/// Open files, by numbers that stand for their paths.
#[derive(Debug, Default)]
pub(super) struct Files(Mutex<HashMap<u32, Arc<Open>>>);

/// An open file.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) file: File,
    /// Bytes that it had when it was opened.
    pub(super) length: u64,
}

impl Open {
    /// Opens a file.
    ///
    /// # Errors
    /// It is not there, or the system refuses.
    pub(super) fn at(path: &Path) -> Result<Self, FeaturesError> {
        let open = || {
            let file = bounded::open(path)?;
            let length = file.metadata()?.len();
            Ok(Self { file, length })
        };
        open().map_err(FeaturesError::io(path))
    }
}

impl Files {
    /// A file by its number, opened by `open` where it is not open.
    ///
    /// # Errors
    /// Those of `open`.
    pub(super) fn get(
        &self,
        number: u32,
        open: impl FnOnce() -> Result<Open, FeaturesError>,
    ) -> Result<Arc<Open>, FeaturesError> {
        // Nobody is waited for: a fork may have happened while another thread held the lock.
        if let Ok(files) = self.0.try_lock()
            && let Some(found) = files.get(&number)
        {
            return Ok(found.clone());
        }
        let opened = Arc::new(open()?);
        if let Ok(mut files) = self.0.try_lock() {
            if files.len() >= MOST_OPEN
                && let Some(&other) = files.keys().next()
            {
                files.remove(&other);
            }
            files.insert(number, opened.clone());
        }
        Ok(opened)
    }
}
