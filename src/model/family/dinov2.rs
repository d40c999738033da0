//! DINOv2: a class token, perhaps registers, layer scale in every block, one norm on `last_hidden_state`.

use candle_core::Result;
use serde::Deserialize;
use serde_json::Value;

use super::{
    fields::{self, Edge, check_channels, square},
    patch_embedding, place_class_token, with_registers,
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

pub(super) const BLOCK: BlockNames = BlockNames {
    layers: "encoder.layer",
    norms: ["norm1", "norm2"],
    qkv: ["attention.attention.query", "attention.attention.key", "attention.attention.value"],
    out: "attention.output.dense",
    mlp: ["mlp.fc1", "mlp.fc2"],
    gate: None,
    layer_scales: Some(["layer_scale1.lambda1", "layer_scale2.lambda1"]),
};
pub(super) const GATED_BLOCK: BlockNames = BlockNames { mlp: ["mlp.weights_in", "mlp.weights_out"], ..BLOCK };

/// transformers' `Dinov2Config` and `Dinov2WithRegistersConfig`; where these differ, the default is none.
///
/// Read past: what training alone uses (dropout, drop_path_rate, initializer_range, layerscale_value: the value
/// before training, use_mask_token: the mask of training) and the fields of backbones (out_features,
/// apply_layernorm, reshape_hidden_states), which are no part of `last_hidden_state`.
#[derive(Deserialize)]
#[serde(default)]
struct Fields {
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    head_dim: Option<usize>,
    mlp_ratio: f64,
    hidden_act: String,
    layer_norm_eps: f64,
    image_size: Edge,
    patch_size: Option<Edge>,
    num_channels: usize,
    qkv_bias: bool,
    use_swiglu_ffn: bool,
    num_register_tokens: usize,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            head_dim: None,
            mlp_ratio: 4.0,
            hidden_act: "gelu".into(),
            layer_norm_eps: 1e-6,
            image_size: Edge::Square(224),
            patch_size: None,
            num_channels: 3,
            qkv_bias: true,
            use_swiglu_ffn: false,
            num_register_tokens: 4,
        }
    }
}

pub(super) fn config(fields: Value, family: Family) -> std::result::Result<VisionConfig, String> {
    let fields: Fields = fields::fields(fields)?;
    check_channels(fields.num_channels)?;
    let registers = family == Family::Dinov2WithRegisters;
    let patch_size = fields.patch_size.unwrap_or(Edge::Square(if registers { 16 } else { 14 }));
    let inner = (fields.hidden_size as f64 * fields.mlp_ratio).min(1e12) as usize;
    let (mlp, intermediate_size) = if fields.use_swiglu_ffn {
        // Two thirds, so that the gate's third matrix costs nothing, rounded up to a multiple of 8.
        (Mlp::Gated(Activation::Silu), ((inner as f64 * 2.0 / 3.0) as usize).next_multiple_of(8))
    } else {
        (Mlp::Plain(Activation::from_name(&fields.hidden_act)?), inner)
    };
    let config = VisionConfig {
        family,
        hidden_size: fields.hidden_size,
        num_hidden_layers: fields.num_hidden_layers,
        num_attention_heads: fields.num_attention_heads,
        biases: Biases {
            query: fields.qkv_bias,
            key: fields.qkv_bias,
            value: fields.qkv_bias,
            ..Biases::ALL
        },
        intermediate_size,
        mlp,
        image_size: square("image_size", &fields.image_size)?,
        interpolate_pos_encoding: true,
        rope_theta: None,
        patch_size: square("patch_size", &patch_size)?,
        class_tokens: 1,
        register_tokens: if registers { fields.num_register_tokens } else { 0 },
        layer_norm_eps: fields.layer_norm_eps,
        attention_pool: false,
        projection_dim: None,
        image_features: Err(NoImageFeatures::NoLanguageModel),
        traits: None,
    }
    .checked()?;
    match fields.head_dim {
        Some(head_dim) if head_dim != config.head_dim() => Err(format!(
            "head_dim is {head_dim}, only hidden_size / num_attention_heads ({}) is supported",
            config.head_dim()
        )),
        _ => Ok(config),
    }
}

pub(super) fn embeddings(config: &VisionConfig, source: &Source) -> Result<EmbeddingWeights> {
    let source = source.pp("embeddings");
    let width = config.hidden_size;
    let class = source.get((1, 1, width), "cls_token")?.squeeze(0)?; // (1, width)
    let positions = source.get((1, 1 + config.patches(), width), "position_embeddings")?.squeeze(0)?;
    let (class, positions) = place_class_token(&class, &positions)?;
    let prefix = with_registers(class, config, &source)?;
    let patch_embedding = patch_embedding(config, &source.pp("patch_embeddings.projection"), true)?;
    let order = PatchOrder::ChannelsFirst;
    Ok(EmbeddingWeights { patch_embedding, order, prefix: Some(prefix), positions: Some(positions) })
}
