//! Why features cannot be read.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::output::OutputError;

/// Why features cannot be opened or read.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, path) = given::written()?;
/// use clip_features::features::{self, FeaturesError};
///
/// assert!(matches!(features::open("no-such.npy"), Err(FeaturesError::Missing { .. })));
/// match features::open(path)?.get("bird.ppm") {
///     Err(error @ FeaturesError::NoKey { .. }) => {
///         assert!(error.to_string().starts_with("no image \"bird.ppm\" in "));
///     }
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FeaturesError {
    /// Nothing has this name.
    #[error("{}: there is no such output", path.display())]
    Missing {
        /// The path that was asked for.
        path: PathBuf,
    },
    /// Nothing says that it was written here.
    #[error("{}: {reason}", path.display())]
    Unknown {
        /// The path that was asked for.
        path: PathBuf,
        /// What is there.
        reason: String,
    },
    /// A run has not come to its end.
    #[error("{}: is not finished: {reason}", path.display())]
    Unfinished {
        /// The output.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// What was written is not as it was.
    #[error("{}: is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What shows it.
        reason: String,
    },
    /// Outputs that are opened together were made with other settings.
    #[error("{}: {reason}", path.display())]
    Mixed {
        /// The one that differs from the first.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
    /// An image has features in two of the outputs that are opened together.
    #[error("{}: holds {key:?}, which {} holds too", paths[1].display(), paths[0].display())]
    Twice {
        /// The image's key.
        key: String,
        /// Both outputs.
        paths: [PathBuf; 2],
    },
    /// Pictures were drawn in place of tensors.
    #[error("{}: holds pictures, not tensors", path.display())]
    Pictures {
        /// The output.
        path: PathBuf,
    },
    /// A file is not the one that was there when the features were opened.
    #[error("{}: has changed since it was opened\nhint: open it again", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// There is no such image.
    #[error("no image {key:?} in {}", path.display())]
    NoKey {
        /// What was asked for.
        key: String,
        /// The first of the outputs.
        path: PathBuf,
    },
    /// An image has several tensors, and none of them was named.
    #[error("an image has several tensors, of which one must be named: {}", has.join(", "))]
    Several {
        /// What there is.
        has: Vec<String>,
    },
    /// There is no such tensor.
    #[error("no tensor {name:?}: an image has {}", has.join(", "))]
    NoTensor {
        /// What was asked for.
        name: String,
        /// What there is.
        has: Vec<String>,
    },
    /// The system refused.
    #[error("{}: cannot be read: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The output is of another version.
    #[error("{0}")]
    Output(OutputError),
}

impl FeaturesError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    pub(super) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.into() }
    }
}

impl From<OutputError> for FeaturesError {
    fn from(error: OutputError) -> Self {
        match error {
            OutputError::Io { path, source } => Self::Io { path, source },
            OutputError::Taken { path, reason } => Self::Unknown { path, reason },
            other => Self::Output(other),
        }
    }
}
