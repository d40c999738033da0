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
        let weights =
            parts.iter().map(|vb| vb.get((out_dim, in_dim), "weight")).collect::<Result<Vec<_>>>()?;
        let biases = parts.iter().map(|vb| vb.get(out_dim, "bias")).collect::<Result<Vec<_>>>()?;
        Self::stack(&weights, &biases)
    }

    /// A layer of a weight (out, in) and, if there is one, a bias (out).
    pub(crate) fn new(weight: Tensor, bias: Option<Tensor>) -> Result<Self> {
        Self::stack(&[weight], bias.as_slice())
    }

    /// Layers of the same input as one: weights (out, in), and as many biases (out) or none.
    pub(crate) fn stack(weights: &[Tensor], biases: &[Tensor]) -> Result<Self> {
        if weights.iter().all(cpu::is_ours) {
            let weights = weights.iter().map(Tensor::contiguous).collect::<Result<Vec<_>>>()?;
            let biases = biases.iter().map(Tensor::contiguous).collect::<Result<Vec<_>>>()?;
            return Ok(Self::Packed(pack(weights[0].dim(1)?, &weights, &biases)?));
        }
        let bias = (!biases.is_empty()).then(|| Tensor::cat(biases, 0)).transpose()?;
        Ok(Self::Candle(candle_nn::Linear::new(Tensor::cat(weights, 0)?, bias)))
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
