//! A linear layer, and the one place that decides how it multiplies.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;

use super::{
    activation::Activation,
    cpu::{self, Elements},
};
use crate::kernels::{Epilogue, Isa, PackedLinear, PackedRows, Rows};

/// `y = x Wᵀ + b`.
#[derive(Debug)]
pub(crate) enum Linear {
    /// On a CPU in float32: packed for the kernels. The weight as it was read is not kept.
    Packed(PackedLinear),
    /// Elsewhere.
    Candle(candle_nn::Linear),
}

impl Linear {
    /// Reads `weight` (out, in) and `bias` (out) below `vb`.
    pub(crate) fn load(in_dim: usize, out_dim: usize, vb: &VarBuilder) -> Result<Self> {
        Self::load_stacked(in_dim, out_dim, std::slice::from_ref(vb))
    }

    /// Reads several layers of the same input as one, their outputs side by side: (n·out, in).
    pub(crate) fn load_stacked(in_dim: usize, out_dim: usize, parts: &[VarBuilder]) -> Result<Self> {
        let mut weights = Vec::new();
        let mut biases = Vec::new();
        for vb in parts {
            weights.push(vb.get((out_dim, in_dim), "weight")?);
            biases.push(vb.get(out_dim, "bias")?);
        }
        if weights.iter().all(cpu::is_ours) {
            return Ok(Self::Packed(pack(in_dim, &weights, &biases)?));
        }
        let bias = Tensor::cat(&biases, 0)?;
        Ok(Self::Candle(candle_nn::Linear::new(Tensor::cat(&weights, 0)?, Some(bias))))
    }

    /// A layer of a weight (out, in), without a bias.
    pub(crate) fn without_bias(weight: Tensor) -> Result<Self> {
        if cpu::is_ours(&weight) {
            return Ok(Self::Packed(pack(weight.dim(1)?, &[weight], &[])?));
        }
        Ok(Self::Candle(candle_nn::Linear::new(weight, None)))
    }

    /// `x` (B, T, in) → (B, T, out).
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Packed(layer) => cpu::apply(x, layer.outputs(), |x| {
                layer.forward(&PackedRows::pack(x, layer.inputs()), Epilogue::None)
            }),
            Self::Candle(layer) => layer.forward(x),
        }
    }

    /// `activation(x Wᵀ + b)`.
    pub(crate) fn forward_activated(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        activation.forward(&self.forward(x)?)
    }

    /// `residual + x Wᵀ + b`.
    pub(crate) fn forward_added(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        residual + self.forward(x)?
    }
}

/// Packs weights (out, in) below each other, with their biases (out) or without any.
fn pack(in_dim: usize, weights: &[Tensor], biases: &[Tensor]) -> Result<PackedLinear> {
    let weights: Vec<_> = weights.iter().map(Elements::of).collect();
    let biases: Vec<_> = biases.iter().map(Elements::of).collect();
    let mut parts = Vec::new();
    for (index, weight) in weights.iter().enumerate() {
        let bias = biases.get(index).map(Elements::as_slice).transpose()?;
        parts.push(Rows { weight: weight.as_slice()?, bias });
    }
    Ok(PackedLinear::pack(Isa::best(), in_dim, &parts))
}
