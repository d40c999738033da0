//! Weights in the order in which products read them.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    Compute, Form,
    memory::{Aligned, count},
    scratch::Scratch,
    simd::{Kernel, Simd},
    transpose::Transpose,
    unit::{self, STEP},
};

/// A weight (outputs, inputs) cut into panels as wide as a tile, the last one padded with zeros.
///
/// For products on vectors a panel holds the inputs, or pairs of them, in turn: (panels, words, columns). For a matrix unit it holds the parts of
/// all weights one after the other, and in each part pairs of inputs: (panels, parts, inputs / 2, columns, 2), as many inputs
/// as fill steps, those that are none zero. A product so reads its weights as streams.
#[derive(Debug)]
pub(super) struct Panels {
    outputs: usize,
    inputs: usize,
    columns: usize,
    /// Rows of a panel: inputs, or the pairs of all parts.
    depth: usize,
    parts: usize,
    values: Aligned,
}

impl Panels {
    /// Packs panels for products from the rows that `read` gives, into the memory of `spare` if that suffices.
    ///
    /// Each thread reads the rows of one panel into memory of its own that stays in its caches, so the unpacked
    /// weight never lies in memory as a whole.
    pub(super) fn pack<E: Send>(
        compute: Compute,
        [outputs, inputs]: [usize; 2],
        spare: Option<Self>,
        read: impl Fn(Range<usize>, &mut [f32]) -> Result<(), E> + Sync,
    ) -> Result<Self, E> {
        let isa = compute.isa();
        let columns = compute.columns();
        let (depth, parts) = match compute.form() {
            Form::Float32 => (inputs, 1),
            Form::Pairs => (inputs.div_ceil(2), 1),
            Form::Bfloat16 { parts } => (count([inputs.div_ceil(STEP), STEP / 2, parts]), parts),
        };
        let len = count([outputs.div_ceil(columns), columns, depth]);
        let spare = spare.map(|spare| spare.values).filter(|spare| spare.len() >= len);
        let mut values = spare.unwrap_or_else(|| Aligned::zeros(len));
        if len > 0 {
            let panels = values.as_mut_slice()[..len].par_chunks_exact_mut(depth * columns);
            panels.enumerate().try_for_each(|(panel, out)| {
                let first = panel * columns;
                let rows = first..outputs.min(first + columns);
                let outputs = rows.len();
                Scratch::with(|scratch| {
                    let words = if compute.form() == Form::Float32 { 0 } else { depth / parts };
                    let (unpacked, halves) =
                        scratch.sums(outputs * (inputs + words)).split_at_mut(outputs * inputs);
                    read(rows, unpacked)?;
                    if words == 0 {
                        // SAFETY: the rows fit the panel.
                        unsafe {
                            isa.run(Transpose {
                                rows: unpacked,
                                stride: inputs,
                                inputs,
                                panel: out,
                                columns,
                            });
                        };
                        return Ok(());
                    }
                    for panel in out.chunks_exact_mut(words * columns) {
                        // SAFETY: the rows of pairs are as many and long enough, and fit the part of the panel.
                        unsafe {
                            isa.run(TakePart { rows: unpacked, inputs, halves, words });
                            isa.run(Transpose { rows: halves, stride: words, inputs: words, panel, columns });
                        }
                    }
                    Ok(())
                })
            })?;
        }
        Ok(Self { outputs, inputs, columns, depth, parts, values })
    }

    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    pub(super) fn inputs(&self) -> usize {
        self.inputs
    }

    /// How many panels there are.
    pub(super) fn count(&self) -> usize {
        self.outputs.div_ceil(self.columns)
    }

    /// How many words a panel holds of each output: inputs, or pairs of them.
    pub(super) fn words(&self) -> usize {
        self.depth
    }

    /// Where a panel's weights of a word lie.
    pub(super) fn at(&self, panel: usize, word: usize) -> *const f32 {
        self.values.as_ptr().wrapping_add((panel * self.depth + word) * self.columns)
    }

    /// Where a step of a part of a panel lies.
    pub(super) fn step_at(&self, panel: usize, step: usize, part: usize) -> *const f32 {
        let first = self.values.as_ptr().wrapping_add(panel * self.depth * unit::COLUMNS);
        first.wrapping_add(part * self.part_stride() + step * STEP / 2 * unit::COLUMNS)
    }

    /// Values from one part of a panel to the next.
    pub(super) fn part_stride(&self) -> usize {
        self.depth / self.parts * unit::COLUMNS
    }
}

