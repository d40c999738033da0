//! An image that failed, as a value.

use pillow_exact::DecodeError;

use crate::{extractor::ExtractError, input::InputError};

/// Where an image failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its bytes could not be read.
    Read,
    /// They are no picture that can be decoded.
    Decode,
    /// The picture does not become the tower's input.
    Preprocess,
    /// The tower failed on it.
    Encode,
    /// Its output could not be placed.
    Write,
}

impl Stage {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Decode => "decode",
            Self::Preprocess => "preprocess",
            Self::Encode => "encode",
            Self::Write => "write",
        }
    }
}

/// A setting under which an image might not have failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// More pixels are allowed: [`DecodeOptions::max_pixels`](pillow_exact::DecodeOptions::max_pixels).
    MaxPixels,
    /// One of a sample's images is chosen: [`Selection::image_keys`](crate::shard::Selection::image_keys).
    ImageKey,
}

/// An image that has no features, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where it failed.
    pub stage: Stage,
    /// The reason, without the path.
    pub reason: String,
    /// What might help, if a setting does.
    pub remedy: Option<Remedy>,
}

impl Failure {
    pub(super) fn new(stage: Stage, reason: impl ToString) -> Self {
        Self { stage, reason: reason.to_string(), remedy: None }
    }

    /// The bytes could not be read.
    pub(super) fn read(error: &InputError) -> Self {
        let remedy = matches!(error, InputError::SeveralImages(_)).then_some(Remedy::ImageKey);
        Self { remedy, ..Self::new(Stage::Read, error) }
    }

    /// They do not become the tower's input.
    pub(super) fn preprocess(error: &ExtractError) -> Self {
        match error {
            ExtractError::Decode(decode) => {
                let remedy = matches!(decode, DecodeError::TooManyPixels { .. }).then_some(Remedy::MaxPixels);
                Self { remedy, ..Self::new(Stage::Decode, error) }
            }
            _ => Self::new(Stage::Preprocess, error),
        }
    }
}
