//! What the processor hands to the tower.

use image::RgbImage;

use super::backend::Backend;
use super::config::{Normalize, ProcessorConfig};
use super::geometry::Placement;

/// Preprocessed pixels of one picture: `(tiles, 3, height, width)`, channel first, row by row, in f32. Mostly there is one tile, the
/// picture.
///
/// Whoever has another way to them hands them to [`Extractor::encode`](crate::Extractor::encode).
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, model) = given::model()?;
/// # let extractor = clip_features::Extractor::load(&model, Default::default())?;
/// use clip_features::PixelValues;
///
/// let grey = vec![0.0; 3 * 64 * 64];
/// let input = PixelValues::new(64, 64, grey).ok_or("values of another number")?;
/// let features = extractor.encode(vec![input])?.remove(0); // of the first image
/// assert_eq!(features[0].shape, [1, 5, 48]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PixelValues {
    tiles: usize,
    height: usize,
    width: usize,
    data: Vec<f32>,
}

impl PixelValues {
    /// The number of channels: red, green, blue.
    pub const CHANNELS: usize = 3;

    /// Wraps `data`, of length `3 * height * width`, channel first; none if it has another length.
    pub fn new(height: usize, width: usize, data: Vec<f32>) -> Option<Self> {
        (data.len() == Self::CHANNELS * height * width).then_some(Self { tiles: 1, height, width, data })
    }

    /// A picture and more tiles of it, one after the other; none if their sizes differ.
    pub(super) fn stack(first: Self, rest: Vec<Self>) -> Option<Self> {
        let mut stacked = first;
        for tile in rest {
            if (tile.height, tile.width) != (stacked.height, stacked.width) {
                return None;
            }
            stacked.tiles += tile.tiles;
            stacked.data.extend(tile.data);
        }
        Some(stacked)
    }

    /// Some of a picture's tiles: `data` is `(tiles, 3, height, width)`.
    pub(crate) fn of_tiles(tiles: usize, height: usize, width: usize, data: Vec<f32>) -> Self {
        debug_assert_eq!(data.len(), tiles * Self::CHANNELS * height * width);
        Self { tiles, height, width, data }
    }

    /// Tiles.
    pub fn tiles(&self) -> usize {
        self.tiles
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The values, `(tiles, 3, height, width)`.
    pub fn as_slice(&self) -> &[f32] {
        &self.data
    }

    /// The values as flattened patches, row by row, each in the order (row, column, channel): (rows · columns, 3 · p · p), which is
    /// what `convert_image_to_patches` of transformers makes of (3, height, width). What is left of a patch at the right and the
    /// bottom is left out.
    ///
    /// ```
    /// use clip_features::PixelValues;
    ///
    /// let values = PixelValues::new(2, 2, (0..12).map(|value| value as f32).collect()).unwrap(); // (3, 2, 2)
    /// assert_eq!(values.to_patches(1)[..3], [0.0, 4.0, 8.0]); // red, green and blue of the first pixel
    /// ```
    pub fn to_patches(&self, patch_size: usize) -> Vec<f32> {
        let (height, width) = (self.height(), self.width());
        let (rows, columns) = (height / patch_size, width / patch_size);
        let mut patches = Vec::with_capacity(Self::CHANNELS * rows * columns * patch_size * patch_size);
        for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
            for y in row * patch_size..(row + 1) * patch_size {
                for x in column * patch_size..(column + 1) * patch_size {
                    let pixel = |channel| self.as_slice()[(channel * height + y) * width + x];
                    patches.extend((0..Self::CHANNELS).map(pixel));
                }
            }
        }
        patches
    }

    /// The values, `(tiles, 3, height, width)`, without a copy.
    pub fn into_vec(self) -> Vec<f32> {
        self.data
    }
}

/// Rescaling and normalization as one table of 256 values for each channel.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    values: [[f32; 256]; 3],
    /// The values of the colour around a picture.
    fill: [f32; 3],
}

impl Tables {
    pub(super) fn new(config: &ProcessorConfig) -> Self {
        let value = match config.backend {
            Backend::Pil => pil_value,
            Backend::Torchvision => torchvision_value,
            Backend::Transforms => transforms_value,
        };
        let values = |channel| std::array::from_fn(|pixel| value(config, channel, pixel as u8));
        let values: [[f32; 256]; 3] = std::array::from_fn(values);
        Self {
            values,
            fill: std::array::from_fn(|channel| values[channel][usize::from(config.fill[channel])]),
        }
    }

    /// Looks up every pixel of an output of `height` × `width`: those of `visible` at `placement`, the fill elsewhere. The
    /// padding happens before the lookup, as in the reference, so a black one is a black pixel's value, not 0.0.
    pub(super) fn apply(
        &self,
        visible: &RgbImage,
        placement: Placement,
        height: usize,
        width: usize,
    ) -> PixelValues {
        let row_bytes = visible.width() as usize * 3;
        let mut data = Vec::with_capacity(3 * height * width);
        for (channel, table) in self.values.iter().enumerate() {
            let plane = data.len();
            data.resize(plane + height * width, self.fill[channel]);
            let first_rows = data[plane..].chunks_exact_mut(width.max(1)).skip(placement.top);
            for (out, row) in first_rows.zip(visible.as_raw().chunks_exact(row_bytes.max(1))) {
                for (out, pixel) in out[placement.left..].iter_mut().zip(row.chunks_exact(3)) {
                    *out = table[usize::from(pixel[channel])];
                }
            }
        }
        PixelValues { tiles: 1, height, width, data }
    }
}

