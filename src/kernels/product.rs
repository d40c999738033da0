//! One task of a product: some rows with some panels.

use std::{marker::PhantomData, ops::Range};

use super::{
    PackedRows,
    depth::{DEPTH, ROW_STRIDE},
    epilogue::{Activated, Destination, Place, WholeRows},
    panels::Panels,
    simd::{Kernel, Simd},
    tile::{Dot, Keep, LINE, Operands, PREFETCHES, strips, sum_tiles},
};

/// What one task multiplies.
pub(super) struct Part<'a> {
    pub(super) x: &'a PackedRows,
    pub(super) sums: &'a mut [f32],
    pub(super) rows: Range<usize>,
    pub(super) panels: Range<usize>,
    pub(super) destination: Destination<'a>,
}

/// One task; its sums are (panels, rows, tile columns).
pub(super) struct Product<'a, D> {
    pub(super) weights: &'a Panels,
    pub(super) bias: &'a [f32],
    pub(super) part: Part<'a>,
    pub(super) dot: PhantomData<D>,
}

impl<D: Dot> Kernel for Product<'_, D> {
    type Output = ();

    /// Block by block, so that the block of `x` stays in the second-level cache for all panels; within it panel by
    /// panel, so that the panel's block stays in the first for all rows.
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { weights: panels, bias, part, .. } = self;
        let Part { x, sums, rows, panels: range, destination } = part;
        let (columns, words) = (2 * S::LANES, panels.words());
        let blocks = words.div_ceil(DEPTH);
        for (block, panel) in (0..blocks).flat_map(|block| range.clone().map(move |panel| (block, panel))) {
            let start = block * DEPTH;
            let depth = DEPTH.min(words - start);
            let weights = panels.at(panel, start);
            let next = if panel + 1 < range.end {
                weights.wrapping_add(words * columns)
            } else if block + 1 < blocks {
                panels.at(range.start, start + depth)
            } else {
                // Probably this thread's next task.
                panels.at(range.end, 0)
            };
            let first_sum = (panel - range.start) * rows.len() * columns;
            let lines = (depth * columns / LINE).div_ceil(rows.len().div_ceil(S::TILE_ROWS)).min(PREFETCHES);
            // Behind the last block the first one is next, for the task after this one.
            let next_block = (block + 1) % blocks;
            let mut ahead = next;
            for (row, height, tiles) in strips::<S>(rows.len()) {
                // Each panel asks for its share of the rows' next block.
                let x_lines = height * ROW_STRIDE / LINE;
                let share = |panel| (panel - range.start) * x_lines / range.len();
                let operands = Operands {
                    x: x.block(block, rows.start + row),
                    weights,
                    depth,
                    sums: sums[first_sum + row * columns..].as_mut_ptr(),
                    sums_stride: columns,
                    accumulate: block > 0,
                    ahead,
                    ahead_lines: lines,
                    x_ahead: x.block(next_block, rows.start + row).wrapping_add(share(panel) * LINE),
                    x_ahead_lines: share(panel + 1) - share(panel),
                    x_ahead_step: height * ROW_STRIDE,
                };
                ahead = ahead.wrapping_add(tiles * lines * LINE);
                let place = Place {
                    row: rows.start + row,
                    column: panel * columns,
                    columns: columns.min(panels.outputs() - panel * columns),
                    outputs: panels.outputs(),
                    bias: &bias[panel * columns..][..columns],
                    destination,
                };
                // SAFETY: a block's rows lie in `x` and `sums`, a panel's block in `panels`; the place is these rows'.
                unsafe {
                    if block + 1 < blocks {
                        sum_tiles::<S, D, 2>(height, tiles, operands, Keep);
                    } else if let Some(place) = WholeRows::of(&place, columns) {
                        sum_tiles::<S, D, 2>(height, tiles, operands, place);
                    } else if let Some(place) = Activated::of(&place, columns) {
                        sum_tiles::<S, D, 2>(height, tiles, operands, place);
                    } else {
                        sum_tiles::<S, D, 2>(height, tiles, operands, &place);
                    }
                }
            }
        }
    }
}