/// Rounds rows of `inputs` values to bfloat16, into rows of `words` pairs with zeros behind them, and leaves what that loses in
/// their place.
pub(super) struct TakePart<'a> {
    pub(super) rows: &'a mut [f32],
    pub(super) inputs: usize,
    pub(super) halves: &'a mut [f32],
    pub(super) words: usize,
}

impl Kernel for TakePart<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { rows, inputs, halves, words } = self;
        for (row, to) in rows.chunks_exact_mut(inputs).zip(halves.chunks_exact_mut(words)) {
            to[inputs / 2..].fill(0.0);
            for i in (0..inputs).step_by(S::LANES) {
                let count = inputs - i;
                // SAFETY: `count` values are left in the row, and room for as many halves.
                unsafe {
                    let value = S::load_first(row.as_ptr().add(i), count);
                    let rounded = S::round_to_bf16(value);
                    S::store_bf16(to.as_mut_ptr().cast::<u16>().add(i), count, rounded);
                    S::store_first(row.as_mut_ptr().add(i), count, S::sub(value, rounded));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{Isa, testing::noise};

    fn pack(compute: Compute, shape: [usize; 2], weight: &[f32], spare: Option<Panels>) -> Panels {
        let read = |rows: Range<usize>, into: &mut [f32]| {
            into.copy_from_slice(&weight[rows.start * shape[1]..rows.end * shape[1]]);
            Ok::<_, ()>(())
        };
        Panels::pack(compute, shape, spare, read).unwrap()
    }

    #[test]
    fn every_weight_is_where_the_kernel_reads_it() {
        let mut spare = None;
        // From large to small, so that what a spare held before would show.
        for shape @ [outputs, inputs] in [[70, 40], [33, 17], [32, 16], [31, 5], [1, 1], [0, 8]] {
            let weight = noise(1, outputs * inputs);
            for &isa in Isa::available() {
                let columns = isa.tile_columns();
                for panels in
                    [pack(isa.into(), shape, &weight, None), pack(isa.into(), shape, &weight, spare.take())]
                {
                    assert_eq!((panels.outputs(), panels.inputs()), (outputs, inputs));
                    for output in 0..panels.count() * columns {
                        for input in 0..inputs {
                            // SAFETY: a weight of one of the panels.
                            let got = unsafe { *panels.at(output / columns, input).add(output % columns) };
                            let want = if output < outputs { weight[output * inputs + input] } else { 0.0 };
                            assert_eq!(got, want, "{shape:?} {columns} {output} {input}");
                        }
                    }
                    spare = Some(panels);
                }
            }
        }
    }

    #[test]
    fn the_parts_of_every_weight_are_where_the_unit_reads_them() {
        let mut spare = None;
        for shape @ [outputs, inputs] in [[70, 70], [33, 33], [32, 32], [31, 5], [1, 1]] {
            let weight = noise(1, outputs * inputs);
            for compute in Compute::all() {
                let Form::Bfloat16 { parts } = compute.form() else { continue };
                let panels = pack(compute, shape, &weight, spare.take());
                for output in 0..panels.count() * unit::COLUMNS {
                    for input in 0..inputs.next_multiple_of(STEP) {
                        let mut rest = if output < outputs && input < inputs {
                            weight[output * inputs + input]
                        } else {
                            0.0
                        };
                        for part in 0..parts {
                            let tile =
                                panels.step_at(output / unit::COLUMNS, input / STEP, part).cast::<u16>();
                            let at =
                                (input % STEP / 2 * unit::COLUMNS + output % unit::COLUMNS) * 2 + input % 2;
                            // SAFETY: a weight of one of the panels.
                            let got = f32::from_bits(u32::from(unsafe { *tile.add(at) }) << 16);
                            assert_eq!(
                                got,
                                crate::kernels::simd::round_to_bf16(rest),
                                "{compute:?} {shape:?} {output} {input}"
                            );
                            rest -= got;
                        }
                    }
                }
                spare = Some(panels);
            }
        }
    }

    #[test]
    fn a_read_that_fails_ends_the_packing() {
        let read =
            |rows: Range<usize>, _: &mut [f32]| if rows.contains(&40) { Err("row 40") } else { Ok(()) };
        assert_eq!(Panels::pack(Isa::best().into(), [64, 3], None, read).unwrap_err(), "row 40");
    }
}
