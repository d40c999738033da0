//! SigLIP 2 of variable resolution (NaFlex): SigLIP's blocks and pooling on pictures of their own shape.

use candle_core::Result;
use serde::Deserialize;
use serde_json::Value;

use super::fields::{self, Edge, check_channels, square};
use crate::kernels::Activation;
use crate::model::{
    config::{Biases, Family, Mlp, VisionConfig},
    image_features::NoImageFeatures,
    layers::{
        embeddings::{Embeddings, PatchOrder},
        linear::Linear,
        positions::Interpolation,
    },
    weights::Source,
};

/// transformers' `Siglip2VisionConfig`, its defaults those of base-patch16-naflex.
#[derive(Deserialize)]
#[serde(default)]
struct Fields {
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_channels: usize,
    num_patches: usize,
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
            num_patches: 256,
            patch_size: Edge::Square(16),
            hidden_act: "gelu_pytorch_tanh".into(),
            layer_norm_eps: 1e-6,
            vision_use_head: true,
        }
    }
}

pub(super) fn config(fields: Value) -> std::result::Result<VisionConfig, String> {
    let fields: Fields = fields::fields(fields)?;
    check_channels(fields.num_channels)?;
    let grid = fields.num_patches.isqrt();
    if grid == 0 || grid * grid != fields.num_patches {
        let number = fields.num_patches;
        return Err(format!("num_patches is {number}, expected a square: position embeddings are of one"));
    }
    let patch_size = square("patch_size", &fields.patch_size)?;
    VisionConfig {
        family: Family::Siglip2,
        hidden_size: fields.hidden_size,
        num_hidden_layers: fields.num_hidden_layers,
        num_attention_heads: fields.num_attention_heads,
        biases: Biases::ALL,
        intermediate_size: fields.intermediate_size,
        mlp: Mlp::Plain(Activation::from_name(&fields.hidden_act)?),
        image_size: grid.saturating_mul(patch_size),
        interpolate_pos_encoding: true,
        rope_theta: None,
        patch_size,
        class_tokens: 0,
        register_tokens: 0,
        layer_norm_eps: fields.layer_norm_eps,
        attention_pool: fields.vision_use_head,
        projection_dim: None,
        image_features: Err(NoImageFeatures::NoLanguageModel),
        traits: None,
    }
    .checked()
}

pub(super) fn embeddings(config: &VisionConfig, source: &Source) -> Result<Embeddings> {
    let VisionConfig { hidden_size: width, patch_size: p, .. } = *config;
    let source = source.pp("embeddings");
    let positions = source.get((config.patches(), width), "position_embedding.weight")?;
    let patch_embedding = Linear::load(3 * p * p, width, true, &source.pp("patch_embedding"))?;
    let (order, interpolation) = (PatchOrder::ChannelsLast, Interpolation::BilinearAntialiased);
    Embeddings::new(config, patch_embedding, order, None, positions, interpolation)
}
