//! `y = x Wᵀ + b` over weights packed once, with what follows it fused into its last step.

use std::{convert::Infallible, ops::Range};

use rayon::prelude::*;

use super::{
    Activation, Isa, PackedRows,
    epilogue::{Epilogue, Place, finish_tile},
    memory::{Aligned, SharedOut, written},
    packed_rows::PackedOut,
    panels::Panels,
    scratch::Scratch,
    simd::{Kernel, Simd},
    threads::{panel_spans, row_groups},
    tile::{DEPTH, Operands, PREFETCHES, ROW_STRIDE, even_split, sum_tile, tiles},
};

/// A linear layer whose weights are packed for the micro-kernel.
#[derive(Debug)]
pub struct PackedLinear {
    isa: Isa,
    weights: Panels,
    /// (panels · tile columns)
    bias: Aligned,
}

impl PackedLinear {
    /// Packs a weight (outputs, inputs), in rayon's current pool. `read` gives its rows; threads call it at the same
    /// time, for every row once, and it must not wait for rayon's pool itself. Without a `bias` (outputs) there is
    /// none.
    ///
    /// `spare` is a layer that is done with, whose memory is used again if it suffices: pages fresh from the system
    /// cost more than the packing.
    ///
    /// # Errors
    /// The first of `read`.
    ///
    /// # Panics
    /// There are no inputs, or the bias has not one value for each output.
    pub fn pack<E: Send>(
        isa: Isa,
        [outputs, inputs]: [usize; 2],
        bias: Option<&[f32]>,
        spare: Option<Self>,
        read: impl Fn(Range<usize>, &mut [f32]) -> Result<(), E> + Sync,
    ) -> Result<Self, E> {
        assert!(inputs > 0, "a sum of no products"); // no step would write a result
        let columns = isa.tile_columns();
        let mut padded = Aligned::zeros(outputs.next_multiple_of(columns));
        if let Some(bias) = bias {
            assert_eq!(bias.len(), outputs, "a bias for each output");
            padded.as_mut_slice()[..outputs].copy_from_slice(bias);
        }
        let spare = spare.map(|spare| spare.weights);
        Ok(Self { isa, weights: Panels::pack(isa, [outputs, inputs], spare, read)?, bias: padded })
    }

    /// Packs a weight (outputs, inputs) that lies in memory, row-major.
    ///
    /// # Panics
    /// There are no inputs, the weight has no whole rows, or the bias not one value for each.
    pub fn from_rows(isa: Isa, inputs: usize, weight: &[f32], bias: Option<&[f32]>) -> Self {
        let outputs = weight.len().checked_div(inputs).unwrap_or(0);
        assert_eq!(weight.len(), outputs * inputs, "a weight of whole rows");
        let read = |rows: Range<usize>, into: &mut [f32]| {
            into.copy_from_slice(&weight[rows.start * inputs..rows.end * inputs]);
            Ok::<_, Infallible>(())
        };
        let Ok(layer) = Self::pack(isa, [outputs, inputs], bias, None, read);
        layer
    }

    /// Elements of an input row.
    pub fn inputs(&self) -> usize {
        self.weights.inputs()
    }

    /// Elements of an output row.
    pub fn outputs(&self) -> usize {
        self.weights.outputs()
    }

    /// `x` (rows, inputs) → (rows, outputs), in rayon's current pool.
    ///
    /// A row's result is the same bytes whatever rows it is computed with and on however many threads.
    ///
    /// # Panics
    /// `x` has another width, or a residual is not as long as the result.
    pub fn forward(&self, x: &PackedRows, epilogue: Epilogue) -> Vec<f32> {
        // SAFETY: the result is as long as `forward_to` needs, and written in full.
        unsafe { written(x.rows() * self.outputs(), |y| self.forward_to(x, epilogue, y)) }
    }

    /// [`PackedLinear::forward`] to where there is room.
    ///
    /// # Safety
    /// `y` is valid for the result, and nobody else uses it meanwhile.
    pub(super) unsafe fn forward_to(&self, x: &PackedRows, epilogue: Epilogue, y: SharedOut) {
        if let Epilogue::AddResidual(residual) = epilogue {
            assert_eq!(residual.len(), x.rows() * self.outputs(), "a residual as long as the result");
        }
        self.multiply(x, Destination::RowMajor(y, epilogue));
    }

    /// `activation(x Wᵀ + b)`, ready to be the next product's input.
    ///
    /// # Panics
    /// `x` has another width.
    pub fn forward_activated(&self, x: &PackedRows, activation: Activation) -> PackedRows {
        // SAFETY: the tasks write every panel of every row.
        unsafe {
            PackedRows::written(x.rows(), self.outputs(), |y| {
                self.multiply(x, Destination::Packed(y, activation));
            })
        }
    }

