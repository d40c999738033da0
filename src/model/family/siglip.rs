//! SigLIP: patches alone, no norm before the first block, one on `last_hidden_state`, pooled by attention.

use candle_core::Result;
use serde::Deserialize;
use serde_json::Value;

use super::{
    fields::{self, Edge, check_channels, square},
    patch_embedding,
};
use crate::kernels::Activation;
use crate::model::{
    config::{Biases, Family, Mlp, VisionConfig},
    image_features::NoImageFeatures,
    layers::embeddings::{EmbeddingWeights, PatchOrder},
    weights::Source,
};

/// transformers' `SiglipVisionConfig`, its defaults those of base-patch16-224.
#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Fields {
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_channels: usize,
    image_size: Edge,
    pub(super) patch_size: Edge,
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
    let fields: Fields = fields::fields(fields)?;
    let image_size = square("image_size", &fields.image_size)?;
    fields.config(Family::Siglip, image_size)
}

impl Fields {
    /// The config of a tower whose positions are those of a square picture of `image_size`.
    pub(super) fn config(
        self,
        family: Family,
        image_size: usize,
    ) -> std::result::Result<VisionConfig, String> {
        check_channels(self.num_channels)?;
        VisionConfig {
            family,
            hidden_size: self.hidden_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            biases: Biases::ALL,
            intermediate_size: self.intermediate_size,
            mlp: Mlp::Plain(Activation::from_name(&self.hidden_act)?),
            image_size,
            interpolate_pos_encoding: family == Family::Siglip2,
            rope_theta: None,
            patch_size: square("patch_size", &self.patch_size)?,
            class_tokens: 0,
            register_tokens: 0,
            layer_norm_eps: self.layer_norm_eps,
            attention_pool: self.vision_use_head,
            projection_dim: None,
            image_features: Err(NoImageFeatures::NoLanguageModel),
            traits: None,
        }
        .checked()
    }
}

pub(super) fn embeddings(config: &VisionConfig, source: &Source) -> Result<EmbeddingWeights> {
    let source = source.pp("embeddings");
    let positions = source.get((config.patches(), config.hidden_size), "position_embedding.weight")?;
    let patch_embedding = patch_embedding(config, &source.pp("patch_embedding"), true)?;
    let order = PatchOrder::ChannelsFirst;
    Ok(EmbeddingWeights { patch_embedding, order, prefix: None, positions: Some(positions) })
}