/// `PilBackend` multiplies by the factor in f64 and rounds to f32, then subtracts and divides in f32, mean and std being rounded to
/// f32 first.
fn pil_value(config: &ProcessorConfig, channel: usize, pixel: u8) -> f32 {
    let rescaled = config.rescale.map_or(f32::from(pixel), |factor| (f64::from(pixel) * factor) as f32);
    match &config.normalize {
        Some(Normalize { mean, std }) => (rescaled - mean[channel] as f32) / std[channel] as f32,
        None => rescaled,
    }
}

/// `TorchvisionBackend` computes in f32 throughout. Where it does both, it divides mean and std by the factor rather than
/// multiply the pixels (`_fuse_mean_std_and_rescale_factor`).
fn torchvision_value(config: &ProcessorConfig, channel: usize, pixel: u8) -> f32 {
    let pixel = f32::from(pixel);
    match (&config.normalize, config.rescale) {
        (Some(Normalize { mean, std }), rescale) => {
            let scale = rescale.map_or(1.0, |factor| (1.0 / factor) as f32);
            (pixel - mean[channel] as f32 * scale) / (std[channel] as f32 * scale)
        }
        (None, Some(factor)) => pixel * factor as f32,
        (None, None) => pixel,
    }
}

/// `ToTensor` divides by 255 and `Normalize` subtracts and divides, all in f32.
fn transforms_value(config: &ProcessorConfig, channel: usize, pixel: u8) -> f32 {
    let pixel = f32::from(pixel) / if config.rescale.is_some() { 255.0 } else { 1.0 };
    match &config.normalize {
        Some(Normalize { mean, std }) => (pixel - mean[channel] as f32) / std[channel] as f32,
        None => pixel,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_follow_the_reference_step_by_step() {
        let tables = Tables::new(&ProcessorConfig::clip(224));
        let (mean, std) = (0.457_827_5_f64 as f32, 0.261_302_58_f64 as f32);
        for value in 0..256usize {
            let rescaled = (value as f64 * (1.0 / 255.0)) as f32;
            assert_eq!(tables.values[1][value].to_bits(), ((rescaled - mean) / std).to_bits());
        }
    }

    #[test]
    fn torchvision_divides_mean_and_std_by_the_factor() {
        let config = ProcessorConfig::clip(224).on(Backend::Torchvision).expect("it can");
        let tables = Tables::new(&config);
        let (mean, std) = (0.457_827_5_f64 as f32 * 255.0, 0.261_302_58_f64 as f32 * 255.0);
        for value in 0..256u16 {
            assert_eq!(
                tables.values[1][usize::from(value)].to_bits(),
                ((f32::from(value) - mean) / std).to_bits()
            );
        }
        let unnormalized = Tables::new(&ProcessorConfig { normalize: None, ..config });
        assert_eq!(unnormalized.values[0][3].to_bits(), (3.0 * (1.0 / 255.0_f64) as f32).to_bits());
    }

    #[test]
    fn steps_can_be_switched_off() {
        let mut config = ProcessorConfig::clip(224);
        config.normalize = None;
        assert_eq!(Tables::new(&config).values[0][255], 1.0);
        config.rescale = None;
        assert_eq!(Tables::new(&config).values[2][200], 200.0);
    }

    #[test]
    fn padding_is_a_black_pixel() {
        let tables = Tables::new(&ProcessorConfig::clip(224));
        let picture = RgbImage::from_pixel(1, 2, ::image::Rgb([255, 128, 0]));
        let values = tables.apply(&picture, Placement { top: 1, left: 2 }, 4, 3);
        for (channel, value) in [255usize, 128, 0].into_iter().enumerate() {
            for y in 0..4 {
                for x in 0..3 {
                    let want = if x == 2 && (1..3).contains(&y) { value } else { 0 };
                    assert_eq!(
                        values.as_slice()[channel * 12 + y * 3 + x],
                        tables.values[channel][want],
                        "{channel} {y} {x}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_wrong_length_is_no_pixel_values() {
        assert!(PixelValues::new(2, 2, vec![0.0; 11]).is_none());
        assert!(PixelValues::new(2, 2, vec![0.0; 12]).is_some());
    }

    #[test]
    fn patches_are_row_by_row_and_channels_last() {
        // Two rows of three patches of 2 × 2, and a column that fills none.
        let values: Vec<f32> = (0..3 * 4 * 7u8).map(f32::from).collect();
        let patches = PixelValues::new(4, 7, values).expect("3 × 4 × 7").to_patches(2);
        assert_eq!(patches.len(), 6 * 12);
        let second_of_the_second_row = &patches[4 * 12..][..12];
        let first = 2.0 * 7.0 + 2.0;
        let expected = [first, first + 1.0, first + 7.0, first + 8.0];
        for (found, expected) in second_of_the_second_row.chunks_exact(3).zip(expected) {
            assert_eq!(found, [expected, expected + 28.0, expected + 56.0]);
        }
    }
}
