//! `y = x Wᵀ + b` over weights packed once, with what follows it fused into its last step.

use std::{mem::MaybeUninit, ops::Range};

use rayon::prelude::*;

use super::{
    Activation, Isa, PackedRows,
    epilogue::{Epilogue, Place, finish_tile},
    memory::{Aligned, SharedOut, written},
    packed_rows::PackedOut,
    scratch::Scratch,
    simd::{Kernel, Simd},
    threads::{panel_spans, row_groups},
    tile::{DEPTH, Operands, PREFETCHES, ROW_STRIDE, even_split, sum_tile, tiles},
};

/// A linear layer's weights in the order in which the micro-kernel reads them: panels as wide as a register tile
/// (the last one padded with zeros), in each panel the inputs in turn. A product so reads its weights as one stream.
#[derive(Debug)]
pub struct PackedLinear {
    isa: Isa,
    inputs: usize,
    outputs: usize,
    /// (panels, inputs, tile columns)
    panels: Aligned,
    /// (panels · tile columns)
    bias: Aligned,
}

/// A linear layer as checkpoints hold it, row-major.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// (outputs, inputs)
    pub weight: &'a [f32],
    /// (outputs), if there is one.
    pub bias: Option<&'a [f32]>,
}

impl PackedLinear {
    /// Packs layers of the same inputs as one, their outputs side by side.
    ///
    /// # Panics
    /// A weight has no whole rows, or a bias not one value for each row.
    pub fn pack(isa: Isa, inputs: usize, parts: &[Rows]) -> Self {
        let mut rows: Vec<&[f32]> = Vec::new();
        let mut biases = Vec::new();
        for part in parts {
            let outputs = part.weight.len() / inputs;
            assert_eq!(part.weight.len(), outputs * inputs, "a weight of whole rows");
            rows.extend(part.weight.chunks_exact(inputs));
            match part.bias {
                Some(bias) => {
                    assert_eq!(bias.len(), outputs, "a bias for each row");
                    biases.extend_from_slice(bias);
                }
                None => biases.resize(biases.len() + outputs, 0.0),
            }
        }
        let columns = isa.tile_columns();
        let panels = rows.len().div_ceil(columns);
        // SAFETY: `pack_panel` writes each panel in full, and there are as many as chunks of rows.
        let packed = unsafe {
            Aligned::filled(panels * inputs * columns, |memory| {
                let panels = memory.par_chunks_exact_mut(inputs * columns);
                panels
                    .zip(rows.par_chunks(columns))
                    .for_each(|(panel, rows)| pack_panel(rows, columns, panel));
            })
        };
        let mut bias = Aligned::zeros(panels * columns);
        bias.as_mut_slice()[..biases.len()].copy_from_slice(&biases);
        Self { isa, inputs, outputs: rows.len(), panels: packed, bias }
    }

    /// Elements of an input row.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Elements of an output row.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// `x` (rows, inputs) → (rows, outputs), in rayon's current pool.
    ///
    /// A row's result is the same bytes whatever rows it is computed with and on however many threads.
    ///
    /// # Panics
    /// `x` has another width, or a residual is not as long as the result.
    pub fn forward(&self, x: &PackedRows, epilogue: Epilogue) -> Vec<f32> {
        // SAFETY: the result is as long as `forward_to` needs, and written in full.
        unsafe { written(x.rows() * self.outputs, |y| self.forward_to(x, epilogue, y)) }
    }

    /// [`PackedLinear::forward`] to where there is room.
    ///
    /// # Safety
    /// `y` is valid for the result, and nobody else uses it meanwhile.
    pub(super) unsafe fn forward_to(&self, x: &PackedRows, epilogue: Epilogue, y: SharedOut) {
        if let Epilogue::AddResidual(residual) = epilogue {
            assert_eq!(residual.len(), x.rows() * self.outputs, "a residual as long as the result");
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
            PackedRows::written(x.rows(), self.outputs, |y| {
                self.multiply(x, Destination::Packed(y, activation));
            })
        }
    }

