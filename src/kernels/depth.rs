//! How the depth of a product is cut: into blocks, and these into steps.

/// Depth of a block. Its panel of weights (32 KB with AVX-512) and a tile's inputs stay in the nearest caches, and
/// breaking a long sum here keeps its rounding error near that of a pairwise sum.
pub(super) const DEPTH: usize = 256;

/// Distance of two rows of a packed input block. The 16 floats more than [`DEPTH`] spread rows over the cache's
/// sets: rows 4 KB apart, as a matrix of width 1024 has them, would all compete for the same one. Being a constant
/// it also makes every load of the kernel one pointer and an immediate offset.
pub(super) const ROW_STRIDE: usize = DEPTH + 16;

/// Depth steps between two prefetches. With twice as many LLVM loads weights so early that AVX2's full tile has an
/// accumulator too few, which costs that instruction set 9 percent.
pub(super) const UNROLL: usize = 4;

/// A part of a tile's depth: `count` times [`UNROLL`] steps, at least one time, of operands as a tile has them. Each time it asks
/// for the cache line that is `ahead` and the one that is `x_ahead`, and goes on by so many bytes.
#[derive(Clone, Copy)]
pub(super) struct Steps {
    pub(super) x: *const f32,
    pub(super) weights: *const f32,
    pub(super) count: usize,
    pub(super) ahead: *const f32,
    pub(super) ahead_step: usize,
    pub(super) x_ahead: *const f32,
    pub(super) x_ahead_step: usize,
}

impl Steps {
    /// What is left after the first `count` times, with weights of two vectors of so many `lanes`.
    #[inline(always)]
    pub(super) fn after(self, count: usize, lanes: usize) -> Self {
        Self {
            x: self.x.wrapping_add(count * UNROLL),
            weights: self.weights.wrapping_add(count * UNROLL * 2 * lanes),
            count: self.count - count,
            ahead: self.ahead.wrapping_byte_add(count * self.ahead_step),
            x_ahead: self.x_ahead.wrapping_byte_add(count * self.x_ahead_step),
            ..self
        }
    }
}
