//! DINOv3: class and register tokens, positions as rotations of queries and keys, layer scale, one norm on
//! `last_hidden_state`.

use candle_core::Result;
use serde::Deserialize;
use serde_json::Value;

use super::{
    fields::{self, Edge, check_channels, square},
    patch_embedding, with_registers,
};
use crate::kernels::Activation;
use crate::model::{
    config::{Biases, Family, Mlp, VisionConfig},
    image_features::NoImageFeatures,
    layers::{
        block_names::BlockNames,
        embeddings::{EmbeddingWeights, PatchOrder},
    },
    weights::Source,
};

const BLOCK: BlockNames = BlockNames {
    layers: "layer",
    norms: ["norm1", "norm2"],
    qkv: ["attention.q_proj", "attention.k_proj", "attention.v_proj"],
    out: "attention.o_proj",
    mlp: ["mlp.up_proj", "mlp.down_proj"],
    gate: None,
    layer_scales: Some(["layer_scale1.lambda1", "layer_scale2.lambda1"]),
};

/// How a checkpoint spells its blocks: `layer.N` on disk, or as transformers 5 has it in memory, `model.layer.N`.
pub(super) fn block_names(config: &VisionConfig, source: &Source) -> BlockNames {
    let is_inner = |layers: &str| source.pp(layers).contains("0.norm1.weight");
    let layers = if !is_inner("layer") && is_inner("model.layer") { "model.layer" } else { "layer" };
    let gate = matches!(config.mlp, Mlp::Gated(_)).then_some("mlp.gate_proj");
    BlockNames { layers, gate, ..BLOCK }
}

/// transformers' `DINOv3ViTConfig`, its defaults those of ViT-S/16 without registers.
///
/// Read past: what training alone uses (dropout, drop_path_rate, initializer_range, layerscale_value: the value before training,
/// pos_embed_shift, pos_embed_jitter, pos_embed_rescale) and the fields of backbones (out_features, apply_layernorm,
/// reshape_hidden_states), which are no part of `last_hidden_state`.
#[derive(Deserialize)]
#[serde(default)]
struct Fields {
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    hidden_act: String,
    layer_norm_eps: f64,
    rope_theta: f64,
    image_size: Edge,
    patch_size: Edge,
    num_channels: usize,
    query_bias: bool,
    key_bias: bool,
    value_bias: bool,
    proj_bias: bool,
    mlp_bias: bool,
    use_gated_mlp: bool,
    num_register_tokens: usize,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            hidden_size: 384,
            intermediate_size: 1536,
            num_hidden_layers: 12,
            num_attention_heads: 6,
            hidden_act: "gelu".into(),
            layer_norm_eps: 1e-5,
            rope_theta: 100.0,
            image_size: Edge::Square(224),
            patch_size: Edge::Square(16),
            num_channels: 3,
            query_bias: true,
            key_bias: false,
            value_bias: true,
            proj_bias: true,
            mlp_bias: true,
            use_gated_mlp: false,
            num_register_tokens: 0,
        }
    }
}

pub(super) fn config(fields: Value) -> std::result::Result<VisionConfig, String> {
    let fields: Fields = fields::fields(fields)?;
    check_channels(fields.num_channels)?;
    let activation = Activation::from_name(&fields.hidden_act)?;
    let config = VisionConfig {
        family: Family::Dinov3,
        hidden_size: fields.hidden_size,
        num_hidden_layers: fields.num_hidden_layers,
        num_attention_heads: fields.num_attention_heads,
        biases: Biases {
            query: fields.query_bias,
            key: fields.key_bias,
            value: fields.value_bias,
            proj: fields.proj_bias,
            mlp: fields.mlp_bias,
        },
        intermediate_size: fields.intermediate_size,
        mlp: if fields.use_gated_mlp { Mlp::Gated(activation) } else { Mlp::Plain(activation) },
        image_size: square("image_size", &fields.image_size)?,
        interpolate_pos_encoding: true,
        rope_theta: Some(fields.rope_theta),
        patch_size: square("patch_size", &fields.patch_size)?,
        class_tokens: 1,
        register_tokens: fields.num_register_tokens,
        layer_norm_eps: fields.layer_norm_eps,
        attention_pool: false,
        projection_dim: None,
        image_features: Err(NoImageFeatures::NoLanguageModel),
        traits: None,
    }
    .checked()?;
    if !config.head_dim().is_multiple_of(4) {
        return Err(format!(
            "hidden_size / num_attention_heads is {}, expected a multiple of 4, as the rotary position embedding takes it",
            config.head_dim()
        ));
    }
    if !(fields.rope_theta.is_finite() && fields.rope_theta > 0.0) {
        return Err(format!("rope_theta is {}, expected a positive number", fields.rope_theta));
    }
    Ok(config)
}

pub(super) fn embeddings(config: &VisionConfig, source: &Source) -> Result<EmbeddingWeights> {
    let source = source.pp("embeddings");
    let width = config.hidden_size;
    let class = source.get((1, 1, width), "cls_token")?.squeeze(0)?; // (1, width)
    let prefix = with_registers(class, config, &source)?;
    let patch_embedding = patch_embedding(config, &source.pp("patch_embeddings"), true)?;
    let order = PatchOrder::ChannelsFirst;
    Ok(EmbeddingWeights { patch_embedding, order, prefix: Some(prefix), positions: None })
}
