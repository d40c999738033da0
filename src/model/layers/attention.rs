//! Multi-head self-attention over all tokens, without a mask; and of padding, which attends to them and is not attended to.

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
        self.out_proj.forward_added(&self.mix(&self.weights(&qkv, &qkv, rotation)?, &qkv)?, x)
    }

    /// The attention of `norm(x)` after its softmax, (B, heads, T, T).
    pub(crate) fn observe(
        &self,
        norm: &LayerNorm,
        x: &Tensor,
        rotation: Option<&Rotation>,
    ) -> Result<Tensor> {
        let qkv = self.qkv_proj.forward(&norm.forward(x)?)?; // (B, T, 3·width)
        self.weights(&qkv, &qkv, rotation)
    }

    /// The same of padding, (B, P, width), which has no place to turn by, attends to `x`, (B, T, width), and not to itself: its
    /// attention (B, heads, P, T), and `padding + out_proj(…)`, (B, P, width). It takes q, k and v of `x` anew, so that `x` goes the
    /// same way beside it.
    pub(crate) fn pad(&self, norm: &LayerNorm, padding: &Tensor, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let qkv = self.qkv_proj.forward(&norm.forward(x)?)?; // (B, T, 3·width)
        let queries = self.qkv_proj.forward(&norm.forward(padding)?)?; // (B, P, 3·width)
        let weights = self.weights(&queries, &qkv, None)?; // (B, H, P, T)
        let mixed = self.mix(&weights, &qkv)?; // (B, P, width)
        Ok((weights, self.out_proj.forward_added(&mixed, padding)?))
    }

    /// q (part 0), k (1) or v (2) of `qkv` (B, T, 3·width), (B, heads, T, head_dim).
    fn part(&self, qkv: &Tensor, part: usize) -> Result<Tensor> {
        let (batch, tokens, _) = qkv.dims3()?;
        let qkv = qkv.reshape((batch, tokens, 3, self.heads, self.head_dim))?;
        qkv.narrow(2, part, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous()
    }

    /// q of `queries` (B, Q, 3·width) and k of `qkv` (B, T, 3·width) → softmax(q kᵀ / √head_dim), (B, heads, Q, T).
    fn weights(&self, queries: &Tensor, qkv: &Tensor, rotation: Option<&Rotation>) -> Result<Tensor> {
        let turned = |part: Tensor| match rotation {
            Some(rotation) => rotation.turn(&part),
            None => Ok(part),
        };
        let (q, k) = (turned(self.part(queries, 0)?)?, turned(self.part(qkv, 1)?)?);
        let q = (q * (self.head_dim as f64).powf(-0.5))?; // (B, H, Q, d)
        candle_nn::ops::softmax_last_dim(&q.matmul(&k.t()?)?)
    }

    /// `weights` (B, heads, Q, T) of v of `qkv` (B, T, 3·width) → the mixed values of all heads side by side, (B, Q, width).
    fn mix(&self, weights: &Tensor, qkv: &Tensor) -> Result<Tensor> {
        weights.matmul(&self.part(qkv, 2)?)?.transpose(1, 2)?.flatten_from(2)
    }
}
