//! Vectorised transcendental functions at float32's accuracy.
//!
//! The polynomials are weighted minimax fits made for these ranges (Lawson's iteration in float64); the tests hold
//! each function to its float64 value.

use super::simd::Lanes;

/// `1.5 · 2^23`: adding it to a float of modest size leaves the nearest integer in the low bits.
const ROUND: f32 = 12_582_912.0;

/// `e^x`, within 2 units in the last place on [-86.9, 88.7]; 0 below, nearly where float32 has only subnormal numbers,
/// and +∞ above. NaN stays NaN.
#[inline(always)]
pub(super) unsafe fn exp<S: Lanes>(x: S::V) -> S::V {
    // At the upper end 2^128 overflows: no branch is needed.
    unsafe { exp_of_negative::<S>(S::min(S::splat(89.0), x)) }
}

/// [`exp`] of what is negative, or not above 89.
///
/// x = n·ln 2 + r with |r| ≤ ln 2 / 2, e^x = 2^n · e^r.
#[inline(always)]
pub(super) unsafe fn exp_of_negative<S: Lanes>(x: S::V) -> S::V {
    unsafe {
        let x = if S::SCALE_ENDS_IN_ZERO { x } else { S::max(S::splat(-87.4), x) };
        let shifted = S::mul_add(x, S::splat(std::f32::consts::LOG2_E), S::splat(ROUND));
        let n = S::sub(shifted, S::splat(ROUND));
        // ln 2 in two parts, the first with so few bits that n times it is exact.
        let r = S::mul_add(n, S::splat(-355.0 / 512.0), x);
        let r = S::mul_add(n, S::splat(2.121_944_4e-4), r);
        let p = S::splat(1.381_446_5e-3);
        let p = S::mul_add(p, r, S::splat(8.368_781e-3));
        let p = S::mul_add(p, r, S::splat(4.166_839_3e-2));
        let p = S::mul_add(p, r, S::splat(1.666_652e-1));
        let p = S::mul_add(p, r, S::splat(4.999_999_4e-1));
        let p = S::mul_add(p, r, S::splat(1.0));
        let p = S::mul_add(p, r, S::splat(1.0)); // e^r
        S::scale(p, n)
    }
}

/// `x / (1 + e^-u)`, x times the sigmoid of u, of the negated u.
#[inline(always)]
pub(super) unsafe fn times_sigmoid<S: Lanes>(x: S::V, negated: S::V) -> S::V {
    unsafe { S::div(x, S::add(S::splat(1.0), exp::<S>(negated))) }
}

