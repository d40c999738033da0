//! The stack of transformer blocks.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::{attention::Attention, config::VisionConfig, layer_norm::LayerNorm, mlp::Mlp};

/// One pre-norm block: `x + attention(norm1(x))`, then `x + mlp(norm2(x))`.
#[derive(Debug)]
struct Block {
    layer_norm1: LayerNorm,
    attention: Attention,
    layer_norm2: LayerNorm,
    mlp: Mlp,
}

impl Block {
    fn load(config: &VisionConfig, vb: &VarBuilder) -> Result<Self> {
        let norm = |name| LayerNorm::load(config.hidden_size, config.layer_norm_eps, &vb.pp(name));
        Ok(Self {
            layer_norm1: norm("layer_norm1")?,
            attention: Attention::load(config, &vb.pp("self_attn"))?,
            layer_norm2: norm("layer_norm2")?,
            mlp: Mlp::load(config, &vb.pp("mlp"))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.attention.forward(&self.layer_norm1, x)?; // (B, T, width)
        self.mlp.forward(&self.layer_norm2, &x) // (B, T, width)
    }
}

/// All blocks, in order.
#[derive(Debug)]
pub(crate) struct Encoder {
    blocks: Vec<Block>,
}

impl Encoder {
    pub(crate) fn load(config: &VisionConfig, vb: &VarBuilder) -> Result<Self> {
        let layers = vb.pp("layers");
        let blocks = (0..config.num_hidden_layers).map(|index| Block::load(config, &layers.pp(index)));
        Ok(Self { blocks: blocks.collect::<Result<_>>()? })
    }

    /// `x` (B, T, width) through every block; `visit` sees each block's output.
    pub(crate) fn forward(&self, x: &Tensor, mut visit: impl FnMut(&Tensor)) -> Result<Tensor> {
        let mut x = x.clone();
        for block in &self.blocks {
            x = block.forward(&x)?;
            visit(&x);
        }
        Ok(x)
    }
}
