//! Layer normalisation over a token's channels.

use candle_core::{D, Result, Tensor};

use super::cpu;
use crate::kernels::{self, Form, Isa};
use crate::model::weights::Source;

/// `(x - mean) / sqrt(var + eps) · weight + bias`, mean and variance over the last dimension.
#[derive(Debug)]
pub(crate) enum LayerNorm {
    /// On a CPU in float32.
    Kernel(kernels::LayerNorm),
    /// Elsewhere.
    Candle { weight: Tensor, bias: Tensor, eps: f64 },
}

impl LayerNorm {
    /// Reads `weight` and `bias`, both (size), at `source`.
    pub(crate) fn load(size: usize, eps: f64, source: &Source) -> Result<Self> {
        let (weight, bias) = (source.get(size, "weight")?, source.get(size, "bias")?);
        if cpu::is_ours(&weight) {
            let (weight, bias) = (weight.to_vec1()?, bias.to_vec1()?);
            return Ok(Self::Kernel(kernels::LayerNorm::new(Isa::best(), weight, bias, eps as f32)));
        }
        Ok(Self::Candle { weight, bias, eps })
    }

    /// `x` (…, size) → the same shape.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Kernel(norm) => {
                cpu::apply(x, norm.width(), |x| norm.forward(x, Form::Float32).to_vec().into())
            }
            Self::Candle { weight, bias, eps } => {
                // The variance is taken from centred values: the one-pass form (E[x²] - E[x]²) loses digits to the
                // few large channels that CLIP's residual stream carries.
                let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
                let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
                centred.broadcast_div(&(variance + *eps)?.sqrt()?)?.broadcast_mul(weight)?.broadcast_add(bias)
            }
        }
    }
}
