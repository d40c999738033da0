//! The two-layer perceptron of a block.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::{activation::Activation, config::VisionConfig, linear::Linear};

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

    /// `residual + fc2(activation(fc1(x)))`; `x` and `residual` are (B, T, width).
    pub(crate) fn forward_added(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        let inner = self.fc1.forward_activated(x, self.activation)?; // (B, T, inner)
        self.fc2.forward_added(&inner, residual)
    }
}
