//! The micro-kernel: a register tile of up to `TILE_ROWS` rows by two vectors, summed over one depth block.
//!
//! Every sum here has one order: within a depth block each element of the result has an accumulator of its own to
//! which the products are added from the first to the last, and the blocks' sums are added in turn. It does not
//! depend on how many rows the tile has nor on which of them an element is in, so a row gives the same bytes
//! whatever it is computed with.

use super::simd::{Kernel, Simd};

/// Depth of a block. Its panel of weights (32 KB with AVX-512) and a tile's inputs stay in the nearest caches, and
/// breaking a long sum here keeps its rounding error near that of a pairwise sum.
pub(super) const DEPTH: usize = 256;

/// Distance of two rows of a packed input block. The 16 floats more than [`DEPTH`] spread rows over the cache's
/// sets: rows 4 KB apart, as a matrix of width 1024 has them, would all compete for the same one. Being a constant
/// it also makes every load of the kernel one pointer and an immediate offset.
pub(super) const ROW_STRIDE: usize = DEPTH + 16;

/// The largest `TILE_ROWS` of any instruction set.
pub(super) const MAX_TILE_ROWS: usize = 14;

/// A tile's operands.
///
/// `x`: packed rows, [`ROW_STRIDE`] apart, `depth` elements each. `weights`: `depth` rows of `2 · LANES`. `sums`:
/// the tile, rows `sums_stride` apart; added to if `accumulate`, else written. `ahead`: memory needed next, of
/// which `ahead_lines` cache lines are asked for meanwhile.
#[derive(Clone, Copy)]
pub(super) struct Operands {
    pub(super) x: *const f32,
    pub(super) weights: *const f32,
    pub(super) depth: usize,
    pub(super) sums: *mut f32,
    pub(super) sums_stride: usize,
    pub(super) accumulate: bool,
    pub(super) ahead: *const f32,
    pub(super) ahead_lines: usize,
}

/// Sums a tile of `rows` rows, 1 to `TILE_ROWS`.
///
/// # Safety
/// The operands' pointers are valid for what [`Operands`] says, and the CPU has the instruction set.
#[inline(always)]
pub(super) unsafe fn sum_tile<S: Simd>(rows: usize, operands: Operands) {
    /// One function per number of rows, so that the accumulators are registers.
    macro_rules! dispatch {
        ($($n:literal)*) => {
            match rows {
                // The number of rows that an instruction set has no registers for is never asked of it.
                $($n if $n <= S::TILE_ROWS => unsafe { S::enter(Tile::<$n>(operands)) },)*
                _ => unreachable!("a tile of {rows} rows"),
            }
        };
    }
    dispatch!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

struct Tile<const ROWS: usize>(Operands);

/// Depth steps between two prefetches. With twice as many LLVM loads weights so early that AVX2's full tile has an
/// accumulator too few, which costs that instruction set 9 percent.
const UNROLL: usize = 4;

/// Cache lines that a full depth block can ask for ahead.
pub(super) const PREFETCHES: usize = DEPTH / UNROLL;

impl<const ROWS: usize> Kernel for Tile<ROWS> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Operands { x, weights, depth, sums, sums_stride, accumulate, ahead, ahead_lines } = self.0;
        // SAFETY: all offsets lie within what `Operands` describes; a prefetch may go anywhere.
        unsafe {
            let mut tile = [[S::splat(0.0); 2]; ROWS];
            let blocks = depth / UNROLL;
            for block in 0..blocks {
                let line = block * ahead_lines / PREFETCHES;
                S::prefetch(ahead.wrapping_add(line * 16));
                for k in block * UNROLL..block * UNROLL + UNROLL {
                    step::<S, ROWS>(&mut tile, x.add(k), weights.add(k * 2 * S::LANES));
                }
            }
            for k in blocks * UNROLL..depth {
                step::<S, ROWS>(&mut tile, x.add(k), weights.add(k * 2 * S::LANES));
            }
            for (row, vectors) in tile.into_iter().enumerate() {
                for (i, mut v) in vectors.into_iter().enumerate() {
                    let at = sums.add(row * sums_stride + i * S::LANES);
                    if accumulate {
                        v = S::add(S::load(at), v);
                    }
                    S::store(at, v);
                }
            }
        }
    }
}

/// Adds the products of one depth step.
#[inline(always)]
unsafe fn step<S: Simd, const ROWS: usize>(tile: &mut [[S::V; 2]; ROWS], x: *const f32, weights: *const f32) {
    // SAFETY: the caller's pointers are valid for one step of `Operands`.
    unsafe {
        let (w0, w1) = (S::load(weights), S::load(weights.add(S::LANES)));
        for (row, sums) in tile.iter_mut().enumerate() {
            let value = S::splat(*x.add(row * ROW_STRIDE));
            sums[0] = S::mul_add(value, w0, sums[0]);
            sums[1] = S::mul_add(value, w1, sums[1]);
        }
    }
}

/// Cuts `total` rows into tiles of nearly equal height, at most `TILE_ROWS`: (first row, rows) of each.
#[inline(always)]
pub(super) fn tiles<S: Simd>(total: usize) -> impl Iterator<Item = (usize, usize)> {
    even_split(total, total.div_ceil(S::TILE_ROWS))
}

/// Cuts `total` into `parts` whose sizes differ by at most one: (start, length) of each.
#[inline(always)]
pub(super) fn even_split(total: usize, parts: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..parts).map(move |part| {
        let start = part * total / parts;
        (start, (part + 1) * total / parts - start)
    })
}
