//! What can be wrong with an output.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

impl OutputError {
    /// The same of the path that a user knows, where an error names a file inside of it.
    pub(super) fn at(self, path: &Path) -> Self {
        match self {
            Self::Io { source, .. } => Self::Io { path: path.to_owned(), source },
            Self::Busy { .. } => Self::Busy { path: path.to_owned() },
            other => other,
        }
    }
}

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
    /// Another process holds its lock.
    #[error("{}: another process is writing it", path.display())]
    Busy {
        /// The target.
        path: PathBuf,
    },
    /// There is an output of other settings, or of unknown origin, where this one should go.
    #[error("{}: {reason}\nhint: --overwrite starts anew, another -o keeps both", path.display())]
    Taken {
        /// The target.
        path: PathBuf,
        /// What is there.
        reason: String,
    },
    /// An image's output would lie outside the directory, or on another image's.
    #[error("{}: {reason}", path.display())]
    Misplaced {
        /// The output.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Files of an interrupted run that do not hold together.
    #[error("{}: {reason}\nhint: --overwrite starts anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not hold together.
        reason: String,
    },
    /// The system refused.
    #[error("{}: cannot be written: {source}{}", path.display(), hint(source))]
    Io {
        /// The target.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The way out, where there is one.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "\nhint: make room and run the same command again"
        }
        _ => "",
    }
}
