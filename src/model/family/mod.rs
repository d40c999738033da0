//! The families of towers: what differs between them, one file each.
//!
//! All run through one encoder. A family's file says how its `config.json` is read, how its checkpoints spell
//! and shape their tensors, and what its tokens are made of.

mod clip;
mod clips_kin;
mod dinov2;
mod dinov3;
mod fields;
mod language;
mod open_clip;
mod original_llava;
mod read;
mod siglip;
mod siglip2;
mod timm;

use candle_core::{Result, Tensor};

pub(crate) use original_llava::OriginalLlava;

use super::{
    config::{Family, Mlp, VisionConfig},
    layers::{block_names::BlockNames, embeddings::EmbeddingWeights},
    weights::{LinearWeights, Source},
};
use crate::processor::{ProcessorConfig, ProcessorKind};

impl Family {
    /// The image processor's class.
    pub(crate) fn processor_kind(self) -> ProcessorKind {
        match self {
            // Chinese-CLIP's has a name of its own and CLIP's arithmetic.
            Self::Clip | Self::MetaClip2 | Self::ChineseClip | Self::AltClip => ProcessorKind::Clip,
            Self::ClipSeg => ProcessorKind::Vit,
            Self::Siglip => ProcessorKind::Siglip,
            Self::Siglip2 => ProcessorKind::Siglip2,
            Self::Dinov2 | Self::Dinov2WithRegisters | Self::Timm => ProcessorKind::Bit,
            Self::Dinov3 => ProcessorKind::Dinov3,
        }
    }

    /// The image processor that its checkpoints come with.
    pub(crate) fn processor(config: &VisionConfig) -> ProcessorConfig {
        let image_size = config.image_size as u32;
        match config.family {
            Self::Clip | Self::MetaClip2 | Self::ChineseClip | Self::AltClip => {
                ProcessorConfig::clip(image_size)
            }
            Self::ClipSeg => ProcessorConfig::vit(image_size),
            Self::Siglip => ProcessorConfig::siglip(image_size),
            Self::Siglip2 => ProcessorConfig::siglip2(config.patch_size as u32),
            // Made for larger images than its processor gives it.
            Self::Dinov2 | Self::Dinov2WithRegisters => ProcessorConfig::dinov2(),
            Self::Dinov3 => ProcessorConfig::dinov3(image_size),
            // timm's checkpoints say theirs in their config.json.
            Self::Timm => ProcessorConfig::siglip(image_size),
        }
    }

    /// How the blocks' tensors are spelt at `source`.
    pub(crate) fn block_names(config: &VisionConfig, source: &Source) -> BlockNames {
        match (config.family, config.mlp) {
            (Self::Clip | Self::Siglip | Self::Timm, _) if config.traits().layer_scale => clip::SCALED_BLOCK,
            (Self::Clip | Self::MetaClip2 | Self::ChineseClip | Self::AltClip | Self::ClipSeg, _) => {
                clip::BLOCK
            }
            (Self::Siglip | Self::Siglip2 | Self::Timm, _) => clip::BLOCK,
            (Self::Dinov2 | Self::Dinov2WithRegisters, Mlp::Gated(_)) => dinov2::GATED_BLOCK,
            (Self::Dinov2 | Self::Dinov2WithRegisters, Mlp::Plain(_)) => dinov2::BLOCK,
            (Self::Dinov3, _) => dinov3::block_names(config, source),
        }
    }

    /// Reads what the checkpoint has of the input layer.
    pub(crate) fn embeddings(config: &VisionConfig, source: &Source) -> Result<EmbeddingWeights> {
        match config.family {
            Self::Clip | Self::MetaClip2 | Self::ChineseClip | Self::AltClip | Self::ClipSeg => {
                clip::embeddings(config, source)
            }
            Self::Siglip => siglip::embeddings(config, source),
            Self::Siglip2 => siglip2::embeddings(config, source),
            Self::Dinov2 | Self::Dinov2WithRegisters => dinov2::embeddings(config, source),
            Self::Dinov3 => dinov3::embeddings(config, source),
            Self::Timm => timm::embeddings(config, source),
        }
    }
}

/// Reads a patch convolution, whose stride is its size, as the linear layer on flattened patches that it is.
fn patch_embedding(config: &VisionConfig, source: &Source, bias: bool) -> Result<LinearWeights> {
    let VisionConfig { hidden_size: width, patch_size: p, .. } = *config;
    let rows = source.rows(&[width, 3, p, p], "weight")?;
    let bias = bias.then(|| source.get(width, "bias")).transpose()?;
    Ok(LinearWeights { rows, bias })
}

/// Splits position embeddings (1 + N, width): the class token with its own added, (1, width), and the patches'
/// (N, width).
fn place_class_token(class: &Tensor, positions: &Tensor) -> Result<(Tensor, Tensor)> {
    let class = (class + positions.narrow(0, 0, 1)?)?; // (1, width)
    Ok((class, positions.narrow(0, 1, positions.dim(0)? - 1)?))
}

/// The class token (1, width) and behind it the registers of DINOv2 and DINOv3, if there are any, which have no position:
/// (1 + R, width).
fn with_registers(class: Tensor, config: &VisionConfig, embeddings: &Source) -> Result<Tensor> {
    match config.register_tokens {
        0 => Ok(class),
        count => {
            let registers = embeddings.get((1, count, config.hidden_size), "register_tokens")?.squeeze(0)?;
            Tensor::cat(&[class, registers], 0)
        }
    }
}
