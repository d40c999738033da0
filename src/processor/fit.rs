//! How a picture comes into the shape of the tower's input, where the user has another wish than the config.

use serde::{Deserialize, Serialize};

use super::config::ProcessorConfig;
use super::error::ConfigError;
use super::image_size::ImageSize;
use super::size::Size;

/// How a picture comes into the shape of the tower's input.
///
/// ```
/// use clip_features::{Fit, ModelSpec, Opened, Options, image::RgbImage};
///
/// let wide = RgbImage::new(640, 320);
/// for (fit, shape) in [(Fit::Auto, (224, 224)), (Fit::Pad, (224, 224)), (Fit::Keep, (224, 448))] {
///     let mut options = Options::default();
///     options.fit = fit;
///     let opened = Opened::open(&ModelSpec::Random { seed: 0, directory: None }, options)?;
///     let values = opened.preprocess_rgb(&wide)?;
///     assert_eq!((values.height(), values.width()), shape);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fit {
    /// The config's own way: a crop for CLIP and DINOv2, a squash for SigLIP and DINOv3
    #[default]
    Auto,
    /// Centred on a square of the mean colour, before all else, as LLaVA does
    Pad,
    /// Straight to the square, whatever the aspect
    Squash,
    /// In its own shape: the shorter edge as long as the square's, each edge whole patches
    Keep,
}

impl Fit {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Pad, Self::Squash, Self::Keep];

    /// The name in metadata and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Pad => "pad",
            Self::Squash => "squash",
            Self::Keep => "keep",
        }
    }
}

impl ProcessorConfig {
    /// The same processor with another fit. Only [`Fit::Keep`] asks for the tower's `patch_size`.
    ///
    /// # Errors
    /// The config has no mean whose colour could pad, no size to squash to or to keep a shape at, or that is less than a patch.
    pub fn fitted(self, fit: Fit, patch_size: Option<u32>) -> Result<Self, ConfigError> {
        let lacks = |field: &str, expected: &str| ConfigError::Field {
            field: field.into(),
            found: "not in use".into(),
            expected: expected.into(),
        };
        match fit {
            Fit::Auto => Ok(self),
            // It has no other way.
            Fit::Keep if self.patches().is_some() => Ok(self),
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
            Fit::Keep => {
                let patch = patch_size.ok_or_else(|| lacks("patch_size", "known for fit keep"))?;
                let edge = match (self.crop, self.resize) {
                    (Some((height, width)), _) | (None, Some(Size::Exact { height, width })) => {
                        height.min(width)
                    }
                    (None, Some(Size::ShortestEdge { edge, .. })) => edge,
                    _ => return Err(lacks("size", "in use for fit keep")),
                };
                if edge < patch || patch == 0 {
                    return Err(ConfigError::Field {
                        field: "size".into(),
                        found: edge.to_string(),
                        expected: format!("at least the patches' {patch} for fit keep"),
                    });
                }
                Ok(Self { resize: Some(Size::Patches { edge, patch }), crop: None, pad: None, ..self })
            }
        }
    }

    /// The same processor with outputs of another size: what it resizes and crops to becomes that. An aspect that was kept stays
    /// kept: to an exact size the picture is resized so that it covers it, and its centre is cropped.
    #[must_use]
    pub fn at(self, image_size: ImageSize) -> Self {
        let (height, width) = match image_size {
            ImageSize::Edge(edge) => (edge, edge),
            ImageSize::Exact { height, width } => (height, width),
        };
        let resize = self.resize.map(|size| match size {
            Size::KeepRatio { longest, .. } => Size::KeepRatio { height, width, longest },
            Size::Exact { .. } => Size::Exact { height, width },
            Size::Within { .. } => Size::Within { height, width },
            _ if height == width => Size::ShortestEdge { edge: height, longest: None },
            _ => Size::Cover { height, width },
        });
        let is_exact = matches!(image_size, ImageSize::Exact { .. });
        let crops = self.crop.is_some() || is_exact && !matches!(resize, Some(Size::Exact { .. }));
        Self { resize, crop: crops.then_some((height, width)), ..self }
    }
}

/// The mean's colour: Python's int() of it, which Pillow then holds within a byte.
pub(super) fn pad_colour(mean: [f64; 3]) -> [u8; 3] {
    mean.map(|mean| (mean * 255.0) as u8)
}

/// Width and height of what is resized: the picture's own, or where it is padded those of the smallest canvas around it that
/// has the output's shape, which is a square if that is not known. None past 32-bit sizes.
pub(super) fn canvas(config: &ProcessorConfig, width: u32, height: u32) -> Option<(u32, u32)> {
    if config.pad.is_none() {
        return Some((width, height));
    }
    let (rows, columns) = config.output_size().unwrap_or((1, 1));
    if rows == 0 || columns == 0 {
        return None; // no canvas has the shape of nothing
    }
    let (wide, tall) = (u64::from(width) * u64::from(rows), u64::from(height) * u64::from(columns));
    if wide >= tall {
        Some((width, u32::try_from(wide.div_ceil(columns.into())).ok()?))
    } else {
        Some((u32::try_from(tall.div_ceil(rows.into())).ok()?, height))
    }
}

