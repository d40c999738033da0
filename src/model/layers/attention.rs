//! Multi-head self-attention over all tokens, without a mask.

use candle_core::{Result, Tensor};

use super::{
    block_names::BlockNames, cpu, layer_norm::LayerNorm, layer_scale::load_scaled, linear::Linear,
    rotary::Rotation,
};
use crate::kernels::{AttentionShape, attention_half};
use crate::model::{
    config::{Biases, VisionConfig},
    weights::Source,
};

/// The attention half of a block.
#[derive(Debug)]
pub(crate) struct Attention {
    /// q, k and v as one product.
    qkv_proj: Linear,
    out_proj: Linear,
    heads: usize,
    head_dim: usize,
}

impl Attention {
    /// Reads the attention of the block at `source`; `scale` (width) multiplies its output.
    pub(crate) fn load(
        config: &VisionConfig,
        names: &BlockNames,
        source: &Source,
        scale: Option<&Tensor>,
    ) -> Result<Self> {
        let width = config.hidden_size;
        let [q, k, v] = names.qkv.map(|name| source.pp(name));
        let Biases { query, key, value, proj, .. } = config.biases;
        Ok(Self {
            qkv_proj: Linear::load_stacked(width, width, &[(&q, query), (&k, key), (&v, value)])?,
            out_proj: load_scaled(width, width, proj, &source.pp(names.out), scale)?,
            heads: config.num_attention_heads,
            head_dim: config.head_dim(),
        })
    }

    /// `x + out_proj(softmax(q kᵀ / √head_dim) v)`, q, k and v of `norm(x)`, (B, T, width). A `rotation` turns q and k.
    pub(crate) fn forward_added(
        &self,
        norm: &LayerNorm,
        x: &Tensor,
        rotation: Option<&Rotation>,
    ) -> Result<Tensor> {
        if let (LayerNorm::Kernel(norm), Some(qkv), Some(out)) =
            (norm, self.qkv_proj.ready()?, self.out_proj.ready()?)
        {
            let (batch, tokens, width) = x.dims3()?;
            let shape = AttentionShape { batch, tokens, heads: self.heads, head_dim: self.head_dim };
            let rotation = rotation.map(|rotation| &rotation.kernel);
            return cpu::apply(x, width, |x| attention_half(x, norm, &qkv, shape, rotation, &out));
        }
        let qkv = self.qkv_proj.forward(&norm.forward(x)?)?; // (B, T, 3·width)
        self.out_proj.forward_added(&self.mix(&qkv, rotation)?, x)
    }

    /// The attention of `norm(x)` after its softmax, (B, heads, T, T).
    pub(crate) fn observe(
        &self,
        norm: &LayerNorm,
        x: &Tensor,
        rotation: Option<&Rotation>,
    ) -> Result<Tensor> {
        self.weights(&self.qkv_proj.forward(&norm.forward(x)?)?, rotation)
    }

    /// `qkv` (B, T, 3·width) → softmax(q kᵀ / √head_dim), (B, heads, T, T).
    fn weights(&self, qkv: &Tensor, rotation: Option<&Rotation>) -> Result<Tensor> {
        let (batch, tokens, _) = qkv.dims3()?;
        let qkv = qkv.reshape((batch, tokens, 3, self.heads, self.head_dim))?;
        let part = |index| -> Result<Tensor> {
            let part = qkv.narrow(2, index, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous()?; // (B, H, T, d)
            rotation.map_or_else(|| Ok(part.clone()), |rotation| rotation.turn(&part))
        };
        let q = (part(0)? * (self.head_dim as f64).powf(-0.5))?;
        candle_nn::ops::softmax_last_dim(&q.matmul(&part(1)?.t()?)?) // (B, H, T, T)
    }

    /// `qkv` (B, T, 3·width) → the mixed values of all heads side by side, (B, T, width).
    fn mix(&self, qkv: &Tensor, rotation: Option<&Rotation>) -> Result<Tensor> {
        let (batch, tokens, _) = qkv.dims3()?;
        let parts = qkv.reshape((batch, tokens, 3, self.heads, self.head_dim))?;
        let v = parts.narrow(2, 2, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous()?; // (B, H, T, d)
        self.weights(qkv, rotation)?.matmul(&v)?.transpose(1, 2)?.flatten_from(2) // (B, T, width)
    }
}
