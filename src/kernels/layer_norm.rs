//! Layer normalisation.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    Form, Isa, PackedRows,
    packed_rows::PackedOut,
    simd::{Kernel, Simd},
    tile::even_split,
};

/// `(x - mean) / √(variance + eps) · weight + bias` over each row.
#[derive(Debug)]
pub struct LayerNorm {
    isa: Isa,
    weight: Vec<f32>,
    bias: Vec<f32>,
    eps: f32,
}

impl LayerNorm {
    /// A norm of `weight` and `bias`, both (width).
    ///
    /// # Panics
    /// They are empty or differ in length.
    pub fn new(isa: Isa, weight: Vec<f32>, bias: Vec<f32>, eps: f32) -> Self {
        assert!(!weight.is_empty() && weight.len() == bias.len(), "a weight and a bias for each channel");
        Self { isa, weight, bias, eps }
    }

    /// The length of a row.
    pub fn width(&self) -> usize {
        self.weight.len()
    }

    /// The instruction set that it was made for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// `x` (rows, width) → the same shape, as a product takes it, in rayon's current pool.
    ///
    /// # Panics
    /// `x` has no whole rows.
    pub fn forward(&self, x: &[f32], form: Form) -> PackedRows {
        let rows = x.len() / self.width();
        assert_eq!(x.len(), rows * self.width(), "whole rows");
        // SAFETY: the tasks write every row.
        unsafe {
            PackedRows::written(rows, self.width(), form, |y| {
                self.tasks(0..rows).into_par_iter().for_each(|rows| self.forward_to(x, rows, y));
            })
        }
    }

    /// Cuts rows into tasks.
    pub(super) fn tasks(&self, rows: Range<usize>) -> Vec<Range<usize>> {
        /// Fewer elements than this are not worth another task.
        const TASK: usize = 1 << 15;
        let tasks = (rows.len() * self.width()).div_ceil(TASK);
        even_split(rows.len(), tasks)
            .map(|(first, count)| rows.start + first..rows.start + first + count)
            .collect()
    }

    /// The norm of some rows of `x` (all rows, width).
    ///
    /// # Safety
    /// Nobody else has these rows of `y` (all rows, width).
    ///
    /// # Panics
    /// `x` has fewer rows.
    pub(super) unsafe fn forward_to(&self, x: &[f32], rows: Range<usize>, y: PackedOut) {
        let width = self.width();
        let first_row = rows.start;
        let x = &x[rows.start * width..rows.end * width];
        // SAFETY: the rows are whole; these rows of `y` are the caller's.
        unsafe { self.isa.run(Norm { norm: self, x, first_row, y }) };
    }
}

struct Norm<'a> {
    norm: &'a LayerNorm,
    /// This task's rows.
    x: &'a [f32],
    first_row: usize,
    /// (all rows, width)
    y: PackedOut,
}

impl Kernel for Norm<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let LayerNorm { weight, bias, eps, .. } = self.norm;
        let width = weight.len();
        for (row, x) in self.x.chunks_exact(width).enumerate() {
            // SAFETY: all rows are `width` long, and `y` has this one.
            unsafe {
                // Two passes: E[x²] - E[x]² would lose digits to the few large channels of CLIP's residual stream.
                let mean = sum::<S, false>(x, 0.0) / width as f32;
                let variance = sum::<S, true>(x, mean) / width as f32;
                let scale = S::splat(1.0 / (variance + eps).sqrt());
                let mean = S::splat(mean);
                for i in (0..width).step_by(S::LANES) {
                    let count = width - i;
                    let centred = S::sub(S::load_first(x.as_ptr().add(i), count), mean);
                    let weight = S::load_first(weight.as_ptr().add(i), count);
                    let bias = S::load_first(bias.as_ptr().add(i), count);
                    let v = S::mul_add(S::mul(centred, scale), weight, bias);
                    self.y.store::<S>(self.first_row + row, i, count, v);
                }
            }
        }
    }
}

/// The sum of `x`, or of `(x - mean)²`, over several vectors of partial sums: the more there are, the shorter is
/// the chain in which rounding errors grow.
#[inline(always)]
unsafe fn sum<S: Simd, const SQUARED: bool>(x: &[f32], mean: f32) -> f32 {
    const CHAINS: usize = 4;
    unsafe {
        let mut sums = [S::splat(0.0); CHAINS];
        let centre = S::splat(mean);
        let whole = x.chunks_exact(CHAINS * S::LANES);
        let rest = whole.remainder();
        for chunk in whole {
            for (i, sum) in sums.iter_mut().enumerate() {
                // SAFETY: a chunk holds as many vectors as there are sums.
                let v = S::load(chunk.as_ptr().add(i * S::LANES));
                *sum = if SQUARED {
                    let centred = S::sub(v, centre);
                    S::mul_add(centred, centred, *sum)
                } else {
                    S::add(*sum, v)
                };
            }
        }
        let [a, b, c, d] = sums;
        let mut total = S::sum(S::add(S::add(a, b), S::add(c, d)));
        for &x in rest {
            total += if SQUARED { (x - mean) * (x - mean) } else { x };
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{noise, relative_error, same_bytes, same_on_all_threads};

    fn plain(x: &[f32], weight: &[f32], bias: &[f32], eps: f64) -> Vec<f64> {
        let width = weight.len();
        let mut y = Vec::new();
        for row in x.chunks_exact(width) {
            let row: Vec<f64> = row.iter().map(|&x| f64::from(x)).collect();
            let mean = row.iter().sum::<f64>() / width as f64;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
            for ((x, &weight), &bias) in row.iter().zip(weight).zip(bias) {
                y.push((x - mean) / (variance + eps).sqrt() * f64::from(weight) + f64::from(bias));
            }
        }
        y
    }

    #[test]
    fn every_width_matches_the_plain_norm() {
        for &isa in Isa::available() {
            for width in [1, 3, 4, 15, 16, 17, 63, 64, 65, 100, 768, 1024, 1031] {
                let (weight, bias) = (noise(1, width), noise(2, width));
                let mut x = noise(3, 37 * width);
                for x in x.iter_mut().step_by(width.min(256)) {
                    *x = *x * 100.0 + 40.0; // channels far above the others, as CLIP has them
                }
                let norm = LayerNorm::new(isa, weight.clone(), bias.clone(), 1e-5);
                let got = norm.forward(&x, Form::Float32).to_vec();
                let error = relative_error(&got, &plain(&x, &weight, &bias, 1e-5));
                assert!(error < 4e-7, "{isa:?} {width}: {error:e}");
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bytes_in_any_company() {
        let width = 200;
        let x = noise(3, 500 * width);
        for &isa in Isa::available() {
            let norm = LayerNorm::new(isa, noise(1, width), noise(2, width), 1e-5);
            let together = same_on_all_threads(|| norm.forward(&x, Form::Float32).to_vec());
            for (x, together) in x.chunks_exact(width).zip(together.chunks_exact(width)) {
                assert!(same_bytes(&norm.forward(x, Form::Float32).to_vec(), together), "{isa:?}");
            }
        }
    }
}
