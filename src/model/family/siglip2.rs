//! SigLIP 2 of variable resolution (NaFlex): SigLIP's blocks and pooling on pictures of their own shape.

use candle_core::Result;
use serde::Deserialize;
use serde_json::Value;

use super::{
    fields::{self, square},
    siglip,
};
use crate::model::{
    config::{Family, VisionConfig},
    layers::embeddings::{EmbeddingWeights, PatchOrder},
    weights::{LinearWeights, Source},
};

/// What transformers' `Siglip2VisionConfig` has in the place of SigLIP's `image_size`. Its other fields are SigLIP's, and so are
/// their defaults.
#[derive(Deserialize)]
#[serde(default)]
struct Positions {
    num_patches: usize,
}

impl Default for Positions {
    fn default() -> Self {
        Self { num_patches: 256 }
    }
}

pub(super) fn config(fields: Value) -> std::result::Result<VisionConfig, String> {
    let Positions { num_patches } = fields::fields(fields.clone())?;
    let grid = num_patches.isqrt();
    if grid == 0 || grid * grid != num_patches {
        return Err(format!(
            "num_patches is {num_patches}, expected a square: position embeddings are of one"
        ));
    }
    let fields: siglip::Fields = fields::fields(fields)?;
    let patch_size = square("patch_size", &fields.patch_size)?;
    fields.config(Family::Siglip2, grid.saturating_mul(patch_size))
}

pub(super) fn embeddings(config: &VisionConfig, source: &Source) -> Result<EmbeddingWeights> {
    let VisionConfig { hidden_size: width, patch_size: p, .. } = *config;
    let source = source.pp("embeddings");
    let positions = source.get((config.patches(), width), "position_embedding.weight")?;
    let patch_embedding = LinearWeights::load(3 * p * p, width, true, &source.pp("patch_embedding"))?;
    let order = PatchOrder::ChannelsLast;
    Ok(EmbeddingWeights { patch_embedding, order, prefix: None, positions: Some(positions) })
}
