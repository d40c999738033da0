//! `y = x Wᵀ + b` over weights packed once, with what follows it fused into its last step.

use std::{convert::Infallible, marker::PhantomData, ops::Range};

use rayon::prelude::*;

use super::{
    Activation, Compute, Form, PackedRows,
    compute::{Machine, Unit},
    epilogue::{Destination, Epilogue},
    memory::{Aligned, SharedOut, Values, count, written},
    panels::Panels,
    product::{Part, Product},
    scratch::Scratch,
    threads::{row_groups, tasks, unit_row_groups, unit_tasks},
    tile::{Float32, Pairs, even_split},
    unit,
};

/// A linear layer whose weights are packed for products.
#[derive(Debug)]
pub struct PackedLinear {
    compute: Compute,
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
    /// There are no inputs, the bias has not one value for each output, or the sizes are more than memory holds.
    pub fn pack<E: Send>(
        compute: Compute,
        [outputs, inputs]: [usize; 2],
        bias: Option<&[f32]>,
        spare: Option<Self>,
        read: impl Fn(Range<usize>, &mut [f32]) -> Result<(), E> + Sync,
    ) -> Result<Self, E> {
        assert!(inputs > 0, "a sum of no products"); // no step would write a result
        let columns = compute.columns();
        let padded = outputs.checked_next_multiple_of(columns).expect("a weight that fits in memory");
        let mut padded = Aligned::zeros(padded);
        if let Some(bias) = bias {
            assert_eq!(bias.len(), outputs, "a bias for each output");
            padded.as_mut_slice()[..outputs].copy_from_slice(bias);
        }
        let spare = spare.map(|spare| spare.weights);
        Ok(Self { compute, weights: Panels::pack(compute, [outputs, inputs], spare, read)?, bias: padded })
    }

