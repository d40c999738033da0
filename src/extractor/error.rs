//! What can go wrong with one image.

use pillow_exact::DecodeError;
use thiserror::Error;

use crate::{model::ModelError, processor::ProcessError};

/// Why an image has no features.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// Its bytes are no picture that can be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The picture cannot be resized.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The tower failed on it.
    #[error(transparent)]
    Model(#[from] ModelError),
}
