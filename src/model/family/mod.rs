//! The families of towers: what differs between them, one file each.
//!
//! All run through one encoder. A family's file says how its `config.json` is read, how its checkpoints spell
//! and shape their tensors, and what its tokens are made of.

mod clip;
mod dinov2;
mod siglip;

use candle_core::{Result, Tensor};
use serde_json::Value;

use super::{
    config::{Mlp, VisionConfig},
    embeddings::Embeddings,
    linear::Linear,
    source::Source,
};
use crate::processor::{ProcessorConfig, ProcessorKind};

pub(crate) use siglip::AttentionPool;

/// A family of vision towers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// OpenAI's CLIP and its many descendants.
    Clip,
    /// SigLIP, and SigLIP 2 of a fixed resolution, whose checkpoints are SigLIP's.
    Siglip,
    /// DINOv2.
    Dinov2,
    /// DINOv2 with register tokens.
    Dinov2WithRegisters,
}

/// How checkpoints of a family spell a block's tensors.
#[derive(Debug)]
pub(crate) struct BlockNames {
    /// What stands before a block's index.
    pub(crate) layers: &'static str,
    pub(crate) norms: [&'static str; 2],
    /// Query, key and value.
    pub(crate) qkv: [&'static str; 3],
    pub(crate) out: &'static str,
    /// The two layers of the MLP.
    pub(crate) mlp: [&'static str; 2],
    /// The factors on the outputs of the attention and of the MLP.
    pub(crate) layer_scales: Option<[&'static str; 2]>,
}

impl Family {
    /// The name that people use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clip => "CLIP",
            Self::Siglip => "SigLIP",
            Self::Dinov2 => "DINOv2",
            Self::Dinov2WithRegisters => "DINOv2 with registers",
        }
    }

    /// Whether transformers applies the final norm to every token of `last_hidden_state`. CLIP's applies it to
    /// the pooled token alone.
    pub fn normalizes_output(self) -> bool {
        self != Self::Clip
    }

    /// The image processor's class.
    pub(crate) fn processor_kind(self) -> ProcessorKind {
        match self {
            Self::Clip => ProcessorKind::Clip,
            Self::Siglip => ProcessorKind::Siglip,
            Self::Dinov2 | Self::Dinov2WithRegisters => ProcessorKind::Bit,
        }
    }

    /// The image processor that its checkpoints come with.
    pub(crate) fn processor(self, image_size: u32) -> ProcessorConfig {
        match self {
            Self::Clip => ProcessorConfig::clip(image_size),
            Self::Siglip => ProcessorConfig::siglip(image_size),
            // Made for larger images than its processor gives it.
            Self::Dinov2 | Self::Dinov2WithRegisters => ProcessorConfig::dinov2(),
        }
    }

    /// The name of the layer norm before the first block.
    pub(crate) fn pre_norm(self) -> Option<&'static str> {
        // The checkpoints really spell it so.
        (self == Self::Clip).then_some("pre_layrnorm")
    }

    /// The name of the layer norm after the last block.
    pub fn final_norm(self) -> &'static str {
        match self {
            Self::Clip | Self::Siglip => "post_layernorm",
            Self::Dinov2 | Self::Dinov2WithRegisters => "layernorm",
        }
    }

    pub(crate) fn block_names(config: &VisionConfig) -> &'static BlockNames {
        match (config.family, config.mlp) {
            (Self::Clip | Self::Siglip, _) => &clip::BLOCK,
            (_, Mlp::SwiGlu) => &dinov2::GATED_BLOCK,
            (_, Mlp::Plain(_)) => &dinov2::BLOCK,
        }
    }

    /// Reads the input layer.
    pub(crate) fn embeddings(config: &VisionConfig, source: &Source) -> Result<Embeddings> {
        match config.family {
            Self::Clip => clip::embeddings(config, source),
            Self::Siglip => siglip::embeddings(config, source),
            Self::Dinov2 | Self::Dinov2WithRegisters => dinov2::embeddings(config, source),
        }
    }
}

/// Reads the root of a `config.json`; the error is the reason alone.
pub(super) fn config(root: Value) -> std::result::Result<VisionConfig, String> {
    let model_type = root.get("model_type").and_then(Value::as_str).map(str::to_owned);
    match model_type.as_deref() {
        None if vision_config(&root).is_none() => {
            Err("has neither model_type nor vision_config, so it is no config of a vision tower".into())
        }
        None | Some("clip") => clip::config(nested(root, "clip_vision_model")?),
        Some("clip_vision_model") => clip::config(root),
        Some("siglip") => siglip::config(nested(root, "siglip_vision_model")?),
        Some("siglip_vision_model") => siglip::config(root),
        Some("dinov2") => dinov2::config(root, Family::Dinov2),
        Some("dinov2_with_registers") => dinov2::config(root, Family::Dinov2WithRegisters),
        Some(other @ ("siglip2" | "siglip2_vision_model")) => Err(format!(
            "model_type {other:?} is SigLIP 2 of variable resolution (NaFlex), which is not supported; \
             its checkpoints of a fixed resolution have model_type \"siglip\""
        )),
        Some(other) => Err(format!(
            "model_type {other:?} is not supported, expected clip, siglip, dinov2, dinov2_with_registers, \
             clip_vision_model or siglip_vision_model"
        )),
    }
}

/// The vision half of a full model's config; the first CLIP configs wrote it under another name.
fn vision_config(root: &Value) -> Option<&Value> {
    let named = |name| root.get(name).filter(|value: &&Value| !value.is_null());
    named("vision_config").or_else(|| named("vision_config_dict"))
}

/// The fields of the tower in a full model's config; without any, its class's defaults hold.
fn nested(root: Value, expected: &str) -> std::result::Result<Value, String> {
    let fields = vision_config(&root).cloned().unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    // transformers reads one or the other, by the class that is loaded; where they agree, so do all classes.
    let older = root.get("vision_config_dict").and_then(Value::as_object);
    for (field, value) in older.into_iter().flatten() {
        if let Some(newer) = fields.get(field).filter(|newer| *newer != value) {
            return Err(format!("{field} is {newer} in vision_config, but {value} in vision_config_dict"));
        }
    }
    match fields.get("model_type").and_then(Value::as_str) {
        Some(inner) if inner != expected => {
            Err(format!("vision_config has model_type {inner:?}, expected {expected:?}"))
        }
        _ => Ok(fields),
    }
}

/// Reads a patch convolution, whose stride is its size, as the linear layer on flattened patches that it is.
fn patch_embedding(config: &VisionConfig, source: &Source, bias: bool) -> Result<Linear> {
    let VisionConfig { hidden_size: width, patch_size: p, .. } = *config;
    let weight = source.rows(&[width, 3, p, p], "weight")?;
    let bias = bias.then(|| source.get(width, "bias")).transpose()?;
    Linear::new(weight, bias, source)
}

/// Splits position embeddings (1 + N, width): the class token with its own added, (1, width), and the patches'
/// (N, width).
fn place_class_token(class: &Tensor, positions: &Tensor) -> Result<(Tensor, Tensor)> {
    let class = (class + positions.narrow(0, 0, 1)?)?; // (1, width)
    Ok((class, positions.narrow(0, 1, positions.dim(0)? - 1)?))
}
