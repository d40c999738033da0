//! The two-layer perceptron of a block.

use candle_core::{D, Result, Tensor};

use super::{cpu, layer_norm::LayerNorm, layer_scale::load_scaled, linear::Linear};
use crate::kernels::{gated_half, mlp_half};
use crate::model::{
    config::{Mlp as Kind, VisionConfig},
    weights::Source,
};

/// The MLP half of a block.
#[derive(Debug)]
pub(crate) struct Mlp {
    fc1: Linear,
    fc2: Linear,
    kind: Kind,
}

impl Mlp {
    /// Reads the layers that `names` names at `source`; `scale` (width) multiplies the output.
    pub(crate) fn load(
        config: &VisionConfig,
        source: &Source,
        names: [&str; 2],
        scale: Option<&Tensor>,
    ) -> Result<Self> {
        let VisionConfig { hidden_size: width, intermediate_size: inner, mlp: kind, .. } = *config;
        let first = match kind {
            Kind::Plain(_) => inner,
            Kind::SwiGlu => 2 * inner,
        };
        Ok(Self {
            fc1: Linear::load(width, first, &source.pp(names[0]))?,
            fc2: load_scaled(inner, width, &source.pp(names[1]), scale)?,
            kind,
        })
    }

    /// `x + fc2(activation(fc1(norm(x))))`, (B, T, width).
    pub(crate) fn forward_added(&self, norm: &LayerNorm, x: &Tensor) -> Result<Tensor> {
        if let (LayerNorm::Kernel(norm), Some(fc1), Some(fc2)) = (norm, self.fc1.ready()?, self.fc2.ready()?)
        {
            return cpu::apply(x, norm.width(), |x| match self.kind {
                Kind::Plain(activation) => mlp_half(x, norm, &fc1, activation, &fc2),
                Kind::SwiGlu => gated_half(x, norm, &fc1, &fc2),
            });
        }
        let residual = x;
        let x = &norm.forward(x)?;
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
