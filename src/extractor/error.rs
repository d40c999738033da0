//! What can go wrong with one image.

use pillow_exact::DecodeError;
use thiserror::Error;

use crate::{model::ModelError, processor::ProcessError};

/// Why an image has no features.
///
/// ```
/// # use clip_features::{ModelSpec, Opened, Options};
/// # let opened = Opened::open(&ModelSpec::Random { seed: 0, directory: None }, Options::default())?;
/// use clip_features::{ExtractError, pillow_exact::DecodeError};
///
/// match opened.preprocess(b"") {
///     Err(ExtractError::Decode(DecodeError::Empty)) => println!("a file without a byte"),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
