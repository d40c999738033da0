//! Multi-head self-attention over all tokens, without a mask; and of padding, which attends to them and is not attended to.

use candle_core::{Result, Tensor};

use super::block_names::BlockNames;
use crate::model::{
    config::{Biases, VisionConfig},
    ops::{Ops, head_part},
    weights::{LinearWeights, Source},
};

/// The attention half of a block.
#[derive(Debug)]
pub(crate) struct Attention<O: Ops> {
    /// q, k and v as one product.
    qkv_proj: O::Linear,
    out_proj: O::Linear,
    heads: usize,
    head_dim: usize,
}

impl<O: Ops> Attention<O> {
    /// Reads the attention of the block at `source`; `scale` (width) multiplies its output.
    pub(crate) fn load(
        ops: &O,
        config: &VisionConfig,
        names: &BlockNames,
        source: &Source,
        scale: Option<&Tensor>,
    ) -> Result<Self> {
        let width = config.hidden_size;
        let [q, k, v] = names.qkv.map(|name| source.pp(name));
        let Biases { query, key, value, proj, .. } = config.biases;
        let qkv = LinearWeights::load_stacked(width, width, &[(&q, query), (&k, key), (&v, value)])?;
        let out = LinearWeights::load(width, width, proj, &source.pp(names.out))?.scaled(scale)?;
        Ok(Self {
            qkv_proj: ops.linear(qkv)?,
            out_proj: ops.linear(out)?,
            heads: config.num_attention_heads,
            head_dim: config.head_dim(),
        })
    }

    /// `x + out_proj(softmax(q kᵀ / √head_dim) v)`, q, k and v of `norm(x)`, (B, T, width). A `rotation` turns q and k.
    pub(crate) fn forward_added(
        &self,
        ops: &O,
        norm: &O::Norm,
        x: &Tensor,
        rotation: Option<&O::Rotation>,
    ) -> Result<Tensor> {
        ops.attention_half(x, norm, &self.qkv_proj, self.heads, rotation, &self.out_proj)
    }

    /// The attention of `norm(x)` after its softmax, (B, heads, T, T).
    pub(crate) fn observe(
        &self,
        ops: &O,
        norm: &O::Norm,
        x: &Tensor,
        rotation: Option<&O::Rotation>,
    ) -> Result<Tensor> {
        let qkv = ops.multiply(&self.qkv_proj, &ops.normalize(norm, x)?)?; // (B, T, 3·width)
        self.weights(ops, &qkv, &qkv, rotation)
    }

    /// The same of padding, (B, P, width), which has no place to turn by, attends to `x`, (B, T, width), and not to itself: its
    /// attention (B, heads, P, T), and `padding + out_proj(…)`, (B, P, width). It takes q, k and v of `x` anew, so that `x` goes the
    /// same way beside it.
    pub(crate) fn pad(
        &self,
        ops: &O,
        norm: &O::Norm,
        padding: &Tensor,
        x: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let qkv = ops.multiply(&self.qkv_proj, &ops.normalize(norm, x)?)?; // (B, T, 3·width)
        let queries = ops.multiply(&self.qkv_proj, &ops.normalize(norm, padding)?)?; // (B, P, 3·width)
        let weights = self.weights(ops, &queries, &qkv, None)?; // (B, H, P, T)
        let mixed = ops.product(&weights, &head_part(&qkv, [2, 3], self.heads)?)?; // (B, H, P, d)
        let mixed = mixed.transpose(1, 2)?.flatten_from(2)?; // (B, P, width)
        let padding = (padding + ops.multiply(&self.out_proj, &mixed)?)?;
        Ok((weights, padding))
    }

    /// q of `queries` (B, Q, 3·width) and k of `qkv` (B, T, 3·width) → softmax(q kᵀ / √head_dim), (B, heads, Q, T).
    fn weights(
        &self,
        ops: &O,
        queries: &Tensor,
        qkv: &Tensor,
        rotation: Option<&O::Rotation>,
    ) -> Result<Tensor> {
        let turned = |qkv: &Tensor, part: usize| {
            let part = head_part(qkv, [part, 3], self.heads)?;
            rotation.map_or(Ok(part.clone()), |rotation| ops.turn(rotation, &part))
        };
        let (q, k) = (turned(queries, 0)?, turned(qkv, 1)?);
        let q = (q * (self.head_dim as f64).powf(-0.5))?; // (B, H, Q, d)
        candle_nn::ops::softmax_last_dim(&ops.product(&q, &k.t()?)?)
    }
}
