//! The gate of a SwiGLU MLP.

use rayon::prelude::*;

use super::{
    Form, Isa, PackedRows, math,
    packed_rows::PackedOut,
    simd::{Kernel, Simd},
};

/// `silu(gate) · value` of rows that hold the gate, then the value: (rows, 2 · inner) → (rows, inner), where
/// `silu(x) = x · sigmoid(x)`. In rayon's current pool.
///
/// # Panics
/// `x` has no whole rows.
pub fn swiglu(isa: Isa, x: &[f32], inner: usize, form: Form) -> PackedRows {
    let rows = x.len() / (2 * inner);
    assert_eq!(x.len(), rows * 2 * inner, "whole rows");
    // SAFETY: the tasks write every row.
    unsafe {
        PackedRows::written(rows, inner, form, |y| {
            x.par_chunks_exact(2 * inner).enumerate().with_min_len(4).for_each(|(row, x)| {
                // SAFETY: both halves are `inner` long; this row of `y` is the task's own.
                isa.run(Gate { x, row, y });
            });
        })
    }
}

struct Gate<'a> {
    /// One row.
    x: &'a [f32],
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
                let v = S::mul(S::mul(gate, math::sigmoid::<S>(gate)), value);
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
            let silu = |x: f64| x / (1.0 + (-x).exp());
            let want: Vec<f64> = x
                .chunks_exact(2 * inner)
                .flat_map(|row| (0..inner).map(move |i| silu(row[i].into()) * f64::from(row[inner + i])))
                .collect();
            for &isa in Isa::available() {
                let got = same_on_all_threads(|| swiglu(isa, &x, inner, Form::Float32).to_vec());
                let error = relative_error(&got, &want);
                assert!(error < 2e-7, "{isa:?} {rows} x {inner}: {error:e}");
            }
        }
    }
}
