//! How many images a tower takes at once, where that is not asked for.

use std::num::NonZero;

use crate::model::{Mlp, VisionConfig};

/// The batch of a CPU: one image keeps a few threads busy.
pub(super) fn of_cpu(threads: NonZero<usize>) -> usize {
    threads.get().div_ceil(4).min(16)
}

/// The batch of a GPU with `free` bytes, of which the weights take some: [`MOST`], or a half of it, a quarter and so on, whichever fits
/// first. No more is made of free memory, since candle's products may depend on the batch in their last digits: on a card that has room
/// a run is repeated to the same bytes whatever else runs there.
pub(super) fn of_gpu(free: Option<u64>, weights: u64, image: u64) -> usize {
    /// Images that keep a GPU busy.
    const MOST: usize = 32;
    let Some(free) = free else { return MOST };
    // The rest is for the scores of attention, which have a bound of their own, for libraries, and for what lies between allocations.
    let room = free.saturating_sub(weights) / 4 * 3;
    let fits = |batch: &usize| image.saturating_mul(*batch as u64) <= room;
    std::iter::successors(Some(MOST), |batch| (*batch > 1).then_some(batch / 2)).find(fits).unwrap_or(1)
}

/// Bytes that candle's operations hold at once for an image of `height` × `width`, each of which leaves its result beside what it
/// took; `outputs` are those of the tensors that are kept.
pub(super) fn image_bytes(config: &VisionConfig, [height, width]: [usize; 2], outputs: u64) -> u64 {
    let VisionConfig { hidden_size, intermediate_size: inner, mlp, patch_size, .. } = *config;
    let tokens = config.prefix_tokens() + (height / patch_size) * (width / patch_size);
    // The residual; queries, keys and values as one, before and after their biases, and each alone, turned and mixed.
    let attention = 14 * hidden_size;
    // The residual and its norm; what the first layer gives, and three steps of the activation. A gate and its value lie there twice.
    let mlp = 2 * hidden_size + inner * if matches!(mlp, Mlp::Gated(_)) { 7 } else { 4 };
    // The picture, cut to whole patches, and these one after the other.
    let pixels = 3 * 3 * height * width;
    let numbers = tokens as u64 * attention.max(mlp) as u64 + pixels as u64;
    (size_of::<f32>() as u64 * numbers).saturating_add(outputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    #[test]
    fn a_batch_is_halved_until_it_fits_beside_the_weights() {
        assert_eq!(of_gpu(None, 1200 * MB, 20 * MB), 32);
        for (free, batch) in
            [(80_000, 32), (2_054, 32), (2_053, 16), (1_400, 4), (1_280, 2), (1_210, 1), (0, 1)]
        {
            assert_eq!(of_gpu(Some(free * MB), 1_200 * MB, 20 * MB), batch, "{free} MB");
        }
        assert_eq!(of_gpu(Some(u64::MAX), 0, u64::MAX), 1);
    }

    #[test]
    fn an_image_of_vit_large_takes_what_its_mlp_does() {
        let config = VisionConfig::vit_large_patch14();
        let numbers = 257 * (2 * 1024 + 4 * 4096) + 9 * 224 * 224;
        assert_eq!(image_bytes(&config, [224, 224], 0), 4 * numbers);
        assert_eq!(image_bytes(&config, [224, 224], 1000), 4 * numbers + 1000);
    }
}
