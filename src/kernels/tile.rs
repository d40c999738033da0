//! The micro-kernel: a register tile of up to `TILE_ROWS` rows by two vectors, or one, summed over one depth block.
//!
//! Operands are words of 32 bits, a float32 or two bfloat16 each; depth is counted in words.
//!
//! Every sum here has one order: within a depth block each element of the result has an accumulator of its own to
//! which the products are added from the first to the last, and the blocks' sums are added in turn. It does not
//! depend on how many rows the tile has nor on which of them an element is in, so a row gives the same bytes
//! whatever it is computed with.

use std::{array::from_fn, marker::PhantomData};

use super::{
    depth::{DEPTH, ROW_STRIDE, Steps, UNROLL},
    simd::{Kernel, Simd},
};

/// What tiles are summed from, and where their sums of the blocks before are.
///
/// `x`: packed rows, [`ROW_STRIDE`] apart, `depth` elements each. `weights`: `depth` rows of `2 · LANES`. `sums`: of all
/// tiles, rows `sums_stride` apart; added to if `accumulate`. `ahead`: memory needed next, of which each tile asks for the
/// next `ahead_lines` cache lines meanwhile; `x_ahead`: other such memory, `x_ahead_step` values a tile, of whose beginning each asks
/// for `x_ahead_lines`.
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
    pub(super) x_ahead: *const f32,
    pub(super) x_ahead_lines: usize,
    pub(super) x_ahead_step: usize,
}

/// How two words of operands are multiplied.
pub(super) trait Dot: 'static {
    /// Whether words are float32, which [`Simd::add_steps`] multiplies.
    const FLOAT32: bool;

    /// `sum + x · weights`.
    unsafe fn add<S: Simd>(x: S::V, weights: S::V, sum: S::V) -> S::V;
}

/// Each word is a float32.
pub(super) struct Float32;

impl Dot for Float32 {
    const FLOAT32: bool = true;

    #[inline(always)]
    unsafe fn add<S: Simd>(x: S::V, weights: S::V, sum: S::V) -> S::V {
        // SAFETY: the caller's.
        unsafe { S::mul_add(x, weights, sum) }
    }
}

/// Each word is two bfloat16.
pub(super) struct Pairs;

impl Dot for Pairs {
    const FLOAT32: bool = false;

    #[inline(always)]
    unsafe fn add<S: Simd>(x: S::V, weights: S::V, sum: S::V) -> S::V {
        // SAFETY: the caller's.
        unsafe { S::dot_bf16(x, weights, sum) }
    }
}

/// What becomes of sums while they are in registers.
pub(super) trait Finish: Copy {
    /// Whether there is anything to ask for.
    const ASKS: bool = true;

    /// Asks for the cache line of a row's result from a column on: stores to memory that has to be fetched first cost a
    /// product of one image 4 percent.
    unsafe fn ask<S: Simd>(self, row: usize, column: usize);

    /// Takes the vector of a row from a column on. Its place among the sums may be used.
    unsafe fn take<S: Simd>(self, row: usize, column: usize, v: S::V, sums: *mut f32);

    /// All vectors of `rows` rows were taken; their sums are `sums_stride` apart.
    unsafe fn done<S: Simd>(self, row: usize, rows: usize, sums: *const f32, sums_stride: usize);
}

/// Sums that are not complete, or that the caller goes on with: they stay where they are.
#[derive(Clone, Copy)]
pub(super) struct Keep;

impl Finish for Keep {
    const ASKS: bool = false;

    #[inline(always)]
    unsafe fn ask<S: Simd>(self, _: usize, _: usize) {}

    #[inline(always)]
    unsafe fn take<S: Simd>(self, _: usize, _: usize, v: S::V, sums: *mut f32) {
        // SAFETY: the caller's sums have this vector.
        unsafe { S::store(sums, v) }
    }

