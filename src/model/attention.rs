//! Multi-head self-attention over all tokens, without a mask.

use candle_core::{D, Result, Tensor};
use candle_nn::VarBuilder;

use super::{config::VisionConfig, cpu, layer_norm::LayerNorm, linear::Linear};
use crate::kernels::{AttentionShape, attention_half};

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
    pub(crate) fn load(config: &VisionConfig, vb: &VarBuilder) -> Result<Self> {
        let width = config.hidden_size;
        let parts = ["q_proj", "k_proj", "v_proj"].map(|name| vb.pp(name));
        Ok(Self {
            qkv_proj: Linear::load_stacked(width, width, &parts)?,
            out_proj: Linear::load(width, width, &vb.pp("out_proj"))?,
            heads: config.num_attention_heads,
            head_dim: config.head_dim(),
        })
    }

    /// `x + out_proj(softmax(q kᵀ / √head_dim) v)`, with q, k and v of `norm(x)`; `x` is (B, T, width).
    pub(crate) fn forward(&self, norm: &LayerNorm, x: &Tensor) -> Result<Tensor> {
        if let (LayerNorm::Kernel(norm), Linear::Packed(qkv), Linear::Packed(out)) =
            (norm, &self.qkv_proj, &self.out_proj)
        {
            let (batch, tokens, width) = x.dims3()?;
            let shape = AttentionShape { batch, tokens, heads: self.heads, head_dim: self.head_dim };
            return cpu::apply(x, width, |x| attention_half(x, norm, qkv, shape, out));
        }
        let qkv = self.qkv_proj.forward(&norm.forward(x)?)?; // (B, T, 3·width)
        self.out_proj.forward_added(&self.mix(&qkv)?, x)
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
