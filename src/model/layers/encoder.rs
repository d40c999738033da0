//! The stack of transformer blocks, one for all families.

use candle_core::{Result, Tensor};

use super::{attention::Attention, block_names::BlockNames, mlp::Mlp};
use crate::model::{
    config::VisionConfig,
    ops::Ops,
    outputs::{Outputs, Wanted},
    weights::{NormWeights, Source},
};

/// One pre-norm block: `x + attention(norm1(x))`, then `x + mlp(norm2(x))`.
#[derive(Debug)]
struct Block<O: Ops> {
    layer_norm1: O::Norm,
    attention: Attention<O>,
    layer_norm2: O::Norm,
    mlp: Mlp<O>,
}

impl<O: Ops> Block<O> {
    fn load(ops: &O, config: &VisionConfig, names: &BlockNames, source: &Source) -> Result<Self> {
        let norm =
            |name| ops.norm(NormWeights::load(config.hidden_size, config.layer_norm_eps, &source.pp(name))?);
        let scale = |half: usize| {
            names.layer_scales.map(|names| source.get(config.hidden_size, names[half])).transpose()
        };
        Ok(Self {
            layer_norm1: norm(names.norms[0])?,
            attention: Attention::load(ops, config, names, source, scale(0)?.as_ref())?,
            layer_norm2: norm(names.norms[1])?,
            mlp: Mlp::load(ops, config, source, names.mlp, names.gate, scale(1)?.as_ref())?,
        })
    }

    /// Padding (B, P, width) beside `x` (B, T, width), which it attends to: its attention, and what becomes of it.
    fn pad(&self, ops: &O, padding: &Tensor, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let (weights, padding) = self.attention.pad(ops, &self.layer_norm1, padding, x)?;
        Ok((weights, self.mlp.forward_added(ops, &self.layer_norm2, &padding)?))
    }

    fn forward(&self, ops: &O, x: &Tensor, rotation: Option<&O::Rotation>) -> Result<Tensor> {
        let x = self.attention.forward_added(ops, &self.layer_norm1, x, rotation)?; // (B, T, width)
        self.mlp.forward_added(ops, &self.layer_norm2, &x) // (B, T, width)
    }
}

/// The first blocks, in order.
#[derive(Debug)]
pub(crate) struct Encoder<O: Ops> {
    blocks: Vec<Block<O>>,
}

impl<O: Ops> Encoder<O> {
    /// Reads the first `depth` blocks, and nothing of those above.
    pub(crate) fn load(
        ops: &O,
        config: &VisionConfig,
        names: &BlockNames,
        depth: usize,
        source: &Source,
    ) -> Result<Self> {
        let layers = source.pp(names.layers);
        let blocks = (0..depth).map(|index| Block::load(ops, config, names, &layers.pp(index)));
        Ok(Self { blocks: blocks.collect::<Result<_>>()? })
    }

    /// How many blocks there are.
    pub(crate) fn depth(&self) -> usize {
        self.blocks.len()
    }

    /// `x` (B, T, width), queries and keys turned by a `rotation` if there is one, and padding beside it, (B, P, width), through the
    /// first `depth` blocks; what is wanted of hidden states and attentions is put into `outputs`.
    pub(crate) fn forward(
        &self,
        ops: &O,
        (mut x, mut padding): (Tensor, Option<Tensor>),
        rotation: Option<&O::Rotation>,
        depth: usize,
        wanted: &Wanted,
        outputs: &mut Outputs,
    ) -> Result<(Tensor, Option<Tensor>)> {
        for (index, block) in self.blocks[..depth].iter().enumerate() {
            outputs.keep_hidden_state(index, &x, padding.as_ref(), wanted);
            if wanted.attentions.contains(&index) {
                // Beside the block rather than inside it, so that an output has the same bytes whether or not its
                // attention was asked for.
                let attention = block.attention.observe(ops, &block.layer_norm1, &x, rotation)?;
                outputs.attentions.insert(index, attention);
            }
            if let Some(before) = padding {
                let (weights, after) = block.pad(ops, &before, &x)?;
                if wanted.attentions.contains(&index) {
                    outputs.padding_mut().attentions.insert(index, weights);
                }
                padding = Some(after);
            }
            x = block.forward(ops, &x, rotation)?;
        }
        outputs.keep_hidden_state(depth, &x, padding.as_ref(), wanted);
        Ok((x, padding))
    }
}