/// Left and top of a picture centred on a canvas, both sizes width and height: as in LLaVA's `expand2square`, the smaller half
/// comes first.
pub(super) fn padding(picture: (u32, u32), canvas: (u32, u32)) -> (u32, u32) {
    ((canvas.0 - picture.0) / 2, (canvas.1 - picture.1) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pad_colour_is_the_mean_truncated() {
        let fitted = ProcessorConfig::clip(224).fitted(Fit::Pad, None).expect("a mean");
        assert_eq!(fitted.pad, Some([122, 116, 104]));
        let without = ProcessorConfig { normalize: None, ..ProcessorConfig::clip(224) };
        assert!(without.fitted(Fit::Pad, None).expect_err("no mean").to_string().contains("image_mean"));
    }

    #[test]
    fn the_smaller_half_of_the_padding_comes_first() {
        let padded = ProcessorConfig::clip(224).fitted(Fit::Pad, None).expect("a mean");
        assert_eq!(canvas(&padded, 5, 2), Some((5, 5)));
        assert_eq!(padding((5, 2), (5, 5)), (0, 1));
        assert_eq!(padding((1, 4), (4, 4)), (1, 0));
    }

    #[test]
    fn the_canvas_has_the_outputs_shape() {
        let of = |image_size: ImageSize| {
            ProcessorConfig::clip(224).at(image_size).fitted(Fit::Pad, None).expect("a mean")
        };
        let wide = of(ImageSize::Exact { height: 100, width: 300 });
        assert_eq!(canvas(&wide, 90, 30), Some((90, 30)));
        assert_eq!(canvas(&wide, 90, 10), Some((90, 30)));
        assert_eq!(canvas(&wide, 90, 50), Some((150, 50)));
        assert_eq!(canvas(&wide, 91, 10), Some((91, 31)));
        assert_eq!(canvas(&of(ImageSize::Edge(50)), 7, 9), Some((9, 9)));
        assert_eq!(canvas(&ProcessorConfig::clip(224), 7, 9), Some((7, 9)));
        assert_eq!(canvas(&of(ImageSize::Exact { height: 1, width: 16_000 }), 1, 1_000_000), None);
        for (height, width) in [(0, 20), (20, 0), (0, 0)] {
            assert_eq!(canvas(&of(ImageSize::Exact { height, width }), 7, 9), None, "{height}x{width}");
        }
    }

    #[test]
    fn a_squash_goes_straight_to_what_the_config_gives() {
        let squashed = ProcessorConfig::dinov2().fitted(Fit::Squash, None).expect("a square");
        assert_eq!((squashed.resize, squashed.crop), (Some(Size::Exact { height: 224, width: 224 }), None));
        let siglip = ProcessorConfig::siglip(384);
        assert_eq!(siglip.clone().fitted(Fit::Squash, None).expect("a square"), siglip);
        let free = ProcessorConfig { crop: None, ..ProcessorConfig::clip(224) };
        assert!(free.fitted(Fit::Squash, None).is_err());
    }

    #[test]
    fn a_shape_is_kept_at_the_edge_that_the_output_has() {
        let kept = |config: ProcessorConfig| config.fitted(Fit::Keep, Some(14)).map(|config| config.resize);
        let patches = |edge| Some(Size::Patches { edge, patch: 14 });
        assert_eq!(kept(ProcessorConfig::clip(224)).expect("a size"), patches(224));
        assert_eq!(kept(ProcessorConfig::dinov2()).expect("a size"), patches(224));
        assert_eq!(kept(ProcessorConfig::siglip(384)).expect("a size"), patches(384));
        let free = ProcessorConfig { crop: None, ..ProcessorConfig::clip(100) };
        assert_eq!(kept(free.clone()).expect("a size"), patches(100));
        assert_eq!(kept(free.clone().at(ImageSize::Edge(448))).expect("a size"), patches(448));
        let error = kept(ProcessorConfig { resize: None, ..free }).expect_err("no size");
        assert!(error.to_string().contains("size is not in use"), "{error}");
        ProcessorConfig::clip(224).fitted(Fit::Keep, Some(0)).expect_err("no patch");
        let error = kept(ProcessorConfig::clip(13)).expect_err("no patch");
        assert!(error.to_string().contains("size is 13, but must be at least the patches' 14"), "{error}");
    }

    #[test]
    fn another_size_is_resized_and_cropped_to() {
        let edge = ImageSize::Edge;
        assert_eq!(ProcessorConfig::clip(224).at(edge(336)), ProcessorConfig::clip(336));
        assert_eq!(ProcessorConfig::siglip(224).at(edge(384)), ProcessorConfig::siglip(384));
        let dinov2 = ProcessorConfig::dinov2().at(edge(518));
        assert_eq!(dinov2.resize, Some(Size::ShortestEdge { edge: 518, longest: None }));
        assert_eq!(dinov2.crop, Some((518, 518)));

        let exact = |height, width| ImageSize::Exact { height, width };
        assert_eq!(ProcessorConfig::clip(224).at(exact(336, 336)), ProcessorConfig::clip(336));
        let wide = ProcessorConfig::dinov2().at(exact(224, 448));
        assert_eq!(wide.resize, Some(Size::Cover { height: 224, width: 448 }));
        assert_eq!(wide.crop, Some((224, 448)));
        let siglip = ProcessorConfig::siglip(224).at(exact(224, 448));
        assert_eq!((siglip.resize, siglip.crop), (Some(Size::Exact { height: 224, width: 448 }), None));
        let free = ProcessorConfig { crop: None, ..ProcessorConfig::clip(224) };
        assert_eq!(free.clone().at(edge(448)).output_size(), None);
        assert_eq!(free.clone().at(exact(448, 448)).output_size(), Some((448, 448)));
        assert_eq!(ProcessorConfig { resize: None, ..free }.at(exact(3, 4)).output_size(), Some((3, 4)));
    }
}
