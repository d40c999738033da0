//! Multi-head self-attention over all tokens, without a mask.

use candle_core::{D, Result, Tensor};
use candle_nn::VarBuilder;

use super::{config::VisionConfig, family::Family, layer_scale::load_scaled, linear::Linear};

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
    /// Reads the attention of the block at `vb`; `scale` (width) multiplies its output.
    pub(crate) fn load(config: &VisionConfig, vb: &VarBuilder, scale: Option<&Tensor>) -> Result<Self> {
        let width = config.hidden_size;
        let names = Family::block_names(config);
        let parts = names.qkv.map(|name| vb.pp(name));
        let qkv_proj = if config.qkv_bias {
            Linear::load_stacked(width, width, &parts)?
        } else {
            let weights = parts.map(|vb| vb.get((width, width), "weight"));
            Linear::new(Tensor::cat(&weights.into_iter().collect::<Result<Vec<_>>>()?, 0)?, None)
        };
        Ok(Self {
            qkv_proj,
            out_proj: load_scaled(width, width, &vb.pp(names.out), scale)?,
            heads: config.num_attention_heads,
            head_dim: config.head_dim(),
        })
    }

    /// `residual + out_proj(softmax(q kᵀ / √head_dim) v)`; `x` and `residual` are (B, T, width).
    pub(crate) fn forward_added(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        let qkv = self.qkv_proj.forward(x)?; // (B, T, 3·width)
        self.out_proj.forward_added(&self.mix(&qkv)?, residual)
    }

    /// The same, and the attention after its softmax, (B, heads, T, T).
    ///
    /// The scores are computed a second time, so that an output has the same bytes whether or not its attention
    /// was asked for.
    pub(crate) fn forward_observed(&self, x: &Tensor, residual: &Tensor) -> Result<(Tensor, Tensor)> {
        let qkv = self.qkv_proj.forward(x)?; // (B, T, 3·width)
        let output = self.out_proj.forward_added(&self.mix(&qkv)?, residual)?;
        Ok((output, self.weights(&qkv)?))
    }

    /// `qkv` (B, T, 3·width) → softmax(q kᵀ / √head_dim), (B, heads, T, T).
    fn weights(&self, qkv: &Tensor) -> Result<Tensor> {
        let (batch, tokens, _) = qkv.dims3()?;
        let qkv = qkv.reshape((batch, tokens, 3, self.heads, self.head_dim))?;
        let part = |index| qkv.narrow(2, index, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous(); // (B, H, T, d)
        let q = (part(0)? * (self.head_dim as f64).powf(-0.5))?;
        candle_nn::ops::softmax(&q.matmul(&part(1)?.t()?)?, D::Minus1) // (B, H, T, T)
    }

    /// `qkv` (B, T, 3·width) → the mixed values of all heads side by side, (B, T, width).
    fn mix(&self, qkv: &Tensor) -> Result<Tensor> {
        let (batch, tokens, _) = qkv.dims3()?;
        let qkv = qkv.reshape((batch, tokens, 3, self.heads, self.head_dim))?;
        let part = |index| qkv.narrow(2, index, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous(); // (B, H, T, d)
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let q = (q * (self.head_dim as f64).powf(-0.5))?;
        let scores = q.matmul(&k.t()?)?; // (B, H, T, T)
        let attention = candle_nn::ops::softmax(&scores, D::Minus1)?; // (B, H, T, T)
        attention.matmul(&v)?.transpose(1, 2)?.flatten_from(2) // (B, T, width)
    }
}
