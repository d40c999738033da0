//! The two-layer perceptron of a block.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::{activation::Activation, config::VisionConfig, cpu, layer_norm::LayerNorm, linear::Linear};
use crate::kernels::mlp_half;

/// The MLP half of a block.
#[derive(Debug)]
pub(crate) struct Mlp {
    fc1: Linear,
    fc2: Linear,
    activation: Activation,
}

impl Mlp {
    pub(crate) fn load(config: &VisionConfig, vb: &VarBuilder) -> Result<Self> {
        let VisionConfig { hidden_size: width, intermediate_size: inner, .. } = *config;
        Ok(Self {
            fc1: Linear::load(width, inner, &vb.pp("fc1"))?,
            fc2: Linear::load(inner, width, &vb.pp("fc2"))?,
            activation: config.hidden_act,
        })
    }

    /// `x + fc2(activation(fc1(norm(x))))`; `x` is (B, T, width).
    pub(crate) fn forward(&self, norm: &LayerNorm, x: &Tensor) -> Result<Tensor> {
        let Self { fc1, fc2, activation } = self;
        if let (LayerNorm::Kernel(norm), Linear::Packed(fc1), Linear::Packed(fc2)) = (norm, fc1, fc2) {
            return cpu::apply(x, norm.width(), |x| mlp_half(x, norm, fc1, *activation, fc2));
        }
        let inner = fc1.forward_activated(&norm.forward(x)?, *activation)?; // (B, T, inner)
        fc2.forward_added(&inner, x)
    }
}
