//! `preprocessor_config.json` → resize, center crop, rescale, normalize → [`PixelValues`].
//!
//! The values are those of transformers 5.23.0, bit for bit, as one of its two [`Backend`]s makes them: `CLIPImageProcessorPil`,
//! `SiglipImageProcessorPil` and `BitImageProcessorPil` on Pillow 13.0.0, or `CLIPImageProcessor`, `SiglipImageProcessor` and
//! `BitImageProcessor` on torchvision 0.29 with torch 2.15.0, on a CPU with AVX2. `DINOv3ViTImageProcessor` has the latter alone. For
//! checkpoints of open_clip 3.3 and timm 1.0 they are those of the transforms that these libraries make for evaluation, given the
//! picture in RGB.
//!
//! ```
//! use clip_features::processor::Processor;
//!
//! let picture = image::RgbImage::from_pixel(640, 427, image::Rgb([255, 0, 0]));
//! let values = Processor::clip(224).process(&picture)?;
//! assert_eq!((values.height(), values.width()), (224, 224)); // (3, 224, 224)
//! # Ok::<(), clip_features::processor::ProcessError>(())
//! ```

mod backend;
mod config;
mod error;
mod fields;
mod fit;
mod floats;
mod geometry;
mod image_size;
mod kind;
mod open_clip;
mod pad;
mod patches;
mod pixel_values;
mod read;
mod size;
mod tiles;
mod timm;
mod torchvision;

use image::RgbImage;
use thiserror::Error;

pub use backend::Backend;
pub use config::{Normalize, ProcessorConfig};
pub use error::ConfigError;
pub use fit::Fit;
pub use geometry::{Geometry, SourceBox};
pub use image_size::ImageSize;
pub use kind::ProcessorKind;
pub use patches::Patches;
pub use pillow_exact::Filter;
pub use pixel_values::PixelValues;
pub use size::Size;
pub use tiles::Tiling;

use pillow_exact::{Canvas, Part, Window};
use pixel_values::Tables;
use tiles::Spread;

/// The most pixels that an output, or a padded picture, may have where no config bounds it: as many as Pillow opens.
const MAX_OUTPUT_PIXELS: u64 = 178_956_970;

/// How many times as long as short a picture may be whose shape is kept: a row of pixels would keep the tower busy for days.
const MAX_ASPECT: u32 = 32;

/// Why a picture has no pixel values.
///
/// ```
/// # use clip_features::{Fit, ModelSpec, Opened, Options};
/// # let mut options = Options::default();
/// use clip_features::{ExtractError, ProcessError, image::RgbImage};
///
/// options.fit = Fit::Keep;
/// # let opened = Opened::open(&ModelSpec::Random { seed: 0, directory: None }, options)?;
/// match opened.preprocess_rgb(&RgbImage::new(1, 1000)) {
///     Err(ExtractError::Process(ProcessError::Strip { height, .. })) => assert_eq!(height, 1000),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Error)]
pub enum ProcessError {
    /// The picture, or what the resize makes of it, has no pixels or too many.
    #[error("a picture of {width}x{height} pixels cannot be resized as the processor asks")]
    Size {
        /// The picture's width.
        width: u32,
        /// The picture's height.
        height: u32,
    },
    /// The picture is a strip, which would become an input without end, since its shape is to be kept.
    #[error(
        "a picture of {width}x{height} pixels is more than {MAX_ASPECT} times as long as it is short, and its shape is to be kept"
    )]
    Strip {
        /// The picture's width.
        width: u32,
        /// The picture's height.
        height: u32,
    },
}

/// An image processor.
#[derive(Clone, Debug)]
pub struct Processor {
    config: ProcessorConfig,
    tables: Tables,
    /// What tiles go through, where there are some.
    tile: Option<Box<Processor>>,
}

impl Processor {
    /// A processor that does what `config` says.
    pub fn new(config: ProcessorConfig) -> Self {
        let tables = Tables::new(&config);
        let tile = config.tiling.as_ref().map(|tiling| {
            Self::new(ProcessorConfig { resize: tiling.resize, pad: None, tiling: None, ..config.clone() })
        });
        Self { config, tables, tile: tile.map(Box::new) }
    }

    /// CLIP's own processor at `image_size` (224, 336, …), for checkpoints without a `preprocessor_config.json`.
    pub fn clip(image_size: u32) -> Self {
        Self::new(ProcessorConfig::clip(image_size))
    }

    /// What this processor does.
    pub fn config(&self) -> &ProcessorConfig {
        &self.config
    }

