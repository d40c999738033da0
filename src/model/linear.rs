//! A linear layer, and the one place that decides how it multiplies.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;

use super::{activation::Activation, cpu};
use crate::kernels::{Epilogue, PackedLinear, PackedRows, Rows};

/// `y = x Wᵀ + b`, with what follows it in the tower as part of the call, so that an implementation can fuse it.
#[derive(Debug)]
pub(crate) enum Linear {
    /// On a CPU: weights packed once, with bias, activation and residual fused.
    Packed(PackedLinear),
    /// On other devices, with candle's own products.
    Plain(candle_nn::Linear),
}

impl Linear {
    /// Reads `weight` (out, in) and `bias` (out) below `vb`.
    pub(crate) fn load(in_dim: usize, out_dim: usize, vb: &VarBuilder) -> Result<Self> {
        Self::load_stacked(in_dim, out_dim, std::slice::from_ref(vb))
    }

    /// Reads several layers of the same input as one, their outputs side by side: (n·out, in).
    pub(crate) fn load_stacked(in_dim: usize, out_dim: usize, parts: &[VarBuilder]) -> Result<Self> {
        let weight = |vb: &VarBuilder| vb.get((out_dim, in_dim), "weight");
        let bias = |vb: &VarBuilder| vb.get(out_dim, "bias");
        let weights = parts.iter().map(weight).collect::<Result<Vec<_>>>()?;
        Self::stack(&weights, Some(Tensor::cat(&parts.iter().map(bias).collect::<Result<Vec<_>>>()?, 0)?))
    }

    /// A layer of a weight (out, in) and, if there is one, a bias (out).
    pub(crate) fn new(weight: Tensor, bias: Option<Tensor>) -> Result<Self> {
        Self::stack(&[weight], bias)
    }

    /// Layers of the same input as one: weights (out, in) each, and, if there is one, a bias for all (n·out).
    pub(crate) fn stack(weights: &[Tensor], bias: Option<Tensor>) -> Result<Self> {
        let Some(isa) = cpu::isa(weights[0].device()) else {
            return Ok(Self::Plain(candle_nn::Linear::new(Tensor::cat(weights, 0)?, bias)));
        };
        let inputs = weights[0].dim(1)?;
        let bias = bias.map(|bias| bias.to_vec1::<f32>()).transpose()?;
        let weights = weights.iter().map(Tensor::contiguous).collect::<Result<Vec<_>>>()?;
        let storages: Vec<_> = weights.iter().map(Tensor::storage_and_layout).collect();
        let mut first = 0;
        let mut rows = Vec::new();
        for (storage, layout) in &storages {
            let weight = cpu::values(storage, layout)?;
            let outputs = weight.len() / inputs;
            rows.push(Rows { weight, bias: bias.as_ref().map(|bias| &bias[first..first + outputs]) });
            first += outputs;
        }
        Ok(Self::Packed(PackedLinear::pack(isa, inputs, &rows)))
    }

    /// `x` (B, T, in) → (B, T, out).
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Plain(linear) => linear.forward(x),
            Self::Packed(linear) => cpu::map_rows(x, linear.outputs(), |x| {
                linear.forward(&PackedRows::pack(x, linear.inputs()), Epilogue::None)
            }),
        }
    }

    /// `activation(x Wᵀ + b)`.
    pub(crate) fn forward_activated(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        match self {
            Self::Plain(linear) => activation.forward(&linear.forward(x)?),
            Self::Packed(linear) => cpu::map_rows(x, linear.outputs(), |x| {
                linear.forward(&PackedRows::pack(x, linear.inputs()), Epilogue::Activation(activation))
            }),
        }
    }

    /// `residual + x Wᵀ + b`.
    pub(crate) fn forward_added(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        match self {
            Self::Plain(linear) => residual + linear.forward(x)?,
            Self::Packed(linear) => cpu::map_rows2(x, residual, linear.outputs(), |x, residual| {
                linear.forward(&PackedRows::pack(x, linear.inputs()), Epilogue::AddResidual(residual))
            }),
        }
    }

    /// The packed weights, where there are any.
    pub(crate) fn packed(&self) -> Option<&PackedLinear> {
        match self {
            Self::Packed(linear) => Some(linear),
            Self::Plain(_) => None,
        }
    }
}
