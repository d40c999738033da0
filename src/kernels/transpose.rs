//! Rows of weights, or of keys, turned into a panel's columns.

use super::simd::{Kernel, Simd};

/// Writes up to `columns` rows of `inputs` elements as a panel (inputs, columns), missing rows as zeros.
pub(super) struct Transpose<'a> {
    /// The rows, one beginning every `stride` elements, to the end of the last one or further.
    pub(super) rows: &'a [f32],
    pub(super) stride: usize,
    pub(super) inputs: usize,
    pub(super) panel: &'a mut [f32],
    pub(super) columns: usize,
}

impl Kernel for Transpose<'_> {
    type Output = ();

    /// Sixteen inputs at a time, so that a cache line of each row is read once.
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { rows, stride, inputs, panel, columns } = self;
        let count = (rows.len() + stride - inputs) / stride;
        let count = count.min(columns);
        let (whole_rows, whole_inputs) = (count / 8 * 8, inputs / 16 * 16);
        for input in (0..whole_inputs).step_by(16) {
            for (row, input) in (0..whole_rows).step_by(8).flat_map(|row| [(row, input), (row, input + 8)]) {
                // SAFETY: 8 rows of 8 inputs are left from here on, and as many columns of the panel.
                unsafe {
                    let from = rows.as_ptr().add(row * stride + input);
                    let to = panel.as_mut_ptr().add(input * columns + row);
                    S::transpose_8x8(from, stride, to, columns);
                }
            }
        }
        for (input, step) in panel.chunks_exact_mut(columns).enumerate() {
            let done = if input < whole_inputs { whole_rows } else { 0 };
            for (row, value) in step.iter_mut().enumerate().skip(done) {
                *value = if row < count { rows[row * stride + input] } else { 0.0 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{Isa, testing::noise};

    #[test]
    fn every_element_finds_its_place_on_awkward_sizes() {
        for (count, inputs, stride) in
            [(0, 5, 9), (1, 1, 1), (7, 15, 15), (8, 16, 40), (31, 64, 192), (40, 33, 33)]
        {
            let rows = noise(1, if count == 0 { 0 } else { (count - 1) * stride + inputs });
            for &isa in Isa::available() {
                let columns = isa.tile_columns();
                let mut panel = vec![f32::NAN; inputs * columns];
                // SAFETY: the panel has room for the inputs of all columns.
                unsafe { isa.run(Transpose { rows: &rows, stride, inputs, panel: &mut panel, columns }) };
                for (input, step) in panel.chunks_exact(columns).enumerate() {
                    for (row, &value) in step.iter().enumerate() {
                        let want = if row < count { rows[row * stride + input] } else { 0.0 };
                        assert_eq!(value, want, "{isa:?} {count} x {inputs}: {row}, {input}");
                    }
                }
            }
        }
    }
}
