//! One task of a product on a tile machine: some rows with some panels.

use std::{marker::PhantomData, ops::Range};

use super::{BAND, COLUMNS, ROWS, STEP, TILE_COLUMNS, TileMachine};
use crate::kernels::{
    PackedRows,
    epilogue::{Destination, Place},
    panels::Panels,
    simd::{Kernel, Simd},
};

/// Steps of a depth block: of that many the inputs of a group of rows stay in the second-level cache and the weights of a panel
/// in the first.
const fn block_steps(parts: usize) -> usize {
    if parts == 3 { 4 } else { 8 }
}

/// Which part of the input meets which of the weight, the larger the number the smaller the part; from one pair to the next one
/// of the two stays. What is left out is below the last digit that these parts hold. The largest, (0, 0), comes last.
const fn small_pairs(parts: usize) -> &'static [(usize, usize)] {
    match parts {
        1 => &[],
        2 => &[(1, 0), (0, 1)],
        _ => &[(2, 0), (1, 0), (1, 1), (0, 1), (0, 2)],
    }
}

/// One task, on a machine `M` and with so many `PARTS` of each number.
pub(in crate::kernels) struct Product<'a, M, const PARTS: usize> {
    pub(in crate::kernels) weights: &'a Panels,
    pub(in crate::kernels) bias: &'a [f32],
    pub(in crate::kernels) x: &'a PackedRows,
    /// [`SUMS`] for each band with each panel.
    pub(in crate::kernels) sums: &'a mut [f32],
    /// Rows from the first of a band on, to the last of a band or of `x`.
    pub(in crate::kernels) rows: Range<usize>,
    pub(in crate::kernels) panels: Range<usize>,
    pub(in crate::kernels) destination: Destination<'a>,
    pub(in crate::kernels) machine: PhantomData<M>,
}

/// Sums of a band with a panel.
pub(in crate::kernels) const SUMS: usize = BAND * COLUMNS;

/// Sums of a tile of rows with a panel.
const TILE_SUMS: usize = ROWS * COLUMNS;

impl<M: TileMachine, const PARTS: usize> Kernel for Product<'_, M, PARTS> {
    type Output = ();

    /// As in float32 block by block, then panel by panel, then down the rows.
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { weights, ref rows, .. } = self;
        let bands = rows.len().div_ceil(BAND);
        let steps = weights.inputs().div_ceil(STEP);
        let blocks = steps.div_ceil(block_steps(PARTS));
        // Of a panel's last block, still in the nearest cache.
        let mut finished = Sums([0.0; SUMS]);
        // SAFETY: a block's rows lie in `x`, a panel's block in `weights` and their sums in `sums`, by contract.
        unsafe {
            let mut machine = M::new(ROWS);
            for (block, panel) in
                (0..blocks).flat_map(|block| self.panels.clone().map(move |panel| (block, panel)))
            {
                let first_step = block * block_steps(PARTS);
                let (next_block, next_panel) = if panel + 1 < self.panels.end {
                    (block, panel + 1)
                } else {
                    (block + 1, self.panels.start)
                };
                // Behind the last one the prefetches ask for the first again, which costs nothing.
                let ahead = weights.step_at(next_panel, next_block % blocks * block_steps(PARTS), 0);
                let last = block + 1 == blocks;
                for band in 0..bands {
                    let first_row = rows.start + band * BAND;
                    let height = BAND.min(rows.end - first_row);
                    let sums = ((panel - self.panels.start) * bands + band) * SUMS;
                    let operands = Operands {
                        x: self.x.band(first_row / BAND).add(first_step * PARTS * X_PART),
                        weights: weights.step_at(panel, first_step, 0),
                        weights_part: weights.part_stride(),
                        steps: block_steps(PARTS).min(steps - first_step),
                        sums: self.sums.as_mut_ptr().add(sums),
                        accumulate: block > 0,
                        finished: last.then_some(finished.0.as_mut_ptr()),
                        x_ahead: self
                            .x
                            .band(first_row / BAND)
                            .wrapping_add((block + 1) % blocks * block_steps(PARTS) * PARTS * X_PART),
                        x_ahead_from: panel - self.panels.start,
                        x_ahead_every: self.panels.len(),
                        ahead,
                        ahead_from: band,
                        ahead_every: bands,
                    };
                    if height > ROWS {
                        sum_tiles::<S, M, PARTS, true>(&mut machine, &operands);
                    } else {
                        sum_tiles::<S, M, PARTS, false>(&mut machine, &operands);
                    }
                    if last {
                        self.place(first_row, panel).finish::<S>(0, height, finished.0.as_ptr(), COLUMNS);
                    }
                }
            }
        }
    }
}

impl<M, const PARTS: usize> Product<'_, M, PARTS> {
    fn place(&self, row: usize, panel: usize) -> Place<'_> {
        let column = panel * COLUMNS;
        let outputs = self.weights.outputs();
        Place {
            row,
            column,
            columns: COLUMNS.min(outputs - column),
            outputs,
            bias: &self.bias[column..column + COLUMNS],
            destination: self.destination,
        }
    }
}

/// A band of two tiles of rows, or one, times a panel, over a depth block.
pub(super) struct Operands {
    /// The first part in the first step.
    pub(super) x: *const f32,
    /// The panel's first part in the first step; from part to part.
    pub(super) weights: *const f32,
    pub(super) weights_part: usize,
    pub(super) steps: usize,
    /// [`SUMS`].
    pub(super) sums: *mut f32,
    pub(super) accumulate: bool,
    /// Where the sums go instead when they are complete.
    pub(super) finished: Option<*mut f32>,
    /// The band's inputs of the next block, of which every so many-th line from one on is asked for meanwhile.
    pub(super) x_ahead: *const f32,
    pub(super) x_ahead_from: usize,
    pub(super) x_ahead_every: usize,
    /// The weights needed next, of which every so many-th line from one on is asked for meanwhile.
    pub(super) ahead: *const f32,
    pub(super) ahead_from: usize,
    pub(super) ahead_every: usize,
}

