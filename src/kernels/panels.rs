//! Weights in the order in which the micro-kernel reads them.

use std::ops::Range;

use rayon::prelude::*;

use super::{Isa, memory::Aligned, scratch::Scratch, transpose::Transpose};

/// A weight (outputs, inputs) cut into panels as wide as a register tile, the last one padded with zeros, and in
/// each panel the inputs in turn: (panels, inputs, columns). A product so reads its weights as one stream.
#[derive(Debug)]
pub(super) struct Panels {
    outputs: usize,
    inputs: usize,
    columns: usize,
    values: Aligned,
}

impl Panels {
    /// Packs panels for an instruction set from the rows that `read` gives, into the memory of `spare` if that suffices.
    ///
    /// Each thread reads the rows of one panel into memory of its own that stays in its caches, so the unpacked
    /// weight never lies in memory as a whole.
    pub(super) fn pack<E: Send>(
        isa: Isa,
        [outputs, inputs]: [usize; 2],
        spare: Option<Self>,
        read: impl Fn(Range<usize>, &mut [f32]) -> Result<(), E> + Sync,
    ) -> Result<Self, E> {
        let columns = isa.tile_columns();
        let len =
            outputs.next_multiple_of(columns).checked_mul(inputs).expect("a weight that fits in memory");
        let spare = spare.map(|spare| spare.values).filter(|spare| spare.len() >= len);
        let mut values = spare.unwrap_or_else(|| Aligned::zeros(len));
        if len > 0 {
            let panels = values.as_mut_slice()[..len].par_chunks_exact_mut(inputs * columns);
            panels.enumerate().try_for_each(|(panel, out)| {
                let first = panel * columns;
                let rows = first..outputs.min(first + columns);
                Scratch::with(|scratch| {
                    let unpacked = scratch.sums(rows.len() * inputs);
                    read(rows, unpacked)?;
                    // SAFETY: the rows fit the panel.
                    unsafe {
                        isa.run(Transpose { rows: unpacked, stride: inputs, inputs, panel: out, columns });
                    };
                    Ok(())
                })
            })?;
        }
        Ok(Self { outputs, inputs, columns, values })
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

    /// Where a panel's weights of an input lie.
    pub(super) fn at(&self, panel: usize, input: usize) -> *const f32 {
        self.values.as_ptr().wrapping_add((panel * self.inputs + input) * self.columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::noise;

    fn pack(isa: Isa, shape: [usize; 2], weight: &[f32], spare: Option<Panels>) -> Panels {
        let read = |rows: Range<usize>, into: &mut [f32]| {
            into.copy_from_slice(&weight[rows.start * shape[1]..rows.end * shape[1]]);
            Ok::<_, ()>(())
        };
        Panels::pack(isa, shape, spare, read).unwrap()
    }

    #[test]
    fn every_weight_is_where_the_kernel_reads_it() {
        let mut spare = None;
        // From large to small, so that what a spare held before would show.
        for shape @ [outputs, inputs] in [[70, 40], [33, 17], [32, 16], [31, 5], [1, 1], [0, 8]] {
            let weight = noise(1, outputs * inputs);
            for &isa in Isa::available() {
                let columns = isa.tile_columns();
                for panels in [pack(isa, shape, &weight, None), pack(isa, shape, &weight, spare.take())] {
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
    fn a_read_that_fails_ends_the_packing() {
        let read =
            |rows: Range<usize>, _: &mut [f32]| if rows.contains(&40) { Err("row 40") } else { Ok(()) };
        assert_eq!(Panels::pack(Isa::best(), [64, 3], None, read).unwrap_err(), "row 40");
    }
}
