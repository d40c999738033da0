//! Layer normalisation over a token's channels.

use candle_core::{D, Result, Tensor};
use candle_nn::VarBuilder;

use super::cpu;
use crate::kernels::{Isa, PackedRows, layer_norm};

/// `(x - mean) / sqrt(var + eps) · weight + bias`, mean and variance over the last dimension.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
    /// On a CPU.
    packed: Option<PackedNorm>,
}

/// A layer norm for the CPU's kernels.
#[derive(Debug)]
pub(crate) struct PackedNorm {
    isa: Isa,
    weight: Vec<f32>,
    bias: Vec<f32>,
    eps: f32,
}

impl PackedNorm {
    /// `x` (rows, size) → the same, ready to be a product's input.
    pub(crate) fn forward(&self, x: &[f32]) -> PackedRows {
        layer_norm(self.isa, x, &self.weight, &self.bias, self.eps)
    }
}

impl LayerNorm {
    /// Reads `weight` and `bias`, both (size), below `vb`.
    pub(crate) fn load(size: usize, eps: f64, vb: &VarBuilder) -> Result<Self> {
        let (weight, bias) = (vb.get(size, "weight")?, vb.get(size, "bias")?);
        let packed = match cpu::isa(weight.device()) {
            None => None,
            Some(isa) => {
                Some(PackedNorm { isa, weight: weight.to_vec1()?, bias: bias.to_vec1()?, eps: eps as f32 })
            }
        };
        Ok(Self { weight, bias, eps, packed })
    }

    /// `x` (…, size) → the same shape.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if let Some(norm) = &self.packed {
            return cpu::map_rows(x, norm.weight.len(), |x| norm.forward(x).to_vec());
        }
        // The variance is taken from centred values: the one-pass form (E[x²] - E[x]²) loses digits to the
        // few large channels that CLIP's residual stream carries.
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        centred
            .broadcast_div(&(variance + self.eps)?.sqrt()?)?
            .broadcast_mul(&self.weight)?
            .broadcast_add(&self.bias)
    }

    /// The norm for the CPU's kernels, on a CPU.
    pub(crate) fn packed(&self) -> Option<&PackedNorm> {
        self.packed.as_ref()
    }
}