    /// Packs a weight (outputs, inputs) that lies in memory, row-major.
    ///
    /// # Panics
    /// There are no inputs, the weight has no whole rows, or the bias not one value for each.
    pub fn from_rows(
        compute: impl Into<Compute>,
        inputs: usize,
        weight: &[f32],
        bias: Option<&[f32]>,
    ) -> Self {
        let outputs = weight.len().checked_div(inputs).unwrap_or(0);
        assert_eq!(weight.len(), outputs * inputs, "a weight of whole rows");
        let read = |rows: Range<usize>, into: &mut [f32]| {
            into.copy_from_slice(&weight[rows.start * inputs..rows.end * inputs]);
            Ok::<_, Infallible>(())
        };
        let Ok(layer) = Self::pack(compute.into(), [outputs, inputs], bias, None, read);
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

    /// What it was packed for.
    pub fn compute(&self) -> Compute {
        self.compute
    }

    /// How the layer takes its input.
    pub fn form(&self) -> Form {
        self.compute.form()
    }

    /// `x` (rows, inputs) as the layer takes it, in rayon's current pool.
    ///
    /// # Panics
    /// `x` has no whole rows.
    pub fn pack_input(&self, x: &[f32]) -> PackedRows {
        PackedRows::pack(self.compute.isa(), x, self.inputs(), self.form())
    }

    /// `x` (rows, inputs) → (rows, outputs), in rayon's current pool.
    ///
    /// A row's result is the same bytes whatever rows it is computed with and on however many threads.
    ///
    /// # Panics
    /// `x` has another width or form, or a residual is not as long as the result.
    pub fn forward(&self, x: &PackedRows, epilogue: Epilogue) -> Values {
        // SAFETY: the result is as long as `forward_to` needs, and written in full.
        unsafe { written(count([x.rows(), self.outputs()]), |y| self.forward_to(x, epilogue, y)) }
    }

    /// [`PackedLinear::forward`] to where there is room.
    ///
    /// # Safety
    /// `y` is valid for the result, and nobody else uses it meanwhile.
    pub(super) unsafe fn forward_to(&self, x: &PackedRows, epilogue: Epilogue, y: SharedOut) {
        if let Epilogue::AddResidual(residual) = epilogue {
            assert_eq!(residual.len(), count([x.rows(), self.outputs()]), "a residual as long as the result");
        }
        self.multiply(x, Destination::RowMajor(y, epilogue));
    }

    /// `activation(x Wᵀ + b)`, as the next product takes it.
    ///
    /// # Panics
    /// `x` has another width or form.
    pub fn forward_activated(&self, x: &PackedRows, activation: Activation, form: Form) -> PackedRows {
        // SAFETY: the tasks write every panel of every row.
        unsafe {
            PackedRows::written(x.rows(), self.outputs(), form, |y| {
                self.multiply(x, Destination::Packed(y, activation));
            })
        }
    }

    /// `x` (rows, inputs) → (outputs / head_dim, rows, head_dim): each head's rows by themselves, as attention reads them.
    ///
    /// # Panics
    /// `x` has another width or form, or the outputs are no whole heads.
    pub fn forward_heads(&self, x: &PackedRows, head_dim: usize) -> Values {
        assert_eq!(self.outputs() % head_dim, 0, "whole heads");
        // SAFETY: every element is written.
        unsafe {
            written(count([x.rows(), self.outputs()]), |y| {
                self.multiply(
                    x,
                    Destination::Heads { y, head_dim, rows: x.rows(), first_in_panels: usize::MAX },
                );
            })
        }
    }

    fn multiply(&self, x: &PackedRows, destination: Destination) {
        self.check(x);
        let groups = self.row_groups(x.rows());
        let tasks: Vec<_> = groups.iter().flat_map(|rows| self.tasks(rows, groups.len())).collect();
        tasks.into_par_iter().with_max_len(1).for_each(|(rows, panels)| {
            // SAFETY: no other task has this part of the destination.
            unsafe { self.multiply_part(x, rows, panels, destination) };
        });
    }

    /// # Panics
    /// `x` has another width or form than the layer takes.
    pub(super) fn check(&self, x: &PackedRows) {
        assert_eq!(
            (x.width(), x.form()),
            (self.inputs(), self.form()),
            "an input of the layer's width and form"
        );
    }

    /// Cuts the rows of an input into groups, each for a pass over the weights. All layers for one [`Compute`] cut them alike.
    pub(super) fn row_groups(&self, rows: usize) -> Vec<Range<usize>> {
        // A unit's rows are cut between its bands.
        let (unit, groups) = match self.compute.unit {
            None => (1, row_groups(rows)),
            Some(_) => (unit::BAND, unit_row_groups(rows)),
        };
        let groups = even_split(rows.div_ceil(unit), groups);
        groups.map(|(first, count)| first * unit..((first + count) * unit).min(rows)).collect()
    }

    /// Cuts a group of rows, one of so many, with all panels into tasks: the rows and the panels of each.
    pub(super) fn tasks(&self, rows: &Range<usize>, groups: usize) -> Vec<(Range<usize>, Range<usize>)> {
        let panels = self.weights.count();
        match self.compute.unit {
            None => tasks(rows, groups, panels),
            Some(_) => unit_tasks(rows, groups, panels),
        }
    }

    /// One task: some rows with some panels.
    ///
    /// # Safety
    /// [`PackedLinear::check`] was passed by `x`, of which these rows are written; they are of one group, the panels are the
    /// layer's, and nobody else has this part of the destination.
    pub(super) unsafe fn multiply_part(
        &self,
        x: &PackedRows,
        rows: Range<usize>,
        panels: Range<usize>,
        destination: Destination,
    ) {
        let sums_len = match self.compute.unit {
            None => rows.len() * self.compute.columns(),
            Some(_) => rows.len().div_ceil(unit::BAND) * unit::SUMS,
        };
        Scratch::with(|scratch| {
            let sums = scratch.sums(panels.len() * sums_len);
            let part = Part { x, sums, rows, panels, destination };
            // SAFETY: by contract; a unit is only named where the CPU has it.
            unsafe {
                match self.compute.unit {
                    None => {
                        let (weights, bias, isa) = (&self.weights, self.bias.as_slice(), self.compute.isa());
                        if self.compute.pairs {
                            isa.run_pairs(Product { weights, bias, part, dot: PhantomData::<Pairs> });
                        } else {
                            isa.run(Product { weights, bias, part, dot: PhantomData::<Float32> });
                        }
                    }
                    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
                    Some(Unit { machine: Machine::Amx, parts }) => {
                        self.multiply_tiles::<unit::Amx>(parts, part);
                    }
                    Some(Unit { machine: Machine::Plain, parts }) => {
                        self.multiply_tiles::<unit::Plain>(parts, part);
                    }
                }
            }
        });
    }

    /// # Safety
    /// As [`PackedLinear::multiply_part`], and the CPU has the machine.
    unsafe fn multiply_tiles<M: unit::TileMachine>(&self, parts: usize, part: Part) {
        /// One function for each number of parts, so that the products of a step are known to the compiler.
        macro_rules! run {
            ($parts:literal) => {{
                let Part { x, sums, rows, panels, destination } = part;
                let (weights, bias, machine) = (&self.weights, self.bias.as_slice(), PhantomData::<M>);
                let product =
                    unit::Product::<M, $parts> { weights, bias, x, sums, rows, panels, destination, machine };
                // SAFETY: by contract.
                unsafe { self.compute.isa().run(product) }
            }};
        }
        match parts {
            1 => run!(1),
            2 => run!(2),
            _ => run!(3),
        }
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
                    for compute in Compute::all() {
                        let layer = PackedLinear::from_rows(compute, inputs, &weight, Some(&bias));
                        let got = layer.forward(&layer.pack_input(&x), Epilogue::None);
                        assert_eq!(got.len(), want.len());
                        for ((&got, want), scale) in got.iter().zip(&want).zip(&scale) {
                            let error = (f64::from(got) - want).abs() / scale;
                            assert!(
                                error < 4e-7 * compute.tolerance(),
                                "{compute:?} {rows} x {inputs} -> {outputs}: {error:e}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn pairs_of_bfloat16_have_the_same_bytes_with_and_without_instructions_for_them() {
        // Of every size, so that some products are denormal.
        let values = |seed, count| -> Vec<f32> {
            let scaled = |(i, v): (usize, f32)| v * 2f32.powi([0, 3, -20, -66][i / 7 % 4]);
            noise(seed, count).into_iter().enumerate().map(scaled).collect()
        };
        let (rows, inputs, outputs) = (29, 1501, 70);
        let (x, weight) = (values(1, rows * inputs), values(2, outputs * inputs));
        let forward = |compute| {
            let layer = PackedLinear::from_rows(compute, inputs, &weight, None);
            layer.forward(&layer.pack_input(&x), Epilogue::None)
        };
        let want = forward(Compute::emulated_pairs());
        for compute in Compute::all().into_iter().filter(|compute| compute.pairs) {
            assert!(same_bytes(&forward(compute), &want), "{compute:?}");
        }
    }

    #[test]
    fn bfloat16_next_to_the_least_normal_number_are_summed_as_hardware_does() {
        // 2^-126 less so many times 2^-151, as vdpbf16ps gives it on an Emerald Rapids.
        let least = f32::MIN_POSITIVE;
        let power = |exponent: i32| 2f32.powi(exponent);
        for (less, want) in [(0.5, least), (1.0, least), (1.25, 0.0), (1.5, 0.0), (2.0, 0.0), (4.0, 0.0)] {
            let (x, weight) =
                ([power(-63), 0.0, -less * power(-76), 0.0], [power(-63), 0.0, power(-75), 0.0]);
            let medium =
                |compute: &Compute| compute.pairs || compute.unit.is_some_and(|unit| unit.parts == 1);
            for compute in Compute::all().into_iter().filter(medium) {
                let layer = PackedLinear::from_rows(compute, 4, &weight, None);
                let got = layer.forward(&layer.pack_input(&x), Epilogue::None)[0];
                assert_eq!(got, want, "{compute:?} {less}");
            }
        }
    }

    #[test]
    fn a_deep_sum_is_as_accurate_as_a_short_one() {
        let (rows, inputs, outputs) = (20, 4096, 48);
        let (x, weight) = (noise(1, rows * inputs), noise(2, outputs * inputs));
        for compute in Compute::all() {
            let layer = PackedLinear::from_rows(compute, inputs, &weight, None);
            let got = layer.forward(&layer.pack_input(&x), Epilogue::None);
            let error = relative_error(&got, &plain(&x, inputs, &weight, None));
            println!("{compute:?} {error:e}");
            assert!(error < 5e-7 * compute.tolerance(), "{compute:?}: {error:e}");
        }
    }

    #[test]
    fn epilogues_follow_the_product() {
        let (rows, inputs, outputs) = (17, 70, 45);
        let (x, weight, bias) = (noise(1, rows * inputs), noise(2, outputs * inputs), noise(3, outputs));
        let residual = noise(4, rows * outputs);
        let sums = plain(&x, inputs, &weight, Some(&bias));
        for compute in Compute::all() {
            let layer = PackedLinear::from_rows(compute, inputs, &weight, Some(&bias));
            let added: Vec<f64> = sums.iter().zip(&residual).map(|(s, &r)| s + f64::from(r)).collect();
            let error = relative_error(
                &layer.forward(&layer.pack_input(&x), Epilogue::AddResidual(&residual)),
                &added,
            );
            assert!(error < 4e-7 * compute.tolerance(), "{compute:?}: {error:e}");
            for activation in [Activation::QuickGelu, Activation::Gelu, Activation::GeluTanh] {
                let want: Vec<f64> = sums.iter().map(|&s| activation.exact(s)).collect();
                let error = relative_error(
                    &layer.forward_activated(&layer.pack_input(&x), activation, Form::Float32).to_vec(),
                    &want,
                );
                assert!(error < 4e-7 * compute.tolerance(), "{compute:?} {activation:?}: {error:e}");
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bytes_in_any_company() {
        let (tokens, inputs, outputs) = (257, 300, 75);
        let (weight, bias) = (noise(1, outputs * inputs), noise(2, outputs));
        let image = noise(3, tokens * inputs);
        for compute in Compute::all() {
            let layer = PackedLinear::from_rows(compute, inputs, &weight, Some(&bias));
            let forward = |x: &[f32]| {
                let x = layer.pack_input(x);
                same_on_all_threads(|| {
                    layer.forward_activated(&x, Activation::QuickGelu, Form::Float32).to_vec()
                })
            };
            let alone = forward(&image);
            for (batch, place) in [(3, 0), (3, 2), (8, 5)] {
                let mut x = noise(9, batch * tokens * inputs);
                x[place * image.len()..][..image.len()].copy_from_slice(&image);
                let batched = forward(&x);
                assert!(same_bytes(&batched[place * alone.len()..][..alone.len()], &alone), "{compute:?}");
            }
            for first in 0..30 {
                let part = forward(&image[first * inputs..][..31 * inputs]);
                assert!(
                    same_bytes(&part, &alone[first * outputs..][..31 * outputs]),
                    "{compute:?} from {first}"
                );
            }
        }
    }

    #[test]
    #[should_panic(expected = "an input of the layer's width and form")]
    fn another_width_is_refused() {
        let layer = PackedLinear::from_rows(crate::kernels::Isa::best(), 3, &[0.0; 6], None);
        layer.forward(
            &PackedRows::pack(crate::kernels::Isa::best(), &[0.0; 8], 4, layer.form()),
            Epilogue::None,
        );
    }

    #[test]
    #[should_panic(expected = "a residual as long as the result")]
    fn a_short_residual_is_refused() {
        let layer = PackedLinear::from_rows(crate::kernels::Isa::best(), 3, &[0.0; 6], None);
        layer.forward(&layer.pack_input(&[0.0; 6]), Epilogue::AddResidual(&[0.0; 3]));
    }
}
