//! The gate of a gated MLP, such as a SwiGLU one.

use rayon::prelude::*;

use super::{
    Activation, Form, Isa, PackedRows,
    memory::count,
    packed_rows::PackedOut,
    simd::{Kernel, Simd},
};

/// `activation(gate) · value` of rows that hold the gate, then the value: (rows, 2 · inner) → (rows, inner). In rayon's current
/// pool.
///
/// # Panics
/// `x` has no whole rows, or these are empty.
pub fn gated(isa: Isa, x: &[f32], inner: usize, activation: Activation, form: Form) -> PackedRows {
    let width = count([2, inner]);
    let rows = x.len() / width;
    assert_eq!(x.len(), rows * width, "whole rows");
    // SAFETY: the tasks write every row.
    unsafe {
        PackedRows::written(rows, inner, form, |y| {
            x.par_chunks_exact(width).enumerate().with_min_len(4).for_each(|(row, x)| {
                // SAFETY: both halves are `inner` long; this row of `y` is the task's own.
                isa.run(Gate { x, activation, row, y });
            });
        })
    }
}

struct Gate<'a> {
    /// One row.
    x: &'a [f32],
    activation: Activation,
    row: usize,
    y: PackedOut,
}

impl Kernel for Gate<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let inner = self.x.len() / 2;
        let (gate, value) = self.x.split_at(inner);
        for i in (0..inner).step_by(S::LANES) {
            let count = inner - i;
            // SAFETY: `count` elements are left in both halves and in the row of `y`.
            unsafe {
                let gate = S::load_first(gate.as_ptr().add(i), count);
                let value = S::load_first(value.as_ptr().add(i), count);
                let v = S::mul(self.activation.apply::<S>(gate), value);
                self.y.store::<S>(self.row, i, count, v);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{noise, relative_error, same_on_all_threads};

    #[test]
    fn rows_match_the_definition() {
        for (rows, inner) in [(0, 3), (1, 1), (5, 31), (9, 300)] {
            let x: Vec<f32> = noise(1, rows * 2 * inner).into_iter().map(|v| 8.0 * v).collect();
            for activation in [Activation::Silu, Activation::Gelu] {
                let product =
                    |row: &[f32], i: usize| activation.exact(row[i].into()) * f64::from(row[inner + i]);
                let rows_of = x.chunks_exact(2 * inner);
                let want: Vec<f64> =
                    rows_of.flat_map(|row| (0..inner).map(move |i| product(row, i))).collect();
                for &isa in Isa::available() {
                    let got =
                        same_on_all_threads(|| gated(isa, &x, inner, activation, Form::Float32).to_vec());
                    let error = relative_error(&got, &want);
                    assert!(error < 2e-7, "{isa:?} {activation:?} {rows} x {inner}: {error:e}");
                }
            }
        }
    }
}
