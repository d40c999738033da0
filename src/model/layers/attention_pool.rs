//! SigLIP's pooling: attention in place of a class token.

use candle_core::{Result, Tensor};

use super::mlp::Mlp;
use crate::model::{
    config::VisionConfig,
    ops::{Ops, head_part},
    weights::{LinearWeights, NormWeights, Source},
};

/// The pooling head: a learned query attends to all tokens, then an MLP.
#[derive(Debug)]
pub(crate) struct AttentionPool<O: Ops> {
    /// The learned query of every head, scaled by 1 / √head_dim: (1, heads, 1, head_dim).
    query: Tensor,
    /// Keys and values as one product.
    kv_proj: O::Linear,
    out_proj: O::Linear,
    layernorm: O::Norm,
    mlp: Mlp<O>,
}

impl<O: Ops> AttentionPool<O> {
    pub(crate) fn load(ops: &O, config: &VisionConfig, source: &Source) -> Result<Self> {
        let (width, heads, head_dim) = (config.hidden_size, config.num_attention_heads, config.head_dim());
        // torch's MultiheadAttention holds query, key and value in one matrix.
        let attention = source.pp("attention");
        let bias = attention.get(3 * width, "in_proj_bias")?;
        let part = |start, parts| -> Result<O::Linear> {
            let rows = attention.rows(&[3 * width, width], "in_proj_weight")?;
            let rows = rows.narrow(start * width..(start + parts) * width);
            ops.linear(LinearWeights { rows, bias: Some(bias.narrow(0, start * width, parts * width)?) })
        };
        let probe = ops.place(&source.get((1, 1, width), "probe")?)?;
        let query = ops.multiply(&part(0, 1)?, &probe)?.reshape((1, heads, 1, head_dim))?;
        let out = LinearWeights::load(width, width, true, &attention.pp("out_proj"))?;
        let layernorm = NormWeights::load(width, config.layer_norm_eps, &source.pp("layernorm"))?;
        Ok(Self {
            query: (query * (head_dim as f64).powf(-0.5))?,
            kv_proj: part(1, 2)?,
            out_proj: ops.linear(out)?,
            layernorm: ops.norm(layernorm)?,
            mlp: Mlp::load(ops, config, source, ["mlp.fc1", "mlp.fc2"], None, None)?,
        })
    }

    /// Normalized tokens (B, T, width) → (B, 1, width).
    pub(crate) fn forward(&self, ops: &O, x: &Tensor) -> Result<Tensor> {
        let (batch, _, width) = x.dims3()?;
        let (_, heads, _, head_dim) = self.query.dims4()?;
        let kv = ops.multiply(&self.kv_proj, x)?; // (B, T, 2·width)
        let part = |index| head_part(&kv, [index, 2], heads); // (B, H, T, d)
        let query = self.query.expand((batch, heads, 1, head_dim))?.contiguous()?;
        let scores = ops.product(&query, &part(0)?.t()?)?; // (B, H, 1, T)
        let mixed = ops.product(&candle_nn::ops::softmax_last_dim(&scores)?, &part(1)?)?; // (B, H, 1, d)
        let x = ops.multiply(&self.out_proj, &mixed.reshape((batch, 1, width))?)?; // (B, 1, width)
        self.mlp.forward_added(ops, &self.layernorm, &x)
    }
}