/// The normal distribution function Φ(x) = erfc(-x/√2) / 2, to float32's accuracy in both tails.
///
/// With t = |x|/√2, erfc(t) = e^(-t²) · g(s), where s = 1 / (1 + 0.4 t) makes g smooth enough for one polynomial.
#[inline(always)]
pub(super) unsafe fn normal_cdf<S: Lanes>(x: S::V) -> S::V {
    unsafe {
        let one = S::splat(1.0);
        let scaled = S::mul(x, S::splat(std::f32::consts::FRAC_1_SQRT_2));
        let negated = S::sub(S::splat(0.0), scaled);
        let t = S::max(negated, scaled);
        let s = S::div(one, S::mul_add(t, S::splat(0.4), one));
        let u = S::sub(s, S::splat(0.603_305_76));
        let g = S::splat(2.730_846_6e-2);
        let g = S::mul_add(g, u, S::splat(8.095_058e-2));
        let g = S::mul_add(g, u, S::splat(-4.798_413_8e-2));
        let g = S::mul_add(g, u, S::splat(-2.256_182_1e-1));
        let g = S::mul_add(g, u, S::splat(2.712_543_3e-3));
        let g = S::mul_add(g, u, S::splat(6.738_357_5e-1));
        let g = S::mul_add(g, u, S::splat(1.273_704_9));
        let g = S::mul_add(g, u, S::splat(1.358_849_4));
        let g = S::mul_add(g, u, S::splat(9.864_026e-1));
        let g = S::mul_add(g, u, S::splat(2.995_335e-1));
        // The square's rounding error would be multiplied by t² in the tail: -t² = -(x²/2), and x² = high + low.
        let minus_half = S::splat(-0.5);
        let high = S::mul(x, x);
        let low = S::mul_add(x, x, S::sub(S::splat(0.0), high));
        let gauss = exp_of_negative::<S>(S::mul(high, minus_half));
        let gauss = S::mul_add(S::mul(low, minus_half), gauss, gauss);
        let tail = S::mul(S::mul(gauss, g), S::splat(0.5)); // Φ(-|x|)
        S::select_negative(x, tail, S::sub(one, tail))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::kernels::{
        Isa,
        simd::{Kernel, Simd},
    };

    /// Applies a function to every value, in whole vectors and a part.
    pub(in crate::kernels) struct Map<'a, F>(pub(in crate::kernels) &'a mut [f32], pub(in crate::kernels) F);

    /// A function of one vector.
    pub(in crate::kernels) trait Unary: Copy {
        unsafe fn apply<S: Simd>(self, x: S::V) -> S::V;
    }

    impl<F: Unary> Kernel for Map<'_, F> {
        type Output = ();

        #[inline(always)]
        unsafe fn run<S: Simd>(self) {
            let Self(values, function) = self;
            for chunk in values.chunks_mut(S::LANES) {
                // SAFETY: a chunk holds its length.
                unsafe {
                    let x = S::load_first(chunk.as_ptr(), chunk.len());
                    S::store_first(chunk.as_mut_ptr(), chunk.len(), function.apply::<S>(x));
                }
            }
        }
    }

    /// The sigmoid of -x.
    #[inline(always)]
    unsafe fn falling_sigmoid<S: Simd>(x: S::V) -> S::V {
        unsafe { times_sigmoid::<S>(S::splat(1.0), x) }
    }

    macro_rules! unary {
        ($name:ident, $function:ident) => {
            #[derive(Clone, Copy)]
            struct $name;
            impl Unary for $name {
                #[inline(always)]
                unsafe fn apply<S: Simd>(self, x: S::V) -> S::V {
                    unsafe { $function::<S>(x) }
                }
            }
        };
    }
    unary!(Exp, exp);
    unary!(ExpOfNegative, exp_of_negative);
    unary!(FallingSigmoid, falling_sigmoid);
    unary!(NormalCdf, normal_cdf);

    /// The largest relative error over a range, on every instruction set; differences below `floor` do not count.
    fn worst_error(f: impl Unary, truth: impl Fn(f64) -> f64, range: (f32, f32), floor: f64) -> f64 {
        const COUNT: usize = 300_001;
        let x: Vec<f32> =
            (0..COUNT).map(|i| range.0 + (range.1 - range.0) * (i as f32 / (COUNT - 1) as f32)).collect();
        let mut worst = 0f64;
        for &isa in Isa::available() {
            let mut y = x.clone();
            // SAFETY: `Map` asks for nothing.
            unsafe { isa.run(Map(&mut y, f)) };
            for (&x, &y) in x.iter().zip(&y) {
                let want = truth(f64::from(x));
                let difference = (f64::from(y) - want).abs();
                if difference > floor {
                    worst = worst.max(difference / want.abs());
                }
            }
        }
        worst
    }

    /// erfc by its continued fraction (Lentz) for large arguments and its series for small ones.
    pub(in crate::kernels) fn normal_cdf_f64(x: f64) -> f64 {
        let t = x.abs() / std::f64::consts::SQRT_2;
        let erfc = if t < 2.5 {
            let (mut term, mut sum, mut n) = (t, t, 0.0);
            while term.abs() > 1e-18 {
                n += 1.0;
                term *= -t * t / n;
                sum += term / (2.0 * n + 1.0);
            }
            1.0 - 2.0 / std::f64::consts::PI.sqrt() * sum
        } else {
            let mut fraction = t;
            for n in (1..=200).rev() {
                fraction = t + f64::from(n) / 2.0 / fraction;
            }
            (-t * t).exp() / (std::f64::consts::PI.sqrt() * fraction)
        };
        if x < 0.0 { erfc / 2.0 } else { 1.0 - erfc / 2.0 }
    }

    const ULP: f64 = f32::EPSILON as f64;

    #[test]
    fn exp_is_accurate_over_its_range() {
        let worst = worst_error(Exp, f64::exp, (-87.0, 88.7), 2e-38);
        assert!(worst < ULP, "{}", worst / ULP);
        let worst = worst_error(Exp, f64::exp, (-0.5, 0.5), 0.0);
        assert!(worst < ULP, "{}", worst / ULP);
        let worst = worst_error(ExpOfNegative, f64::exp, (-87.0, 0.0), 2e-38);
        assert!(worst < ULP, "{}", worst / ULP);
    }

    #[test]
    fn exp_ends_where_float32_does() {
        for &isa in Isa::available() {
            let mut values = [f32::NEG_INFINITY, -1000.0, -88.0, 0.0, 89.0, 1e30, f32::INFINITY, f32::NAN];
            // SAFETY: `Map` asks for nothing.
            unsafe { isa.run(Map(&mut values, Exp)) };
            assert_eq!(
                values[..7],
                [0.0, 0.0, 0.0, 1.0, f32::INFINITY, f32::INFINITY, f32::INFINITY],
                "{isa:?}"
            );
            assert!(values[7].is_nan(), "{isa:?}");

            let mut values = [f32::NEG_INFINITY, f32::MIN, -1e6, -88.0, -87.4, -86.9, -0.0, f32::NAN];
            // SAFETY: as above.
            unsafe { isa.run(Map(&mut values, ExpOfNegative)) };
            assert_eq!(values[..5], [0.0; 5], "{isa:?}");
            assert!(values[5] > 1e-38 && values[6] == 1.0 && values[7].is_nan(), "{isa:?}");
        }
    }

    #[test]
    fn sigmoid_is_accurate_over_its_range() {
        let worst = worst_error(FallingSigmoid, |x| 1.0 / (1.0 + x.exp()), (-80.0, 80.0), 0.0);
        assert!(worst < 2.0 * ULP, "{}", worst / ULP);
    }

    #[test]
    fn the_normal_distribution_is_accurate_in_both_tails() {
        let worst = worst_error(NormalCdf, normal_cdf_f64, (-5.0, 13.0), 0.0);
        assert!(worst < 8.0 * ULP, "{}", worst / ULP);
        // Below, where the product with x is under 10^-5, x²/2 grows and with it its rounding error without a fused
        // multiply-add.
        let worst = worst_error(NormalCdf, normal_cdf_f64, (-12.5, -5.0), 0.0);
        assert!(worst < 50.0 * ULP, "{}", worst / ULP);
    }
}