/// Values from one part of a step of a band to the next.
pub(super) const X_PART: usize = BAND * STEP / 2;

/// Values from one step of a part of a panel to the next.
pub(super) const PANEL_STEP: usize = STEP / 2 * COLUMNS;

/// Where all digits of a float32 are wanted, a block's small products are summed before its large ones, and its sum is added to
/// that of the blocks before it as a whole: the fewer large sums are rounded, the less is lost.
#[inline(always)]
pub(super) unsafe fn sum_tiles<S: Simd, M: TileMachine, const PARTS: usize, const TWO: bool>(
    machine: &mut M,
    operands: &Operands,
) {
    let Operands { steps, sums, accumulate, .. } = *operands;
    // SAFETY: the caller's operands are valid for `steps` steps.
    unsafe {
        if accumulate && PARTS < 3 {
            machine.load::<0>(sums, SUMS_ROW);
            machine.load::<1>(sums.add(TILE_COLUMNS), SUMS_ROW);
            if TWO {
                machine.load::<2>(sums.add(TILE_SUMS), SUMS_ROW);
                machine.load::<3>(sums.add(TILE_SUMS + TILE_COLUMNS), SUMS_ROW);
            }
        } else {
            machine.zero::<0>();
            machine.zero::<1>();
            machine.zero::<2>();
            machine.zero::<3>();
        }
        if PARTS < 3 {
            for step in 0..steps {
                add_products::<S, M, PARTS, TWO>(machine, operands, step, small_pairs(PARTS));
                add_products::<S, M, PARTS, TWO>(machine, operands, step, &[(0, 0)]);
            }
        } else {
            for step in 0..steps {
                add_products::<S, M, PARTS, TWO>(machine, operands, step, small_pairs(PARTS));
            }
            for step in 0..steps {
                add_products::<S, M, PARTS, TWO>(machine, operands, step, &[(0, 0)]);
            }
        }
        let to = operands.finished.unwrap_or(sums);
        if accumulate && PARTS == 3 {
            let mut block = Sums([0.0; SUMS]);
            store::<M, TWO>(machine, block.0.as_mut_ptr());
            for i in (0..if TWO { SUMS } else { TILE_SUMS }).step_by(S::LANES) {
                S::store(to.add(i), S::add(S::load(sums.add(i)), S::load(block.0.as_ptr().add(i))));
            }
        } else {
            store::<M, TWO>(machine, to);
        }
    }
}

#[repr(align(64))]
struct Sums([f32; SUMS]);

const SUMS_ROW: usize = COLUMNS * size_of::<f32>();

#[inline(always)]
unsafe fn store<M: TileMachine, const TWO: bool>(machine: &mut M, sums: *mut f32) {
    // SAFETY: the caller's memory holds the tiles.
    unsafe {
        machine.store::<0>(sums, SUMS_ROW);
        machine.store::<1>(sums.add(TILE_COLUMNS), SUMS_ROW);
        if TWO {
            machine.store::<2>(sums.add(TILE_SUMS), SUMS_ROW);
            machine.store::<3>(sums.add(TILE_SUMS + TILE_COLUMNS), SUMS_ROW);
        }
    }
}

/// Adds the products of some pairs of parts in one step.
#[inline(always)]
unsafe fn add_products<S: Simd, M: TileMachine, const PARTS: usize, const TWO: bool>(
    machine: &mut M,
    operands: &Operands,
    step: usize,
    pairs: &[(usize, usize)],
) {
    const ROW: usize = 64;
    /// Lines of a step of a part.
    const LINES: usize = PANEL_STEP / 16;
    let Operands { x, weights, weights_part, ahead, ahead_from, ahead_every, .. } = *operands;
    let Operands { x_ahead, x_ahead_from, x_ahead_every, .. } = *operands;
    let (mut held_x, mut held_weight) = (PARTS, PARTS);
    // SAFETY: the step and the parts are the operands'; a prefetch may go anywhere.
    unsafe {
        for &(part, weight_part) in pairs {
            if held_weight != weight_part {
                let offset = weight_part * weights_part + step * PANEL_STEP;
                machine.load::<6>(weights.add(offset), SUMS_ROW);
                machine.load::<7>(weights.add(offset + TILE_COLUMNS), SUMS_ROW);
                held_weight = weight_part;
                for line in (ahead_from..LINES).step_by(ahead_every) {
                    S::prefetch_second_level(ahead.wrapping_add(offset + line * 16));
                }
            }
            if held_x != part {
                let offset = (step * PARTS + part) * X_PART;
                for line in (x_ahead_from..X_PART / 16).step_by(x_ahead_every) {
                    S::prefetch_second_level(x_ahead.wrapping_add(offset + line * 16));
                }
                let x = x.add(offset);
                machine.load_once::<4>(x, ROW);
                if TWO {
                    machine.load_once::<5>(x.add(X_PART / 2), ROW);
                }
                held_x = part;
            }
            machine.dot::<0, 4, 6>();
            machine.dot::<1, 4, 7>();
            if TWO {
                machine.dot::<2, 5, 6>();
                machine.dot::<3, 5, 7>();
            }
        }
    }
}
