//! What can be wrong with an output.

use std::{io, path::PathBuf};

use thiserror::Error;

/// Why an output could not be opened or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The target's directory does not exist.
    #[error("{}: the directory {} does not exist\nhint: create it with mkdir -p", path.display(), directory.display())]
    NoDirectory {
        /// The target.
        path: PathBuf,
        /// Its parent.
        directory: PathBuf,
    },
    /// The target is a directory, and a file is needed.
    #[error("{}: is a directory\nhint: name a file in it, such as {}", path.display(), path.join("features.npy").display())]
    IsDirectory {
        /// The target.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{}: cannot be written: {source}", path.display())]
    Io {
        /// The target.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
