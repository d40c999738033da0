//! What a caller can choose: all else is as Pillow has it.

use std::sync::Arc;

use crate::budget::Budget;

/// What becomes of transparency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Alpha {
    /// The picture is composited over white, as transformers 5 does.
    #[default]
    White,
    /// The alpha band is dropped, as `.convert("RGB")` does in transformers 4 and LLaVA.
    Drop,
}

impl Alpha {
    /// Every way.
    pub const ALL: [Self; 2] = [Self::White, Self::Drop];

    /// Its name, for options and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::White => "white",
            Self::Drop => "drop",
        }
    }
}

/// What becomes of an orientation in the picture's metadata.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExifOrientation {
    /// Pixels stay as they are stored, as `PIL.Image.open` gives them.
    #[default]
    Ignore,
    /// The picture is turned upright, as `transformers.image_utils.load_image` does.
    Apply,
}

impl ExifOrientation {
    /// Every way.
    pub const ALL: [Self; 2] = [Self::Ignore, Self::Apply];

    /// Its name, for options and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ignore => "ignore",
            Self::Apply => "apply",
        }
    }
}

/// How pictures are decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeOptions {
    /// What becomes of transparency.
    pub alpha: Alpha,
    /// What becomes of an orientation in the metadata.
    pub exif_orientation: ExifOrientation,
    /// The most pixels that a picture may have.
    pub max_pixels: u64,
    /// The memory that this picture and others may take together while they are decoded; none where that is not bounded.
    pub budget: Option<Arc<Budget>>,
}

impl Default for DecodeOptions {
    /// Transparency over white, orientation ignored, and Pillow's limit of 178,956,970 pixels.
    fn default() -> Self {
        Self {
            alpha: Alpha::default(),
            exif_orientation: ExifOrientation::default(),
            max_pixels: 178_956_970,
            budget: None,
        }
    }
}
