//! Patches → tokens.

use super::{
    PackedLinear,
    epilogue::Epilogue,
    memory::{self, SharedOut, Values, written},
};

/// Each image's tokens, (batch, P + N, width): the P of `prefix` (P, width), which are the same for all, then
/// `patch` of its N flattened patches, `positions` (N, width), if there are any, added. `patches` is (batch, N, inputs).
///
/// # Panics
/// The sizes do not fit each other.
pub fn embed(
    patches: &[f32],
    count: usize,
    patch: &PackedLinear,
    prefix: &[f32],
    positions: Option<&[f32]>,
) -> Values {
    let width = patch.outputs();
    let image = memory::count([count, patch.inputs()]);
    let tokens = memory::count([count, width]);
    assert!(count > 0 && prefix.len().is_multiple_of(width), "rows of the width");
    assert!(positions.is_none_or(|positions| positions.len() == tokens), "a position for each patch");
    assert_eq!(patches.len() % image, 0, "whole images");
    let row = prefix.len().checked_add(tokens).expect("a result that fits in memory");
    let epilogue = positions.map_or(Epilogue::None, Epilogue::AddResidual);
    // SAFETY: both parts of every image are written, each within the result.
    unsafe {
        written(memory::count([patches.len() / image, row]), |y| {
            for (index, patches) in patches.chunks_exact(image).enumerate() {
                let start = y.as_ptr().add(index * row);
                std::ptr::copy_nonoverlapping(prefix.as_ptr(), start, prefix.len());
                let x = patch.pack_input(patches);
                let to = SharedOut::new(start.add(prefix.len()));
                patch.forward_to(&x, epilogue, to);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{
        Compute,
        testing::{noise, same_bytes, same_on_all_threads},
    };

    #[test]
    fn tokens_are_the_prefix_and_the_patches_at_their_positions() {
        let (inputs, width, tokens) = (27, 40, 9);
        let (weight, positions) = (noise(1, width * inputs), noise(2, tokens * width));
        let patches = noise(3, 3 * tokens * inputs);
        for compute in Compute::all() {
            let patch = PackedLinear::from_rows(compute, inputs, &weight, None);
            for (prefix_tokens, positions) in [(0, Some(&positions)), (1, Some(&positions)), (5, None)] {
                let positions = positions.map(Vec::as_slice);
                let prefix = noise(4, prefix_tokens * width);
                let got = same_on_all_threads(|| embed(&patches, tokens, &patch, &prefix, positions));
                for (got, patches) in got
                    .chunks_exact((prefix_tokens + tokens) * width)
                    .zip(patches.chunks_exact(tokens * inputs))
                {
                    let x = patch.pack_input(patches);
                    let mut want = prefix.clone();
                    let epilogue = positions.map_or(Epilogue::None, Epilogue::AddResidual);
                    want.extend_from_slice(&patch.forward(&x, epilogue));
                    assert!(same_bytes(got, &want), "{compute:?}");
                }
            }
        }
    }
}
