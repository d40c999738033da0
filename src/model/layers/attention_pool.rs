//! SigLIP's pooling: attention in place of a class token.

use candle_core::{Result, Tensor};

use super::{layer_norm::LayerNorm, linear::Linear, mlp::Mlp};
use crate::model::{config::VisionConfig, weights::Source};

/// The pooling head: a learned query attends to all tokens, then an MLP.
#[derive(Debug)]
pub(crate) struct AttentionPool {
    /// The learned query of every head, scaled by 1 / √head_dim: (1, heads, 1, head_dim).
    query: Tensor,
    /// Keys and values as one product.
    kv_proj: Linear,
    out_proj: Linear,
    layernorm: LayerNorm,
    mlp: Mlp,
}

impl AttentionPool {
    pub(crate) fn load(config: &VisionConfig, source: &Source) -> Result<Self> {
        let (width, heads, head_dim) = (config.hidden_size, config.num_attention_heads, config.head_dim());
        // torch's MultiheadAttention holds query, key and value in one matrix.
        let attention = source.pp("attention");
        let bias = attention.get(3 * width, "in_proj_bias")?;
        let part = |start, parts| -> Result<Linear> {
            let weight = attention.rows(&[3 * width, width], "in_proj_weight")?;
            let bias = bias.narrow(0, start * width, parts * width)?;
            Linear::new(weight.narrow(start * width..(start + parts) * width), Some(bias), source)
        };
        let query = part(0, 1)?.forward(&source.get((1, 1, width), "probe")?)?; // (1, 1, width)
        let query = query.reshape((1, heads, 1, head_dim))?;
        Ok(Self {
            query: (query * (head_dim as f64).powf(-0.5))?,
            kv_proj: part(1, 2)?,
            out_proj: Linear::load(width, width, true, &attention.pp("out_proj"))?,
            layernorm: LayerNorm::load(width, config.layer_norm_eps, &source.pp("layernorm"))?,
            mlp: Mlp::load(config, source, ["mlp.fc1", "mlp.fc2"], None, None)?,
        })
    }

    /// Normalized tokens (B, T, width) → (B, 1, width).
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, tokens, width) = x.dims3()?;
        let (_, heads, _, head_dim) = self.query.dims4()?;
        let kv = self.kv_proj.forward(x)?.reshape((batch, tokens, 2, heads, head_dim))?;
        let part = |index| kv.narrow(2, index, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous(); // (B, H, T, d)
        let query = self.query.expand((batch, heads, 1, head_dim))?.contiguous()?;
        let scores = query.matmul(&part(0)?.t()?)?; // (B, H, 1, T)
        let mixed = candle_nn::ops::softmax_last_dim(&scores)?.matmul(&part(1)?)?; // (B, H, 1, d)
        let x = self.out_proj.forward(&mixed.reshape((batch, 1, width))?)?; // (B, 1, width)
        self.mlp.forward_added(&self.layernorm, &x)
    }
}
