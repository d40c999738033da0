//! What follows the last block: the final norm, the pooling, the visual projection.

use candle_core::{Result, Tensor};

use super::{attention_pool::AttentionPool, layer_norm::LayerNorm, linear::Linear};
use crate::model::{
    config::VisionConfig,
    error::ModelError,
    outputs::{Outputs, Wanted},
    weights::{PROJECTION, Source},
};

/// The parts after the last block, each only if something wanted needs it.
#[derive(Debug)]
pub(crate) struct Head {
    final_norm: Option<LayerNorm>,
    pool: Option<Pool>,
    visual_projection: Option<Linear>,
    normalizes_output: bool,
}

/// How tokens become one.
#[derive(Debug)]
enum Pool {
    /// The class token.
    ClassToken,
    /// A learned query attends to all tokens.
    Attention(Box<AttentionPool>),
}

impl Head {
    /// `root` is above the tower, where the projection is; `tower` is the tower.
    pub(crate) fn load(
        config: &VisionConfig,
        wanted: &Wanted,
        root: &Source,
        tower: &Source,
    ) -> std::result::Result<Self, ModelError> {
        let width = config.hidden_size;
        let normalizes_output = config.family.normalizes_output();
        let norm = wanted.pools() || wanted.last_hidden_state && normalizes_output;
        let final_norm = norm
            .then(|| LayerNorm::load(width, config.layer_norm_eps, &tower.pp(config.family.final_norm())));
        let pool = if !wanted.pools() {
            None
        } else if config.attention_pool {
            Some(Pool::Attention(Box::new(AttentionPool::load(config, &tower.pp("head"))?)))
        } else {
            Some(Pool::ClassToken)
        };
        let visual_projection = match config.projection_dim {
            Some(dim) if wanted.image_embeds => {
                Some(Linear::new(root.rows(&[dim, width], PROJECTION)?, None, root)?)
            }
            _ => None,
        };
        Ok(Self { final_norm: final_norm.transpose()?, pool, visual_projection, normalizes_output })
    }

    /// Whether the parts that these tensors need are loaded.
    pub(crate) fn gives(&self, wanted: &Wanted) -> bool {
        (!wanted.last_hidden_state || !self.normalizes_output || self.final_norm.is_some())
            && (!wanted.pools() || self.pool.is_some())
            && (!wanted.image_embeds || self.visual_projection.is_some())
    }

    /// Takes the last block's output (B, T, width), and padding beside it, (B, P, width), to what is wanted of it.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        padding: Option<&Tensor>,
        wanted: &Wanted,
        outputs: &mut Outputs,
    ) -> Result<()> {
        if !wanted.last_hidden_state && !wanted.pools() {
            return Ok(());
        }
        let normalized = match &self.final_norm {
            // Where the norm is the pooled token's alone, the other tokens are spared it.
            Some(norm) if self.normalizes_output => norm.forward(x)?, // (B, T, width)
            Some(norm) => norm.forward(&x.narrow(1, 0, 1)?.contiguous()?)?, // (B, 1, width)
            None => x.clone(),
        };
        if wanted.last_hidden_state {
            outputs.last_hidden_state =
                Some(if self.normalizes_output { normalized.clone() } else { x.clone() });
            if let Some(padding) = padding {
                outputs.padding_mut().last_hidden_state = Some(match &self.final_norm {
                    Some(norm) if self.normalizes_output => norm.forward(padding)?,
                    _ => padding.clone(),
                });
            }
        }
        let pooled = match &self.pool {
            _ if !wanted.pools() => return Ok(()),
            Some(Pool::ClassToken) => normalized.narrow(1, 0, 1)?.contiguous()?, // (B, 1, width)
            Some(Pool::Attention(pool)) => pool.forward(&normalized)?,           // (B, 1, width)
            None => return Ok(()),
        };
        if wanted.pooler_output {
            outputs.pooler_output = Some(pooled.squeeze(1)?); // (B, width)
        }
        if let Some(projection) = &self.visual_projection
            && wanted.image_embeds
        {
            outputs.image_embeds = Some(projection.forward(&pooled)?.squeeze(1)?); // (B, projection_dim)
        }
        Ok(())
    }
}
