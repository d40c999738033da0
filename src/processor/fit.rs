//! How a picture that is no square comes into one, where the user has another wish than the config.

use ::image::{Rgb, RgbImage};

use super::config::ProcessorConfig;
use super::error::ConfigError;
use super::size::Size;

/// How a picture becomes a square.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fit {
    /// The config's own way: a crop for CLIP and DINOv2, a squash for SigLIP
    #[default]
    Crop,
    /// Centred on a square of the mean colour, before all else, as LLaVA does
    Pad,
    /// Straight to the square, whatever the aspect
    Squash,
}

impl Fit {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Crop, Self::Pad, Self::Squash];

    /// The name in metadata and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crop => "crop",
            Self::Pad => "pad",
            Self::Squash => "squash",
        }
    }
}

impl ProcessorConfig {
    /// The same processor with another fit.
    ///
    /// # Errors
    /// The config has no mean whose colour could pad, or no square to squash to.
    pub fn fitted(self, fit: Fit) -> Result<Self, ConfigError> {
        let lacks = |field: &str, expected: &str| ConfigError::Field {
            field: field.into(),
            found: "not in use".into(),
            expected: expected.into(),
        };
        match fit {
            Fit::Crop => Ok(self),
            Fit::Pad => {
                let mean = self.normalize.ok_or_else(|| lacks("image_mean", "in use for fit pad"))?.mean;
                Ok(Self { pad: Some(pad_colour(mean)), ..self })
            }
            Fit::Squash => {
                let (height, width) = match (self.crop, self.resize) {
                    (Some(crop), _) => crop,
                    (None, Some(Size::Exact { height, width })) => (height, width),
                    _ => return Err(lacks("crop_size", "in use for fit squash")),
                };
                Ok(Self { resize: Some(Size::Exact { height, width }), crop: None, pad: None, ..self })
            }
        }
    }

    /// The same processor with outputs of another size: what it resizes and crops to becomes `image_size`.
    #[must_use]
    pub fn at(self, image_size: u32) -> Self {
        let resize = self.resize.map(|size| match size {
            Size::ShortestEdge { .. } => Size::ShortestEdge { edge: image_size, longest: None },
            Size::Exact { .. } => Size::Exact { height: image_size, width: image_size },
            Size::Within { .. } => Size::Within { height: image_size, width: image_size },
        });
        Self { resize, crop: self.crop.map(|_| (image_size, image_size)), ..self }
    }
}

/// The mean's colour: Python's int() of it, which Pillow then holds within a byte.
pub(super) fn pad_colour(mean: [f64; 3]) -> [u8; 3] {
    mean.map(|mean| (mean * 255.0) as u8)
}

/// Left and top of a picture centred on a square: LLaVA's `expand2square`, the smaller half first.
pub(super) fn padding(width: u32, height: u32) -> (u32, u32) {
    let edge = width.max(height);
    ((edge - width) / 2, (edge - height) / 2)
}

/// A picture centred on a square.
pub(super) fn expand_to_square(picture: &RgbImage, colour: [u8; 3]) -> RgbImage {
    let (left, top) = padding(picture.width(), picture.height());
    let edge = picture.width().max(picture.height());
    let mut square = RgbImage::from_pixel(edge, edge, Rgb(colour));
    ::image::imageops::replace(&mut square, picture, left.into(), top.into());
    square
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pad_colour_is_the_mean_truncated() {
        let fitted = ProcessorConfig::clip(224).fitted(Fit::Pad).expect("a mean");
        assert_eq!(fitted.pad, Some([122, 116, 104]));
        let without = ProcessorConfig { normalize: None, ..ProcessorConfig::clip(224) };
        assert!(without.fitted(Fit::Pad).expect_err("no mean").to_string().contains("image_mean"));
    }

    #[test]
    fn the_smaller_half_of_the_padding_comes_first() {
        let picture = RgbImage::from_pixel(5, 2, Rgb([9; 3]));
        let square = expand_to_square(&picture, [1, 2, 3]);
        assert_eq!(square.dimensions(), (5, 5));
        let rows: Vec<u8> = (0..5).map(|y| square.get_pixel(4, y).0[0]).collect();
        assert_eq!(rows, [1, 9, 9, 1, 1]);
        assert_eq!(expand_to_square(&RgbImage::new(1, 4), [7; 3]).get_pixel(1, 0).0, [0; 3]);
    }

    #[test]
    fn a_squash_goes_straight_to_what_the_config_gives() {
        let squashed = ProcessorConfig::dinov2().fitted(Fit::Squash).expect("a square");
        assert_eq!((squashed.resize, squashed.crop), (Some(Size::Exact { height: 224, width: 224 }), None));
        let siglip = ProcessorConfig::siglip(384);
        assert_eq!(siglip.clone().fitted(Fit::Squash).expect("a square"), siglip);
        let free = ProcessorConfig { crop: None, ..ProcessorConfig::clip(224) };
        assert!(free.fitted(Fit::Squash).is_err());
    }

    #[test]
    fn another_size_is_resized_and_cropped_to() {
        assert_eq!(ProcessorConfig::clip(224).at(336), ProcessorConfig::clip(336));
        assert_eq!(ProcessorConfig::siglip(224).at(384), ProcessorConfig::siglip(384));
        let dinov2 = ProcessorConfig::dinov2().at(518);
        assert_eq!(dinov2.resize, Some(Size::ShortestEdge { edge: 518, longest: None }));
        assert_eq!(dinov2.crop, Some((518, 518)));
    }
}
