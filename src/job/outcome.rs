//! How far an image has come on its way through a run.

use std::time::Duration;

use super::{error::JobError, failure::Failure, report::Status};
use crate::{
    extractor::{Picture, Preprocessed},
    output::{Array, InputFacts},
};

/// An image before the tower, and what was read of it.
pub(super) struct Ready {
    pub(super) input: InputFacts,
    pub(super) stage: Result<Box<Preprocessed>, Unmade>,
}

/// Why nothing is made of an image.
#[derive(Debug)]
pub(super) enum Unmade {
    /// It stays as it is, in this state.
    Left(Status),
    /// It has no features.
    Failed(Failure),
    /// An output would have been written over it, which is found out on the way and ends the run.
    Ends(JobError),
}

impl From<Failure> for Unmade {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What was made of an image.
#[derive(Debug)]
pub(super) struct Made {
    /// The tensors that were asked for.
    pub(super) arrays: Vec<Array>,
    /// Facts of the picture.
    pub(super) picture: Picture,
    /// Reading, decoding and preprocessing it.
    pub(super) preprocess: Duration,
    /// Its share of the tower's time.
    pub(super) encode: Duration,
}

/// What became of an image.
pub(super) type Outcome = Result<Made, Unmade>;
