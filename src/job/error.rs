//! Why a job ends before its inputs do.

use std::{io, path::PathBuf};

use thiserror::Error;

use crate::{input::InputError, model::ModelError, output::OutputError, shard::NotRead};

/// What is to blame. An image that fails is none of these, but a value among the reports.
///
/// ```
/// use clip_features::{ModelSpec, job::{Job, JobError}};
///
/// let chosen = Job::default().choose()?; // without an image
/// match chosen.look(&ModelSpec::Random { seed: 0, directory: None }) {
///     Err(error @ JobError::NoImages(_)) => assert_eq!(error.to_string(), "there are no images in the inputs"),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JobError {
    /// The model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// An input, as a whole.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The output.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// Pictures would lie among the images that they are drawn of, and be images themselves for the next run.
    #[error("{}: pictures would be drawn among the images of {}, which is an input", path.display(), input.display())]
    AmongInputs {
        /// The directory of the pictures.
        path: PathBuf,
        /// The input.
        input: PathBuf,
    },
    /// There is nothing to do.
    #[error("there are no images in the inputs{}", .0.what_else())]
    NoImages(NotRead),
    /// Two images would be written to one place.
    #[error(
        "{first} and {second} would both be written to {}{}",
        place.display(),
        if *by_dots { ", as the dots of a name become underscores in a tar" } else { "" }
    )]
    Clash {
        /// An image.
        first: String,
        /// Another.
        second: String,
        /// Where both would go.
        place: PathBuf,
        /// Whether names that keep the image's extension would tell them apart.
        by_extension: bool,
        /// Whether their names differ in dots alone, which a tar's sample has none of: its key ends at the first one.
        by_dots: bool,
    },
    /// The disk is too small.
    #[error("{}: {needed} needed, {free} free", path.display())]
    NoSpace {
        /// The output.
        path: PathBuf,
        /// What the images need, for a person to read.
        needed: String,
        /// What there is.
        free: String,
    },
    /// The output and the failures would go to one place.
    #[error("{}: more than one thing would be written there", path.display())]
    SamePlace {
        /// The place.
        path: PathBuf,
    },
    /// An output would replace what is read.
    #[error("{}: {reason}", path.display())]
    Over {
        /// The output.
        path: PathBuf,
        /// What of the inputs, or of the model, is the same file.
        reason: String,
    },
    /// The file for failures would replace something else.
    #[error("{}: exists, and is no list of failures", path.display())]
    NoFailures {
        /// The file.
        path: PathBuf,
    },
    /// The system gives no thread to work on.
    #[error("a thread cannot be started: {0}")]
    Thread(io::Error),
    /// Something is said of tars, and no tar comes in.
    #[error("{setting} {purpose}, and no tar comes in")]
    NoTars {
        /// What is said.
        setting: &'static str,
        /// What it does.
        purpose: &'static str,
    },
}
