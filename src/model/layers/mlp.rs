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
    /// Reads the layers that `names` names at `source`, and the `gate` where that is a layer of its own; `scale` (width)
    /// multiplies the output.
    pub(crate) fn load(
        config: &VisionConfig,
        source: &Source,
        names: [&str; 2],
        gate: Option<&str>,
        scale: Option<&Tensor>,
    ) -> Result<Self> {
        let VisionConfig { hidden_size: width, intermediate_size: inner, mlp: kind, biases, .. } = *config;
        let first = source.pp(names[0]);
        let fc1 = match (kind, gate) {
            (Kind::Plain(_), _) => Linear::load(width, inner, biases.mlp, &first)?,
            (Kind::Gated(_), None) => Linear::load(width, 2 * inner, biases.mlp, &first)?,
            (Kind::Gated(_), Some(gate)) => {
                let gate = source.pp(gate);
                Linear::load_stacked(width, inner, &[(&gate, biases.mlp), (&first, biases.mlp)])?
            }
        };
        let fc2 = load_scaled(inner, width, biases.mlp, &source.pp(names[1]), scale)?;
        Ok(Self { fc1, fc2, kind })
    }

    /// `x + fc2(activation(fc1(norm(x))))`, (B, T, width).
    pub(crate) fn forward_added(&self, norm: &LayerNorm, x: &Tensor) -> Result<Tensor> {
        if let (LayerNorm::Kernel(norm), Some(fc1), Some(fc2)) = (norm, self.fc1.ready()?, self.fc2.ready()?)
        {
            return cpu::apply(x, norm.width(), |x| match self.kind {
                Kind::Plain(activation) => mlp_half(x, norm, &fc1, activation, &fc2),
                Kind::Gated(activation) => gated_half(x, norm, &fc1, activation, &fc2),
            });
        }
        let residual = x;
        let x = &norm.forward(x)?;
        let inner = match self.kind {
            Kind::Plain(activation) => self.fc1.forward_activated(x, activation)?, // (B, T, inner)
            Kind::Gated(activation) => {
                let halves = self.fc1.forward(x)?.chunk(2, D::Minus1)?; // gate and value, (B, T, inner) each
                (activation.forward(&halves[0].contiguous()?)? * &halves[1])?
            }
        };
        self.fc2.forward_added(&inner, residual)
    }
}
