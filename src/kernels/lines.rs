//! Weighted sums of lines, rounded as torch's CPU build rounds them when it resizes floats.

use super::{
    Isa,
    simd::{Kernel, Simd},
};

/// `Σ weight · line` into `sum`, for `lines` (weights, length).
///
/// The first product is rounded, and so are those after it in whole fours, before they are added, one after the other; the up to
/// three that are left are fused into the sum. That is what the compiler makes of the loop in
/// `aten/src/ATen/native/cpu/UpSampleKernel.cpp` (`interpolate_aa_single_dim`), with AVX2 and AVX-512 alike.
///
/// # Panics
/// There is not a line for each weight.
pub fn sum_lines(isa: Isa, lines: &[f32], weights: &[f32], sum: &mut [f32]) {
    assert_eq!(lines.len(), weights.len() * sum.len(), "a line for each weight");
    if weights.is_empty() || sum.is_empty() {
        return sum.fill(0.0);
    }
    // SAFETY: it asks for nothing; vectors are the compiler's.
    unsafe { isa.run(Sum { lines, weights, sum }) };
}

struct Sum<'a> {
    lines: &'a [f32],
    weights: &'a [f32],
    sum: &'a mut [f32],
}

impl Kernel for Sum<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { lines, weights, sum } = self;
        let rounded = (weights.len() - 1) / 4 * 4;
        for (index, (line, &weight)) in lines.chunks_exact(sum.len()).zip(weights).enumerate() {
            let pairs = sum.iter_mut().zip(line);
            if index == 0 {
                pairs.for_each(|(sum, &value)| *sum = value * weight);
            } else if index <= rounded {
                pairs.for_each(|(sum, &value)| *sum += value * weight);
            } else {
                pairs.for_each(|(sum, &value)| *sum = value.mul_add(weight, *sum));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{noise, same_bytes};

    #[test]
    fn every_instruction_set_rounds_alike() {
        for (count, length) in [(1, 1), (2, 7), (4, 40), (5, 33), (6, 3), (9, 64), (35, 100), (0, 5), (3, 0)]
        {
            let (lines, weights) = (noise(1, count * length), noise(2, count));
            let want: Vec<f32> = (0..length)
                .map(|i| {
                    let products =
                        weights.iter().zip(lines.get(i..).unwrap_or_default().iter().step_by(length.max(1)));
                    products.enumerate().fold(0.0, |sum: f32, (index, (&weight, &value))| {
                        // Exact in float64, and rounded twice only where it lies half-way to within 2^-53.
                        let fused = (f64::from(value) * f64::from(weight) + f64::from(sum)) as f32;
                        let is_fused = index > (count - 1) / 4 * 4;
                        if is_fused { fused } else { sum + value * weight }
                    })
                })
                .collect();
            for &isa in Isa::available() {
                let mut sum = vec![f32::NAN; length];
                sum_lines(isa, &lines, &weights, &mut sum);
                assert!(same_bytes(&sum, &want), "{isa:?} {count} x {length}");
            }
        }
    }
}