    #[inline(always)]
    unsafe fn done<S: Simd>(self, _: usize, _: usize, _: *const f32, _: usize) {}
}

/// Sums that are not complete, while what becomes of them then is asked for: there may be no time for it in the last block.
#[derive(Clone, Copy)]
pub(super) struct KeepFor<F>(pub(super) F);

impl<F: Finish> Finish for KeepFor<F> {
    const ASKS: bool = F::ASKS;

    #[inline(always)]
    unsafe fn ask<S: Simd>(self, row: usize, column: usize) {
        // SAFETY: by contract.
        unsafe { self.0.ask::<S>(row, column) }
    }

    #[inline(always)]
    unsafe fn take<S: Simd>(self, row: usize, column: usize, v: S::V, sums: *mut f32) {
        // SAFETY: by contract.
        unsafe { Keep.take::<S>(row, column, v, sums) }
    }

    #[inline(always)]
    unsafe fn done<S: Simd>(self, _: usize, _: usize, _: *const f32, _: usize) {}
}

/// Sums `tiles` tiles of `rows` rows each, 1 to `TILE_ROWS`, by the first `VECTORS` vectors of the panel, 1 or 2.
///
/// # Safety
/// The operands' pointers are valid for what [`Operands`] says, what `finish` does with them is, and the CPU has the
/// instruction set.
#[inline(always)]
pub(super) unsafe fn sum_tiles<S: Simd, D: Dot, const VECTORS: usize>(
    rows: usize,
    tiles: usize,
    operands: Operands,
    finish: impl Finish,
) {
    let dot = PhantomData::<D>;
    /// One function per number of rows, so that the accumulators are registers.
    macro_rules! dispatch {
        ($($n:literal)*) => {
            match rows {
                // The number of rows that an instruction set has no registers for is never asked of it.
                $($n if $n <= S::TILE_ROWS => unsafe {
                    S::enter(Tiles::<$n, VECTORS, D, _> { tiles, operands, finish, dot })
                },)*
                _ => unreachable!("a tile of {rows} rows"),
            }
        };
    }
    dispatch!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

/// Tiles of one height below each other, in one function: calling one for each costs AVX2, whose tiles are small, 2 percent.
struct Tiles<const ROWS: usize, const VECTORS: usize, D, F> {
    tiles: usize,
    operands: Operands,
    finish: F,
    dot: PhantomData<D>,
}

/// Cache lines that a full depth block can ask for ahead.
pub(super) const PREFETCHES: usize = DEPTH / UNROLL;

/// f32 values in a cache line.
pub(super) const LINE: usize = 16;

impl<const ROWS: usize, const VECTORS: usize, D: Dot, F: Finish> Kernel for Tiles<ROWS, VECTORS, D, F> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { tiles, operands, finish, .. } = self;
        let Operands { mut x, weights, depth, mut sums, sums_stride, accumulate, .. } = operands;
        let Operands { mut ahead, ahead_lines, mut x_ahead, x_ahead_lines, x_ahead_step, .. } = operands;
        let lines = (VECTORS * S::LANES).div_ceil(LINE);
        let steps = depth / UNROLL;
        // By hand the lines are asked for all along, by the compiler's loop in its first steps.
        let spread = |lines: usize| (lines * LINE * size_of::<f32>()).div_ceil(steps.max(1));
        let (ahead_step, x_step) = (spread(ahead_lines), spread(x_ahead_lines));
        // SAFETY: all offsets lie within what `Operands` describes; a prefetch may go anywhere.
        unsafe {
            for first in (0..tiles).map(|tile| tile * ROWS) {
                let mut tile = [[S::splat(0.0); VECTORS]; ROWS];
                if D::FLOAT32 && S::has_steps(ROWS, VECTORS) && steps > 0 {
                    let mut left =
                        Steps { x, weights, count: steps, ahead, ahead_step, x_ahead, x_ahead_step: x_step };
                    if F::ASKS {
                        for row in 0..ROWS.min(steps - 1) {
                            (0..lines).for_each(|line| finish.ask::<S>(first + row, line * LINE));
                            S::add_steps(&mut tile, Steps { count: 1, ..left });
                            left = left.after(1, S::LANES);
                        }
                    }
                    S::add_steps(&mut tile, left);
                } else {
                    for step in 0..steps {
                        if step < ahead_lines {
                            S::prefetch(ahead.wrapping_add(step * LINE));
                        }
                        if step < x_ahead_lines {
                            S::prefetch(x_ahead.wrapping_add(step * LINE));
                        }
                        // Early, so that they have come when the tile is complete.
                        for line in [2 * step, 2 * step + 1] {
                            if line < ROWS * lines {
                                finish.ask::<S>(first + line / lines, line % lines * LINE);
                            }
                        }
                        for k in step * UNROLL..step * UNROLL + UNROLL {
                            add_products::<S, D, ROWS, VECTORS>(
                                &mut tile,
                                x.add(k),
                                weights.add(k * 2 * S::LANES),
                            );
                        }
                    }
                }
                for k in steps * UNROLL..depth {
                    add_products::<S, D, ROWS, VECTORS>(&mut tile, x.add(k), weights.add(k * 2 * S::LANES));
                }
                for (row, vectors) in tile.into_iter().enumerate() {
                    for (i, mut v) in vectors.into_iter().enumerate() {
                        let at = sums.add(row * sums_stride + i * S::LANES);
                        if accumulate {
                            v = S::add(S::load(at), v);
                        }
                        finish.take::<S>(first + row, i * S::LANES, v, at);
                    }
                }
                finish.done::<S>(first, ROWS, sums, sums_stride);
                x = x.wrapping_add(ROWS * ROW_STRIDE);
                sums = sums.wrapping_add(ROWS * sums_stride);
                ahead = ahead.wrapping_add(ahead_lines * LINE);
                x_ahead = x_ahead.wrapping_add(x_ahead_step);
            }
        }
    }
}