    fn multiply(&self, x: &PackedRows, destination: Destination) {
        assert_eq!(x.width(), self.inputs, "an input of the layer's width");
        let columns = self.isa.tile_columns();
        let panels = self.outputs.div_ceil(columns);
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

/// Transposes rows of weights into a panel, whose missing rows are zero.
fn pack_panel(rows: &[&[f32]], columns: usize, panel: &mut [MaybeUninit<f32>]) {
    /// Inputs per pass: a cache line of each row, to an eighth of the panel's block that stays in cache.
    const PASS: usize = 16;
    for (pass, block) in panel.chunks_mut(PASS * columns).enumerate() {
        for column in 0..columns {
            let values = rows.get(column).map_or(&[][..], |row| &row[pass * PASS..]);
            for (i, step) in block.chunks_exact_mut(columns).enumerate() {
                step[column] = MaybeUninit::new(if values.is_empty() { 0.0 } else { values[i] });
            }
        }
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
        let Self { layer: &PackedLinear { inputs, ref panels, .. }, ref rows, .. } = self;
        let columns = 2 * S::LANES;
        let blocks = inputs.div_ceil(DEPTH);
        for (block, panel) in
            (0..blocks).flat_map(|block| self.panels.clone().map(move |panel| (block, panel)))
        {
            let start = block * DEPTH;
            let depth = DEPTH.min(inputs - start);
            let weights = panels.as_ptr().wrapping_add((panel * inputs + start) * columns);
            let next = if panel + 1 < self.panels.end {
                weights.wrapping_add(inputs * columns)
            } else {
                panels.as_ptr().wrapping_add((self.panels.start * inputs + start + depth) * columns)
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
        let PackedLinear { outputs, ref bias, .. } = *self.layer;
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
                        let layer =
                            PackedLinear::pack(isa, inputs, &[Rows { weight: &weight, bias: Some(&bias) }]);
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
            let layer = PackedLinear::pack(isa, inputs, &[Rows { weight: &weight, bias: None }]);
            let got = layer.forward(&PackedRows::pack(&x, inputs), Epilogue::None);
            let error = relative_error(&got, &plain(&x, inputs, &weight, None));
            assert!(error < 5e-7, "{isa:?}: {error:e}");
        }
    }

    #[test]
    fn layers_packed_as_one_lie_side_by_side() {
        let (rows, inputs) = (9, 50);
        let x = noise(1, rows * inputs);
        let weights = [noise(2, 40 * inputs), noise(3, 41 * inputs), noise(4, 5 * inputs)];
        let bias = noise(5, 41);
        for &isa in Isa::available() {
            let parts = [
                Rows { weight: &weights[0], bias: None },
                Rows { weight: &weights[1], bias: Some(&bias) },
                Rows { weight: &weights[2], bias: None },
            ];
            let forward = |parts: &[Rows]| {
                let layer = PackedLinear::pack(isa, inputs, parts);
                layer.forward(&PackedRows::pack(&x, inputs), Epilogue::None)
            };
            let together = forward(&parts);
            let apart = parts.map(|part| forward(&[part]));
            for (row, together) in together.chunks_exact(86).enumerate() {
                let apart =
                    [&apart[0][row * 40..][..40], &apart[1][row * 41..][..41], &apart[2][row * 5..][..5]];
                assert!(same_bytes(together, &apart.concat()), "{isa:?}");
            }
        }
    }

    #[test]
    fn epilogues_follow_the_product() {
        let (rows, inputs, outputs) = (17, 70, 45);
        let (x, weight, bias) = (noise(1, rows * inputs), noise(2, outputs * inputs), noise(3, outputs));
        let residual = noise(4, rows * outputs);
        let sums = plain(&x, inputs, &weight, Some(&bias));
        for &isa in Isa::available() {
            let layer = PackedLinear::pack(isa, inputs, &[Rows { weight: &weight, bias: Some(&bias) }]);
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
            let layer = PackedLinear::pack(isa, inputs, &[Rows { weight: &weight, bias: Some(&bias) }]);
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
        let layer = PackedLinear::pack(Isa::best(), 3, &[Rows { weight: &[0.0; 6], bias: None }]);
        layer.forward(&PackedRows::pack(&[0.0; 8], 4), Epilogue::None);
    }

    #[test]
    #[should_panic(expected = "a residual as long as the result")]
    fn a_short_residual_is_refused() {
        let layer = PackedLinear::pack(Isa::best(), 3, &[Rows { weight: &[0.0; 6], bias: None }]);
        layer.forward(&PackedRows::pack(&[0.0; 6], 3), Epilogue::AddResidual(&[0.0; 3]));
    }
}
