//! Layer normalisation over a token's channels.

use candle_core::{D, Result, Tensor};
use candle_nn::VarBuilder;

/// `(x - mean) / sqrt(var + eps) · weight + bias`, mean and variance over the last dimension.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    /// Reads `weight` and `bias`, both (size), below `vb`.
    pub(crate) fn load(size: usize, eps: f64, vb: &VarBuilder) -> Result<Self> {
        Ok(Self { weight: vb.get(size, "weight")?, bias: vb.get(size, "bias")?, eps })
    }

    /// `x` (…, size) → the same shape.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        // The variance is taken from centred values: the one-pass form (E[x²] - E[x]²) loses digits to the
        // few large channels that CLIP's residual stream carries.
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        centred
            .broadcast_div(&(variance + self.eps)?.sqrt()?)?
            .broadcast_mul(&self.weight)?
            .broadcast_add(&self.bias)
    }
}
