//! NaFlex: the size of pictures of their own shape, in whole patches and no more of them than a number.

use super::config::ProcessorConfig;
use super::error::ConfigError;
use super::size::Size;

/// What pictures are cut into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patches {
    /// Edge of a patch in pixels.
    pub patch_size: usize,
    /// The most patches of a picture.
    pub max_num_patches: usize,
}

impl ProcessorConfig {
    /// What pictures are cut into, of a processor that gives patches: NaFlex's. Others give pictures.
    pub fn patches(&self) -> Option<Patches> {
        match self.resize {
            Some(Size::MaxNumPatches { patch_size, max_num_patches }) => {
                Some(Patches { patch_size: patch_size as usize, max_num_patches: max_num_patches as usize })
            }
            _ => None,
        }
    }

    /// The same processor with another number of patches.
    ///
    /// # Errors
    /// The processor has none: its pictures have one size.
    pub fn in_patches(self, max_num_patches: u32) -> Result<Self, ConfigError> {
        let Some(Size::MaxNumPatches { patch_size, .. }) = self.resize else {
            return Err(ConfigError::Field {
                field: "max_num_patches".into(),
                found: "not in use".into(),
                expected: "in use to be another: SigLIP 2 NaFlex's processor has it".into(),
            });
        };
        Ok(Self { resize: Some(Size::MaxNumPatches { patch_size, max_num_patches }), ..self })
    }
}

/// Width and height in pixels of a picture in at most so many patches: `get_image_size_for_max_num_patches` of transformers 5.23.0
/// (`models/siglip2/image_processing_siglip2.py`), a binary search for the scale in doubles. None where even its smallest scale
/// leaves more patches.
pub(super) fn size_in_patches(
    patch_size: u32,
    max_num_patches: u32,
    width: u32,
    height: u32,
) -> Option<(u32, u32)> {
    const EPSILON: f64 = 1e-5;
    let patch = f64::from(patch_size);
    // An edge in patches, at least one.
    let count = |scale: f64, edge: u32| (f64::from(edge) * scale / patch).ceil().max(1.0);
    let fits = |scale: f64| count(scale, height) * count(scale, width) <= f64::from(max_num_patches);
    let (mut smallest, mut largest) = (EPSILON / 10.0, 100.0);
    while largest - smallest >= EPSILON {
        let scale = (smallest + largest) / 2.0;
        if fits(scale) {
            smallest = scale;
        } else {
            largest = scale;
        }
    }
    let edge = |edge: u32| (count(smallest, edge) as u32).checked_mul(patch_size);
    if fits(smallest) { Some((edge(width)?, edge(height)?)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the reference's function gives.
    #[test]
    fn sizes_are_the_references() {
        for [height, width, patch_size, max_num_patches, rows, columns] in SIZES {
            let found = size_in_patches(patch_size, max_num_patches, width, height);
            assert_eq!(found, Some((columns, rows)), "{height}x{width} in {max_num_patches}");
        }
    }

    /// Height, width, edge of a patch, most patches, and the height and width of the resized picture.
    #[rustfmt::skip]
    const SIZES: [[u32; 6]; 15] = [
        [400, 600, 16, 256, 208, 304], [600, 400, 16, 256, 304, 208], [427, 640, 16, 1024, 416, 624],
        [256, 256, 16, 256, 256, 256], [255, 257, 16, 256, 256, 256], [512, 512, 16, 1000, 496, 496],
        [1, 1, 16, 256, 112, 112], [1, 1, 16, 1, 16, 16], [17, 15, 16, 4, 32, 32],
        [5, 3000, 16, 256, 16, 4096], [3000, 1, 14, 64, 896, 14], [65535, 1, 16, 256, 4096, 16],
        [1, 65535, 16, 100, 16, 1600], [100, 101, 6, 23, 24, 30], [33, 1000, 16, 7, 16, 112],
    ];

    #[test]
    fn what_does_not_fit_at_the_smallest_scale_has_no_size() {
        assert_eq!(size_in_patches(16, 1, 100_000_000, 1), None);
        assert_eq!(size_in_patches(16, 7, 100_000_000, 1), Some((112, 16)));
    }
}
