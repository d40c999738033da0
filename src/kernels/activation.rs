//! The MLP's activation functions on vectors.

use super::{math, simd::Lanes};

/// An activation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x · sigmoid(1.702 x)`, OpenAI's.
    QuickGelu,
    /// `x · Φ(x)`, by the error function.
    Gelu,
    /// `x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))`.
    GeluTanh,
    /// `x · sigmoid(x)`.
    Silu,
}

impl Activation {
    #[inline(always)]
    pub(super) unsafe fn apply<S: Lanes>(self, x: S::V) -> S::V {
        unsafe {
            match self {
                Self::Silu => math::times_sigmoid::<S>(x, S::sub(S::splat(0.0), x)),
                Self::QuickGelu => math::times_sigmoid::<S>(x, S::mul(x, S::splat(-1.702))),
                Self::Gelu => S::mul(x, math::normal_cdf::<S>(x)),
                Self::GeluTanh => {
                    // (1 + tanh u) / 2 = sigmoid(2u)
                    const SCALE: f32 = -1.595_769; // -2 √(2/π)
                    let inner = S::mul_add(S::mul(x, x), S::splat(SCALE * 0.044_715), S::splat(SCALE));
                    math::times_sigmoid::<S>(x, S::mul(x, inner))
                }
            }
        }
    }

    /// The function by its definition, in float64.
    #[cfg(test)]
    pub(super) fn exact(self, x: f64) -> f64 {
        match self {
            Self::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
            Self::Silu => x / (1.0 + (-x).exp()),
            Self::Gelu => x * math::tests::normal_cdf_f64(x),
            Self::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
                x / 2.0 * (1.0 + inner.tanh())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{
        Isa,
        math::tests::{Map, Unary},
        simd::Simd,
    };

    impl Unary for Activation {
        #[inline(always)]
        unsafe fn apply<S: Simd>(self, x: S::V) -> S::V {
            unsafe { self.apply::<S>(x) }
        }
    }

    #[test]
    fn each_function_is_accurate() {
        let x: Vec<f32> = (-120_000..=120_000).map(|i| i as f32 / 10_000.0).collect();
        for function in [Activation::QuickGelu, Activation::Gelu, Activation::GeluTanh, Activation::Silu] {
            for &isa in Isa::available() {
                let mut y = x.clone();
                // SAFETY: `Map` asks for nothing.
                unsafe { isa.run(Map(&mut y, function)) };
                for (&x, &y) in x.iter().zip(&y) {
                    let want = function.exact(f64::from(x));
                    // Relative for positive x; in the negative tail, where the product nears zero, its factors'.
                    let bound = 5e-7 * want.abs() + 1e-7 * (-f64::from(x).abs() / 2.0).exp();
                    let error = (f64::from(y) - want).abs();
                    assert!(error <= bound, "{function:?} on {isa:?}: {y} for {want} at {x}");
                }
            }
        }
    }

    #[test]
    fn large_and_undefined_arguments_are_kept() {
        for function in [Activation::QuickGelu, Activation::Gelu, Activation::GeluTanh, Activation::Silu] {
            for &isa in Isa::available() {
                let mut y = [-1e4, -100.0, 0.0, 100.0, 1e4, f32::NAN];
                // SAFETY: `Map` asks for nothing.
                unsafe { isa.run(Map(&mut y, function)) };
                assert!(y[0].abs() < 1e-30 && y[1].abs() < 1e-30, "{function:?} on {isa:?}: {y:?}");
                assert_eq!(y[2..5], [0.0, 100.0, 1e4], "{function:?} on {isa:?}");
                assert!(y[5].is_nan(), "{function:?} on {isa:?}");
            }
        }
    }
}