    /// Height and width of every output; none if they depend on the picture.
    pub fn output_size(&self) -> Option<(u32, u32)> {
        self.config.output_size()
    }

    /// How a picture of `width` × `height` passes through.
    ///
    /// # Errors
    /// When the picture, or what the resize makes of it, has no pixels or too many, or it is a strip whose shape is to be kept.
    pub fn geometry(&self, width: u32, height: u32) -> Result<Geometry, ProcessError> {
        let is_strip = u64::from(width.max(height)) > u64::from(width.min(height)) * u64::from(MAX_ASPECT);
        if let (Some(Size::Patches { .. }), true) = (self.config.resize, is_strip) {
            return Err(ProcessError::Strip { width, height });
        }
        Geometry::new(&self.config, width, height)
            .filter(|geometry| {
                let pixels = |(width, height): (u32, u32)| u64::from(width) * u64::from(height);
                let padded = self.config.pad.is_some() && pixels(geometry.source) > MAX_OUTPUT_PIXELS;
                pixels(geometry.output) <= MAX_OUTPUT_PIXELS && !padded
            })
            .ok_or(ProcessError::Size { width, height })
    }

    /// The pixel values `(tiles, 3, height, width)` of a picture; without tiling it is one tile.
    ///
    /// # Errors
    /// As for [`Processor::geometry`]; or its tiles differ in size.
    pub fn process(&self, rgb: &RgbImage) -> Result<PixelValues, ProcessError> {
        let (width, height) = rgb.dimensions();
        let whole = self.process_whole(rgb, (width, height), (0, 0))?;
        let (Some(tiling), Some(tile)) = (&self.config.tiling, &self.tile) else { return Ok(whole) };
        let refuse = || ProcessError::Size { width, height };
        let Spread { resized, origin, canvas } = tiling.spread(width, height).ok_or_else(refuse)?;
        let all = Window { rows: 0..resized.1, columns: 0..resized.0 };
        let resized = self.resize()(&Canvas::bare(rgb), resized.0, resized.1, self.config.resample, &all);
        let mut spread = RgbImage::new(canvas.0, canvas.1);
        ::image::imageops::replace(&mut spread, &resized, origin.0.into(), origin.1.into());
        let tiles = tiling.cut(&spread);
        let values = tiles.iter().map(|picture| tile.process(picture)).collect::<Result<Vec<_>, _>>()?;
        PixelValues::stack(whole, values).ok_or_else(refuse)
    }

    /// The part of a picture of `width` × `height` that its pixel values are made of; all of it where that is not told.
    pub fn reads(&self, width: u32, height: u32) -> Window {
        let all = Window::full(width, height);
        let Ok(geometry) = self.geometry(width, height) else { return all };
        if self.tile.is_some() || self.config.rescale_first {
            return all;
        }
        geometry.reads(self.config.resample, width, height)
    }

    /// As [`Processor::process`], of a part of a picture that holds what the processor [reads](Processor::reads).
    ///
    /// # Errors
    /// As for [`Processor::process`].
    ///
    /// # Panics
    /// When the part holds less.
    pub fn process_part(&self, part: &Part) -> Result<PixelValues, ProcessError> {
        let (width, height) = part.rgb.dimensions();
        if part.size == (width, height) {
            return self.process(&part.rgb);
        }
        let (left, top) = part.place;
        let held = Window { rows: top..top + height, columns: left..left + width };
        assert!(held.holds(&self.reads(part.size.0, part.size.1)), "a part that is too small");
        self.process_whole(&part.rgb, part.size, part.place)
    }

    /// The pixel values of a picture of `size` as one. Of the picture there is `rgb` at `place`, beside which nothing is read.
    fn process_whole(
        &self,
        rgb: &RgbImage,
        size: (u32, u32),
        place: (u32, u32),
    ) -> Result<PixelValues, ProcessError> {
        let geometry = self.geometry(size.0, size.1)?;
        let (resized, output) = (geometry.resized, geometry.output);
        let place = (geometry.padding.0 + place.0, geometry.padding.1 + place.1);
        let canvas = Canvas::new(rgb, geometry.source, place, self.config.pad.unwrap_or_default());
        if self.config.rescale_first {
            return Ok(floats::process(&self.config, &canvas, &geometry));
        }
        let visible = self.resize()(&canvas, resized.0, resized.1, self.config.resample, &geometry.window());
        Ok(self.tables.apply(&visible, geometry.placement(), output.1 as usize, output.0 as usize))
    }