    fn multiply(&self, x: &PackedRows, destination: Destination) {
        assert_eq!(x.width(), self.inputs(), "an input of the layer's width");
        let columns = self.isa.tile_columns();
        let panels = self.weights.count();
        let groups: Vec<_> = even_split(x.rows(), row_groups(x.rows())).collect();
        let spans: Vec<_> = even_split(panels, panel_spans(panels, groups.len())).collect();
        (0..groups.len() * spans.len()).into_par_iter().with_max_len(1).for_each(|task| {
            let (first_row, rows) = groups[task / spans.len()];
            let (first_panel, panels) = spans[task % spans.len()];
            Scratch::with(|scratch| {
                let product = Product {
                    layer: self,
                    x,
                    sums: scratch.sums(panels * rows * columns),
                    rows: first_row..first_row + rows,
                    panels: first_panel..first_panel + panels,
                    destination,
                };
                // SAFETY: the widths agree; no other task has this part of the destination.
                unsafe { self.isa.run(product) };
            });
        });
    }
}

/// Where results go.
#[derive(Clone, Copy)]
enum Destination<'a> {
    /// (rows, outputs)
    RowMajor(SharedOut, Epilogue<'a>),
    Packed(PackedOut, Activation),
}

/// One task: the product of some rows with some panels.
struct Product<'a> {
    layer: &'a PackedLinear,
    x: &'a PackedRows,
    /// (panels, rows, tile columns)
    sums: &'a mut [f32],
    rows: Range<usize>,
    panels: Range<usize>,
    destination: Destination<'a>,
}

impl Kernel for Product<'_> {
    type Output = ();

    /// Block by block, so that the block of `x` stays in the second-level cache for all panels; within it panel by
    /// panel, so that the panel's block stays in the first for all rows.
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { layer: PackedLinear { weights: panels, .. }, ref rows, .. } = self;
        let (columns, inputs) = (2 * S::LANES, panels.inputs());
        let blocks = inputs.div_ceil(DEPTH);
        for (block, panel) in
            (0..blocks).flat_map(|block| self.panels.clone().map(move |panel| (block, panel)))
        {
            let start = block * DEPTH;
            let depth = DEPTH.min(inputs - start);
            let weights = panels.at(panel, start);
            let next = if panel + 1 < self.panels.end {
                weights.wrapping_add(inputs * columns)
            } else {
                panels.at(self.panels.start, start + depth)
            };
            let sums = (panel - self.panels.start) * rows.len() * columns;
            let lines = (depth * columns / 16).div_ceil(rows.len().div_ceil(S::TILE_ROWS)).min(PREFETCHES);
            for (tile, (row, height)) in tiles::<S>(rows.len()).enumerate() {
                // SAFETY: a block's rows lie in `x` and `sums`, a panel's block in `panels`.
                unsafe {
                    let sums = self.sums.as_mut_ptr().add(sums + row * columns);
                    let operands = Operands {
                        x: self.x.block(block, rows.start + row),
                        weights,
                        depth,
                        sums,
                        sums_stride: columns,
                        accumulate: block > 0,
                        ahead: next.wrapping_add(tile * lines * 16),
                        ahead_lines: lines,
                    };
                    sum_tile::<S>(height, operands);
                    if block + 1 == blocks {
                        finish_tile::<S>(sums, &self.place(rows.start + row, height, panel, columns));
                    }
                }
            }
        }
    }
}

