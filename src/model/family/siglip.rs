//! SigLIP: patches alone, no norm before the first block, one on `last_hidden_state`, pooled by attention.

use candle_core::{Result, Tensor};
use serde::Deserialize;
use serde_json::Value;

use super::{Family, clip::BLOCK, patch_embedding};
use crate::model::{
    activation::Activation,
    config::{Edge, Mlp as MlpKind, VisionConfig, check_channels, square},
    embeddings::Embeddings,
    layer_norm::LayerNorm,
    linear::Linear,
    mlp::Mlp,
    source::Source,
};

/// transformers' `SiglipVisionConfig`, its defaults those of base-patch16-224.
#[derive(Deserialize)]
#[serde(default)]
struct Fields {
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_channels: usize,
    image_size: Edge,
    patch_size: Edge,
    hidden_act: String,
    layer_norm_eps: f64,
    vision_use_head: bool,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            image_size: Edge::Square(224),
            patch_size: Edge::Square(16),
            hidden_act: "gelu_pytorch_tanh".into(),
            layer_norm_eps: 1e-6,
            vision_use_head: true,
        }
    }
}

pub(super) fn config(fields: Value) -> std::result::Result<VisionConfig, String> {
    let fields: Fields = super::super::config::fields(fields)?;
    check_channels(fields.num_channels)?;
    VisionConfig {
        family: Family::Siglip,
        hidden_size: fields.hidden_size,
        num_hidden_layers: fields.num_hidden_layers,
        num_attention_heads: fields.num_attention_heads,
        qkv_bias: true,
        intermediate_size: fields.intermediate_size,
        mlp: MlpKind::Plain(Activation::from_name(&fields.hidden_act)?),
        image_size: square("image_size", &fields.image_size)?,
        interpolate_pos_encoding: false,
        patch_size: square("patch_size", &fields.patch_size)?,
        class_tokens: 0,
        register_tokens: 0,
        layer_norm_eps: fields.layer_norm_eps,
        attention_pool: fields.vision_use_head,
        projection_dim: None,
    }
    .checked()
}

pub(super) fn embeddings(config: &VisionConfig, source: &Source) -> Result<Embeddings> {
    let source = source.pp("embeddings");
    let positions = source.get((config.patches(), config.hidden_size), "position_embedding.weight")?;
    let patch_embedding = patch_embedding(config, &source.pp("patch_embedding"), true)?;
    Embeddings::new(config, patch_embedding, None, positions, false)
}

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
            out_proj: Linear::load(width, width, &attention.pp("out_proj"))?,
            layernorm: LayerNorm::load(width, config.layer_norm_eps, &source.pp("layernorm"))?,
            mlp: Mlp::load(config, source, BLOCK.mlp, None)?,
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
