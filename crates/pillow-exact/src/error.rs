//! Why a picture cannot be decoded.

use thiserror::Error;

/// Why bytes are not turned into pixels. `format` is the format's usual name, such as `JPEG`.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// There are no bytes.
    #[error("empty, so not an image")]
    Empty,
    /// The bytes begin like no format that is known here.
    #[error("not an image of a known format ({known})")]
    UnknownFormat {
        /// The formats that are read, with commas between them.
        known: String,
    },
    /// The bytes are no picture, but something that is known.
    #[error("{kind}, not an image")]
    NoPicture {
        /// What they are, with its article.
        kind: &'static str,
    },
    /// The bytes name a picture that Git LFS keeps elsewhere.
    #[error("a Git LFS pointer, not the image that it stands for")]
    LfsPointer,
    /// The bytes are of a format that is known, and not read.
    #[error("{format} is not read")]
    NotRead {
        /// The picture's format.
        format: &'static str,
    },
    /// The bytes end before the picture does.
    #[error("{format} is truncated")]
    Truncated {
        /// The picture's format.
        format: &'static str,
    },
    /// The bytes break the format's rules.
    #[error("broken {format}: {reason}")]
    Invalid {
        /// The picture's format.
        format: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The picture uses a feature whose pixels could not be promised to be the reference's.
    #[error("{format} with {feature} is not supported")]
    Unsupported {
        /// The picture's format.
        format: &'static str,
        /// The feature.
        feature: String,
    },
    /// The picture is larger than [`DecodeOptions::max_pixels`](crate::DecodeOptions::max_pixels).
    #[error("{width}x{height} is more than the {limit} pixels allowed (max-pixels)")]
    TooManyPixels {
        /// Columns.
        width: u64,
        /// Rows.
        height: u64,
        /// The limit in force.
        limit: u64,
    },
    /// The picture is of a shape that the caller of [`decode_part`](crate::decode_part) does not want.
    #[error("a picture of {width}x{height} pixels is not wanted")]
    Shape {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// A decoder panicked.
    #[error("the {format} decoder failed: {reason}")]
    Panicked {
        /// The picture's format.
        format: &'static str,
        /// The panic's message.
        reason: String,
    },
}

impl DecodeError {
    pub(crate) fn invalid(format: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid { format, reason: reason.into() }
    }

    pub(crate) fn unsupported(format: &'static str, feature: impl Into<String>) -> Self {
        Self::Unsupported { format, feature: feature.into() }
    }
}