/// Adds the products of one depth step.
#[inline(always)]
unsafe fn add_products<S: Simd, D: Dot, const ROWS: usize, const VECTORS: usize>(
    tile: &mut [[S::V; VECTORS]; ROWS],
    x: *const f32,
    weights: *const f32,
) {
    // SAFETY: the caller's pointers are valid for one step of `Operands`.
    unsafe {
        let weights: [S::V; VECTORS] = from_fn(
            #[inline(always)]
            |i| S::load(weights.add(i * S::LANES)),
        );
        for (row, sums) in tile.iter_mut().enumerate() {
            let value = S::splat(*x.add(row * ROW_STRIDE));
            for (sum, &weights) in sums.iter_mut().zip(&weights) {
                *sum = D::add::<S>(value, weights, *sum);
            }
        }
    }
}

/// Cuts `total` rows into tiles of nearly equal height, at most `TILE_ROWS`, and those into strips of one height: (first row,
/// rows of a tile, tiles) of each, the higher ones first.
#[inline(always)]
pub(super) fn strips<S: Simd>(total: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    let count = total.div_ceil(S::TILE_ROWS);
    let (low, higher) = (total.checked_div(count).unwrap_or(0), total.checked_rem(count).unwrap_or(0));
    [(0, low + 1, higher), (higher * (low + 1), low, count - higher)].into_iter().filter(|strip| strip.2 > 0)
}

/// Cuts `total` into `parts` whose sizes differ by at most one: (start, length) of each.
#[inline(always)]
pub(super) fn even_split(total: usize, parts: usize) -> impl Iterator<Item = (usize, usize)> {
    // The product is larger than a pointer where these have 32 bits.
    let at = move |part: usize| (part as u64 * total as u64 / parts as u64) as usize;
    (0..parts).map(move |part| (at(part), at(part + 1) - at(part)))
}
