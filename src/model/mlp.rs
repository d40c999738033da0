//! The two-layer perceptron of a block.

use candle_core::{D, Result, Tensor};
use candle_nn::VarBuilder;

use super::{
    config::{Mlp as Kind, VisionConfig},
    layer_scale::load_scaled,
    linear::Linear,
};

/// The MLP half of a block.
#[derive(Debug)]
pub(crate) struct Mlp {
    fc1: Linear,
    fc2: Linear,
    kind: Kind,
}

impl Mlp {
    /// Reads the layers that `names` names below `vb`; `scale` (width) multiplies the output.
    pub(crate) fn load(
        config: &VisionConfig,
        vb: &VarBuilder,
        names: [&str; 2],
        scale: Option<&Tensor>,
    ) -> Result<Self> {
        let VisionConfig { hidden_size: width, intermediate_size: inner, mlp: kind, .. } = *config;
        let first = match kind {
            Kind::Plain(_) => inner,
            Kind::SwiGlu => 2 * inner,
        };
        Ok(Self {
            fc1: Linear::load(width, first, &vb.pp(names[0]))?,
            fc2: load_scaled(inner, width, &vb.pp(names[1]), scale)?,
            kind,
        })
    }

    /// `residual + fc2(activation(fc1(x)))`; `x` and `residual` are (B, T, width).
    pub(crate) fn forward_added(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        let inner = match self.kind {
            Kind::Plain(activation) => self.fc1.forward_activated(x, activation)?, // (B, T, inner)
            Kind::SwiGlu => {
                let halves = self.fc1.forward(x)?.chunk(2, D::Minus1)?; // gate and value, (B, T, inner) each
                (candle_nn::ops::silu(&halves[0].contiguous()?)? * &halves[1])?
            }
        };
        self.fc2.forward_added(&inner, residual)
    }
}
