//! The two-layer perceptron of a block.

use candle_core::{Result, Tensor};

use crate::model::{
    config::{Mlp as Kind, VisionConfig},
    ops::Ops,
    weights::{LinearWeights, Source},
};

/// The MLP half of a block.
#[derive(Debug)]
pub(crate) struct Mlp<O: Ops> {
    fc1: O::Linear,
    fc2: O::Linear,
    kind: Kind,
}

impl<O: Ops> Mlp<O> {
    /// Reads the layers that `names` names at `source`, and the `gate` where that is a layer of its own; `scale` (width)
    /// multiplies the output.
    pub(crate) fn load(
        ops: &O,
        config: &VisionConfig,
        source: &Source,
        names: [&str; 2],
        gate: Option<&str>,
        scale: Option<&Tensor>,
    ) -> Result<Self> {
        let VisionConfig { hidden_size: width, intermediate_size: inner, mlp: kind, biases, .. } = *config;
        let first = source.pp(names[0]);
        let fc1 = match (kind, gate) {
            (Kind::Plain(_), _) => LinearWeights::load(width, inner, biases.mlp, &first)?,
            (Kind::Gated(_), None) => LinearWeights::load(width, 2 * inner, biases.mlp, &first)?,
            (Kind::Gated(_), Some(gate)) => {
                let gate = source.pp(gate);
                LinearWeights::load_stacked(width, inner, &[(&gate, biases.mlp), (&first, biases.mlp)])?
            }
        };
        let fc2 = LinearWeights::load(inner, width, biases.mlp, &source.pp(names[1]))?.scaled(scale)?;
        Ok(Self { fc1: ops.linear(fc1)?, fc2: ops.linear(fc2)?, kind })
    }

    /// `x + fc2(activation(fc1(norm(x))))`, (B, T, width).
    pub(crate) fn forward_added(&self, ops: &O, norm: &O::Norm, x: &Tensor) -> Result<Tensor> {
        ops.mlp_half(x, norm, &self.fc1, self.kind, &self.fc2)
    }
}
