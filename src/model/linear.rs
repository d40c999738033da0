//! A linear layer, and the one place that decides how it multiplies.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;

use super::activation::Activation;

/// `y = x Wᵀ + b`, with what follows it in the tower as part of the call, so that an implementation can fuse it.
#[derive(Debug)]
pub(crate) struct Linear {
    inner: candle_nn::Linear,
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
        Ok(Self::new(Tensor::cat(&weights, 0)?, Some(Tensor::cat(&biases, 0)?)))
    }

    /// A layer of a weight (out, in) and, if there is one, a bias (out).
    pub(crate) fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self { inner: candle_nn::Linear::new(weight, bias) }
    }

    /// `x` (B, T, in) → (B, T, out).
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.inner.forward(x)
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
