//! What follows the last block: the final norm, the pooling, the visual projection.

use candle_core::{Result, Tensor};

use super::pooling::Pool;
use crate::model::{
    config::VisionConfig,
    error::ModelError,
    ops::Ops,
    outputs::{Outputs, Wanted},
    traits::FinalNorm,
    weights::{LinearWeights, NormWeights, PROJECTION, Source},
};

/// The parts after the last block, each only if something wanted needs it.
#[derive(Debug)]
pub(crate) struct Head<O: Ops> {
    final_norm: Option<O::Norm>,
    normalized: FinalNorm,
    pool: Option<Pool<O>>,
    visual_projection: Option<O::Linear>,
}

impl<O: Ops> Head<O> {
    /// `root` is above the tower, where the projection is; `tower` is the tower.
    pub(crate) fn load(
        ops: &O,
        config: &VisionConfig,
        wanted: &Wanted,
        root: &Source,
        tower: &Source,
    ) -> std::result::Result<Self, ModelError> {
        let width = config.hidden_size;
        let normalized = config.traits().final_norm;
        let is_normalized = match normalized {
            FinalNorm::Tokens => wanted.last_hidden_state || wanted.pools(),
            FinalNorm::Pooling | FinalNorm::Pooled => wanted.pools(),
            FinalNorm::Absent => false,
        };
        let final_norm = is_normalized.then(|| {
            ops.norm(NormWeights::load(width, config.layer_norm_eps, &tower.pp(config.final_norm()))?)
        });
        let pool = if wanted.pools() { Pool::load(ops, config, &tower.pp("head"))? } else { None };
        let visual_projection = match config.projection_dim {
            Some(dim) if wanted.image_embeds => {
                let rows = root.rows(&[dim, width], PROJECTION)?;
                Some(ops.linear(LinearWeights { rows, bias: None })?)
            }
            _ => None,
        };
        Ok(Self { final_norm: final_norm.transpose()?, normalized, pool, visual_projection })
    }

    /// Whether the parts that these tensors need are loaded.
    pub(crate) fn gives(&self, wanted: &Wanted) -> bool {
        let is_bare = self.normalized != FinalNorm::Tokens || self.final_norm.is_some();
        (!wanted.last_hidden_state || is_bare)
            && (!wanted.pools() || self.pool.is_some())
            && (!wanted.image_embeds || self.visual_projection.is_some())
    }

    /// Takes the last block's output (B, T, width), and padding beside it, (B, P, width), to what is wanted of it.
    pub(crate) fn forward(
        &self,
        ops: &O,
        x: &Tensor,
        padding: Option<&Tensor>,
        wanted: &Wanted,
        outputs: &mut Outputs,
    ) -> Result<()> {
        let norm = |at: FinalNorm| self.final_norm.as_ref().filter(|_| self.normalized == at);
        let x = match norm(FinalNorm::Tokens) {
            Some(norm) if wanted.last_hidden_state || wanted.pools() => ops.normalize(norm, x)?, // (B, T, width)
            _ => x.clone(),
        };
        if wanted.last_hidden_state {
            outputs.last_hidden_state = Some(x.clone());
            if let Some(padding) = padding {
                outputs.padding_mut().last_hidden_state = Some(match norm(FinalNorm::Tokens) {
                    Some(norm) => ops.normalize(norm, padding)?,
                    None => padding.clone(),
                });
            }
        }
        let Some(pool) = self.pool.as_ref().filter(|_| wanted.pools()) else { return Ok(()) };
        let pooled = match norm(FinalNorm::Pooling) {
            // Where the norm is the pooled token's alone, the other tokens are spared it.
            Some(norm) if pool.takes_one() => ops.normalize(norm, &pool.forward(ops, &x)?)?, // (B, 1, width)
            Some(norm) => pool.forward(ops, &ops.normalize(norm, &x)?)?,                     // (B, 1, width)
            None => pool.forward(ops, &x)?,                                                  // (B, 1, width)
        };
        let pooled = match norm(FinalNorm::Pooled) {
            Some(norm) => ops.normalize(norm, &pooled)?,
            None => pooled,
        };
        if wanted.pooler_output {
            outputs.pooler_output = Some(pooled.squeeze(1)?); // (B, width)
        }
        if let Some(projection) = &self.visual_projection
            && wanted.image_embeds
        {
            outputs.image_embeds = Some(ops.multiply(projection, &pooled)?.squeeze(1)?); // (B, projection_dim)
        }
        Ok(())
    }
}