impl Product<'_> {
    /// Where a tile of a panel goes.
    fn place(&self, row: usize, rows: usize, panel: usize, columns: usize) -> Place<'_> {
        let PackedLinear { ref weights, ref bias, .. } = *self.layer;
        let outputs = weights.outputs();
        let column = panel * columns;
        let offset = row * outputs + column;
        let (y, stride, epilogue) = match self.destination {
            Destination::RowMajor(y, epilogue) => (y.as_ptr().wrapping_add(offset), outputs, epilogue),
            // A panel lies in one depth block, since the tile's width divides a block's depth.
            Destination::Packed(y, activation) => {
                (y.at(row, column), ROW_STRIDE, Epilogue::Activation(activation))
            }
        };
        let bias = bias.as_ptr().wrapping_add(column);
        Place { y, offset, stride, rows, columns: columns.min(outputs - column), bias, epilogue }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{
        Activation,
        testing::{noise, relative_error, same_bytes, same_on_all_threads},
    };

    /// The layer by its definition, in float64.
    fn plain(x: &[f32], inputs: usize, weight: &[f32], bias: Option<&[f32]>) -> Vec<f64> {
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
        };
        let outputs = weight.len() / inputs;
        let bias = |output: usize| bias.map_or(0.0, |bias| f64::from(bias[output]));
        x.chunks_exact(inputs)
            .flat_map(|row| (0..outputs).map(move |o| (row, o)))
            .map(|(row, o)| dot(row, &weight[o * inputs..][..inputs]) + bias(o))
            .collect()
    }

    #[test]
    fn every_size_matches_the_plain_product() {
        let magnitudes = |values: &[f32]| -> Vec<f32> { values.iter().map(|v| v.abs()).collect() };
        for inputs in [1, 3, 16, 31, 255, 256, 257, 588] {
            for outputs in [1, 7, 16, 31, 32, 33, 70] {
                let (weight, bias) = (noise(1, outputs * inputs), noise(2, outputs));
                for rows in [0, 1, 2, 5, 6, 7, 13, 14, 15, 29, 130] {
                    let x = noise(3, rows * inputs);
                    let want = plain(&x, inputs, &weight, Some(&bias));
                    // What a sum's rounding errors are relative to: the sum of its terms' magnitudes.
                    let scale =
                        plain(&magnitudes(&x), inputs, &magnitudes(&weight), Some(&magnitudes(&bias)));
                    for &isa in Isa::available() {
                        let layer = PackedLinear::from_rows(isa, inputs, &weight, Some(&bias));
                        let got = layer.forward(&PackedRows::pack(&x, inputs), Epilogue::None);
                        assert_eq!(got.len(), want.len());
                        for ((&got, want), scale) in got.iter().zip(&want).zip(&scale) {
                            let error = (f64::from(got) - want).abs() / scale;
                            assert!(error < 4e-7, "{isa:?} {rows} x {inputs} -> {outputs}: {error:e}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_deep_sum_is_as_accurate_as_a_short_one() {
        let (rows, inputs, outputs) = (20, 4096, 48);
        let (x, weight) = (noise(1, rows * inputs), noise(2, outputs * inputs));
        for &isa in Isa::available() {
            let layer = PackedLinear::from_rows(isa, inputs, &weight, None);
            let got = layer.forward(&PackedRows::pack(&x, inputs), Epilogue::None);
            let error = relative_error(&got, &plain(&x, inputs, &weight, None));
            assert!(error < 5e-7, "{isa:?}: {error:e}");
        }
    }

    #[test]
    fn epilogues_follow_the_product() {
        let (rows, inputs, outputs) = (17, 70, 45);
        let (x, weight, bias) = (noise(1, rows * inputs), noise(2, outputs * inputs), noise(3, outputs));
        let residual = noise(4, rows * outputs);
        let sums = plain(&x, inputs, &weight, Some(&bias));
        for &isa in Isa::available() {
            let layer = PackedLinear::from_rows(isa, inputs, &weight, Some(&bias));
            let added: Vec<f64> = sums.iter().zip(&residual).map(|(s, &r)| s + f64::from(r)).collect();
            let error = relative_error(
                &layer.forward(&PackedRows::pack(&x, inputs), Epilogue::AddResidual(&residual)),
                &added,
            );
            assert!(error < 4e-7, "{isa:?}: {error:e}");
            for activation in [Activation::QuickGelu, Activation::Gelu, Activation::GeluTanh] {
                let want: Vec<f64> = sums.iter().map(|&s| activation.exact(s)).collect();
                let error = relative_error(
                    &layer.forward_activated(&PackedRows::pack(&x, inputs), activation).to_vec(),
                    &want,
                );
                assert!(error < 4e-7, "{isa:?} {activation:?}: {error:e}");
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bytes_in_any_company() {
        let (tokens, inputs, outputs) = (257, 300, 75);
        let (weight, bias) = (noise(1, outputs * inputs), noise(2, outputs));
        let image = noise(3, tokens * inputs);
        for &isa in Isa::available() {
            let layer = PackedLinear::from_rows(isa, inputs, &weight, Some(&bias));
            let forward = |x: &[f32]| {
                let x = PackedRows::pack(x, inputs);
                same_on_all_threads(|| layer.forward_activated(&x, Activation::QuickGelu).to_vec())
            };
            let alone = forward(&image);
            for (batch, place) in [(3, 0), (3, 2), (8, 5)] {
                let mut x = noise(9, batch * tokens * inputs);
                x[place * image.len()..][..image.len()].copy_from_slice(&image);
                let batched = forward(&x);
                assert!(same_bytes(&batched[place * alone.len()..][..alone.len()], &alone), "{isa:?}");
            }
            for first in 0..30 {
                let part = forward(&image[first * inputs..][..31 * inputs]);
                assert!(same_bytes(&part, &alone[first * outputs..][..31 * outputs]), "{isa:?} from {first}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "an input of the layer's width")]
    fn another_width_is_refused() {
        let layer = PackedLinear::from_rows(Isa::best(), 3, &[0.0; 6], None);
        layer.forward(&PackedRows::pack(&[0.0; 8], 4), Epilogue::None);
    }

    #[test]
    #[should_panic(expected = "a residual as long as the result")]
    fn a_short_residual_is_refused() {
        let layer = PackedLinear::from_rows(Isa::best(), 3, &[0.0; 6], None);
        layer.forward(&PackedRows::pack(&[0.0; 6], 3), Epilogue::AddResidual(&[0.0; 3]));
    }
}