    fn resize(&self) -> fn(&Canvas<'_>, u32, u32, Filter, &Window) -> RgbImage {
        match self.config.backend {
            Backend::Pil | Backend::Transforms => pillow_exact::resize_canvas,
            Backend::Torchvision => torchvision::resize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_picture_has_one_value_per_channel() {
        let picture = RgbImage::from_pixel(300, 200, ::image::Rgb([10, 20, 30]));
        let values = Processor::clip(32).process(&picture).expect("processes");
        let tables = Tables::new(&ProcessorConfig::clip(32));
        let small = tables.apply(
            &RgbImage::from_pixel(32, 32, ::image::Rgb([10, 20, 30])),
            geometry::Placement { top: 0, left: 0 },
            32,
            32,
        );
        assert_eq!(values, small);
    }

    #[test]
    fn a_part_of_what_is_read_is_enough() {
        let picture =
            RgbImage::from_fn(190, 131, |x, y| ::image::Rgb([(x * y) as u8, (x * 7) as u8, (y * 5) as u8]));
        let clip = ProcessorConfig::clip(32);
        let torchvision = clip.clone().on(Backend::Torchvision).expect("it can");
        let padded = ProcessorConfig { pad: Some([9, 8, 7]), ..clip.clone() };
        let large = ProcessorConfig { crop: Some((200, 300)), ..clip.clone() };
        let unresized = ProcessorConfig { resize: None, ..clip.clone() };
        let nearest = ProcessorConfig { resample: Filter::Nearest, ..clip.clone() };
        let dinov3 = ProcessorConfig::dinov3(32);
        for (name, config) in [
            ("clip", clip),
            ("torchvision", torchvision),
            ("padded", padded),
            ("a crop larger than the picture", large),
            ("unresized", unresized),
            ("nearest", nearest),
            ("dinov3", dinov3),
        ] {
            let processor = Processor::new(config);
            let Window { rows, columns } = processor.reads(190, 131);
            let place = (columns.start, rows.start);
            let (width, height) = (columns.len() as u32, rows.len() as u32);
            let rgb = ::image::imageops::crop_imm(&picture, place.0, place.1, width, height).to_image();
            let format = pillow_exact::Format::of_extension("jpg").expect("a format");
            let part = Part { rgb, place, size: (190, 131), format, warnings: Vec::new(), share: None };
            let (found, expected) = (processor.process_part(&part), processor.process(&picture));
            assert_eq!(found.expect(name), expected.expect(name), "{name}");
        }
        assert_eq!(Processor::clip(32).reads(190, 131).rows, 0..131);
        assert!(Processor::clip(32).reads(190, 131).columns.len() < 150);
    }

    #[test]
    fn an_extreme_aspect_needs_no_extreme_memory() {
        let picture = RgbImage::from_pixel(1, 60_000, ::image::Rgb([9, 9, 9]));
        let values = Processor::clip(224).process(&picture).expect("processes");
        assert_eq!(values.as_slice().len(), 3 * 224 * 224);
        // Resized to 2 billion rows, of which 224 are seen.
        let picture = RgbImage::from_pixel(1, 9_500_000, ::image::Rgb([9, 9, 9]));
        let torchvision = ProcessorConfig::clip(224).on(Backend::Torchvision).expect("it can");
        let values = Processor::new(torchvision).process(&picture).expect("processes");
        assert_eq!(values.as_slice().len(), 3 * 224 * 224);
    }

    #[test]
    fn a_strip_keeps_no_shape() {
        let kept = ProcessorConfig::clip(224).fitted(Fit::Keep, Some(14)).expect("a size");
        let processor = Processor::new(kept);
        assert_eq!(processor.geometry(320, 10).expect("a geometry").output, (7168, 224));
        for (width, height) in [(1, 800), (321, 10), (60_000, 1)] {
            let error = processor.geometry(width, height).expect_err("a strip").to_string();
            assert!(error.contains("32 times"), "{error}");
        }
        assert_eq!(processor.output_size(), None);
        assert_eq!(processor.config().least_output_size(), Some((224, 224)));
    }

    #[test]
    fn output_size_is_known_where_the_config_fixes_it() {
        assert_eq!(Processor::clip(336).output_size(), Some((336, 336)));
        let free = ProcessorConfig { crop: None, ..ProcessorConfig::clip(224) };
        assert_eq!(Processor::new(free.clone()).output_size(), None);
        let exact = ProcessorConfig { resize: Some(Size::Exact { height: 5, width: 6 }), ..free };
        assert_eq!(Processor::new(exact).output_size(), Some((5, 6)));
    }
}
