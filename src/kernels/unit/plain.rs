//! The tile machine in plain Rust, for the tests of machines that have none.

use super::{ROWS, TILE_COLUMNS, TileMachine};
use crate::kernels::simd::{flush, fused_bf16};

/// Eight tiles in memory.
pub(in crate::kernels) struct Plain {
    rows: usize,
    /// The bits of float32, or of two bfloat16, the first in the lower half.
    tiles: [[[u32; TILE_COLUMNS]; ROWS]; 8],
}

impl Plain {
    /// Rows of a tile: those of weights have all.
    fn rows(&self, tile: usize) -> usize {
        if tile < 6 { self.rows } else { ROWS }
    }
}

impl TileMachine for Plain {
    unsafe fn new(rows: usize) -> Self {
        Self { rows, tiles: [[[0; TILE_COLUMNS]; ROWS]; 8] }
    }

    unsafe fn zero<const TILE: usize>(&mut self) {
        self.tiles[TILE] = [[0; TILE_COLUMNS]; ROWS];
    }

    unsafe fn load<const TILE: usize>(&mut self, from: *const f32, stride: usize) {
        let rows = self.rows(TILE);
        for (row, to) in self.tiles[TILE][..rows].iter_mut().enumerate() {
            // SAFETY: the caller's rows of 64 bytes.
            *to = unsafe { from.byte_add(row * stride).cast::<[u32; TILE_COLUMNS]>().read_unaligned() };
        }
    }

    unsafe fn load_once<const TILE: usize>(&mut self, from: *const f32, stride: usize) {
        // SAFETY: the same.
        unsafe { self.load::<TILE>(from, stride) };
    }

    unsafe fn store<const TILE: usize>(&mut self, to: *mut f32, stride: usize) {
        for (row, from) in self.tiles[TILE][..self.rows(TILE)].iter().enumerate() {
            // SAFETY: the caller's rows of 64 bytes.
            unsafe { to.byte_add(row * stride).cast::<[u32; TILE_COLUMNS]>().write_unaligned(*from) };
        }
    }

    /// Intel's manual, volume 2, TDPBF16PS.
    #[inline(always)]
    unsafe fn dot<const C: usize, const A: usize, const B: usize>(&mut self) {
        let low = |pair: u32| flush(f32::from_bits(pair << 16));
        let high = |pair: u32| flush(f32::from_bits(pair & 0xffff_0000));
        for row in 0..self.rows {
            let mut even = [0f32; TILE_COLUMNS];
            let mut odd = [0f32; TILE_COLUMNS];
            for (&inputs, weights) in self.tiles[A][row].iter().zip(&self.tiles[B]) {
                for column in 0..TILE_COLUMNS {
                    even[column] = fused_bf16(low(inputs), low(weights[column]), even[column]);
                    odd[column] = fused_bf16(high(inputs), high(weights[column]), odd[column]);
                }
            }
            for (column, result) in self.tiles[C][row].iter_mut().enumerate() {
                let sum = flush(even[column] + odd[column]);
                *result = flush(flush(f32::from_bits(*result)) + sum).to_bits();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_of_whole_numbers_is_theirs() {
        let pair = |a: f32, b: f32| f32::from_bits(a.to_bits() >> 16 | b.to_bits() & 0xffff_0000);
        // Inputs 1 to 32 in each row; weights (input + output) % 7.
        let inputs: Vec<f32> =
            (0..2 * 256).map(|i| pair((i % 16 * 2 + 1) as f32, (i % 16 * 2 + 2) as f32)).collect();
        let weight = |input: usize, output: usize| ((input + output) % 7) as f32;
        let weights: Vec<f32> =
            (0..256).map(|i| pair(weight(i / 16 * 2, i % 16), weight(i / 16 * 2 + 1, i % 16))).collect();
        let mut results = [0f32; 3 * 16];
        // SAFETY: the tiles' memory is there.
        unsafe {
            let mut machine = Plain::new(3);
            machine.zero::<1>();
            machine.load::<5>(inputs.as_ptr(), 64);
            machine.load::<6>(weights.as_ptr(), 64);
            machine.dot::<1, 5, 6>();
            machine.dot::<1, 5, 6>();
            machine.store::<1>(results.as_mut_ptr(), 64);
        }
        for (index, &result) in results.iter().enumerate() {
            let want: f32 = (0..32).map(|input| (input + 1) as f32 * weight(input, index % 16)).sum();
            assert_eq!(result, 2.0 * want);
        }
    }
}
