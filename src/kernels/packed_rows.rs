//! Activations in the order in which the micro-kernel reads them.

use std::{mem::MaybeUninit, slice};

use rayon::prelude::*;

use super::{
    memory::{Aligned, SharedOut},
    simd::Simd,
    tile::{DEPTH, ROW_STRIDE},
};

/// A matrix (rows, width) cut into depth blocks: (blocks, rows, `ROW_STRIDE`), of whose rows the first `DEPTH`
/// elements count, in the last block what is left of the width.
///
/// What only a product reads next is written in this form at once: copying it over from row-major order costs a
/// product of few outputs several percent, most of it misses of the cache and of the page table.
#[derive(Debug)]
pub struct PackedRows {
    rows: usize,
    width: usize,
    values: Aligned,
}

impl PackedRows {
    /// Copies `x` (rows, width), in rayon's current pool.
    ///
    /// # Panics
    /// `x` has no whole rows.
    pub fn pack(x: &[f32], width: usize) -> Self {
        let rows = x.len() / width;
        assert_eq!(x.len(), rows * width, "whole rows");
        // SAFETY: the blocks and chunks of `x` cover each other.
        unsafe {
            Self::written(rows, width, |out| {
                x.par_chunks_exact(width).enumerate().with_min_len(16).for_each(|(row, x)| {
                    for (block, x) in x.chunks(DEPTH).enumerate() {
                        // SAFETY: this row's part of this block is written here alone.
                        std::ptr::copy_nonoverlapping(x.as_ptr(), out.at(row, block * DEPTH), x.len());
                    }
                });
            })
        }
    }

    /// A matrix that `write` fills in.
    ///
    /// # Safety
    /// `write` writes all of it.
    pub(super) unsafe fn written(rows: usize, width: usize, write: impl FnOnce(PackedOut)) -> Self {
        let len = width.div_ceil(DEPTH) * rows * ROW_STRIDE;
        // SAFETY: what `write` leaves out, the strides' ends, is never read.
        let values = unsafe {
            Aligned::filled(len, |memory: &mut [MaybeUninit<f32>]| {
                write(PackedOut { start: SharedOut::new(memory.as_mut_ptr().cast()), rows });
            })
        };
        Self { rows, width, values }
    }

    /// The matrix in row-major order, (rows, width).
    pub fn to_vec(&self) -> Vec<f32> {
        let mut x = Vec::with_capacity(self.rows * self.width);
        for row in 0..self.rows {
            for column in (0..self.width).step_by(DEPTH) {
                let count = DEPTH.min(self.width - column);
                // SAFETY: the row has these elements in this block, all written.
                x.extend_from_slice(unsafe { slice::from_raw_parts(self.block(column / DEPTH, row), count) });
            }
        }
        x
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Elements of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Where a row's part of a depth block begins.
    pub(super) fn block(&self, block: usize, row: usize) -> *const f32 {
        debug_assert!(block * DEPTH < self.width && row < self.rows);
        self.values.as_ptr().wrapping_add((block * self.rows + row) * ROW_STRIDE)
    }
}

/// [`PackedRows`] that tasks fill in together, each its own part.
#[derive(Clone, Copy)]
pub(super) struct PackedOut {
    start: SharedOut,
    rows: usize,
}

impl PackedOut {
    /// Where an element lies; those after it follow to the end of its block.
    pub(super) fn at(self, row: usize, column: usize) -> *mut f32 {
        let block = (column / DEPTH * self.rows + row) * ROW_STRIDE;
        self.start.as_ptr().wrapping_add(block + column % DEPTH)
    }

    /// Stores the first `count` lanes from an element on, across the end of its block if need be.
    ///
    /// # Safety
    /// These elements are the matrix's, and nobody else has them; the CPU has the instruction set.
    #[inline(always)]
    pub(super) unsafe fn store<S: Simd>(self, row: usize, column: usize, count: usize, v: S::V) {
        let room = DEPTH - column % DEPTH;
        // SAFETY: the elements are the matrix's, in this block and the next one.
        unsafe {
            if room >= S::LANES {
                return S::store_first(self.at(row, column), count, v);
            }
            for (i, lane) in S::to_array(v).into_iter().enumerate().take(count.min(S::LANES)) {
                *self.at(row, column + i) = lane;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::noise;

    #[test]
    fn packing_loses_nothing() {
        for width in [1, 255, 256, 257, 1000] {
            let x = noise(1, 40 * width);
            let packed = PackedRows::pack(&x, width);
            assert_eq!((packed.rows(), packed.width()), (40, width));
            assert_eq!(packed.to_vec(), x);
        }
    }
}
