//! Tokens → one.

use candle_core::{Result, Tensor};

use super::attention_pool::AttentionPool;
use crate::model::{
    config::VisionConfig,
    ops::Ops,
    traits::{Pooling, Traits},
    weights::Source,
};

/// What pools the tokens.
#[derive(Debug)]
pub(crate) struct Pool<O: Ops> {
    kind: Kind<O>,
    /// Tokens before the first that is pooled.
    skipped: usize,
}

#[derive(Debug)]
enum Kind<O: Ops> {
    ClassToken,
    Mean,
    Max,
    MeanMax,
    Attention(Box<AttentionPool<O>>),
}

impl<O: Ops> Pool<O> {
    /// Reads what the config's pooling has of weights, at `source`; none if nothing pools.
    pub(crate) fn load(ops: &O, config: &VisionConfig, source: &Source) -> Result<Option<Self>> {
        let Traits { pooling, pools_prefix, .. } = config.traits();
        let kind = match pooling {
            Pooling::Absent(_) => return Ok(None),
            Pooling::ClassToken => Kind::ClassToken,
            Pooling::Mean => Kind::Mean,
            Pooling::Max => Kind::Max,
            Pooling::MeanMax => Kind::MeanMax,
            Pooling::Attention => Kind::Attention(Box::new(AttentionPool::load(ops, config, source)?)),
        };
        Ok(Some(Self { kind, skipped: if pools_prefix { 0 } else { config.prefix_tokens() } }))
    }

    /// Whether it takes the class token and no other.
    pub(crate) fn takes_one(&self) -> bool {
        matches!(self.kind, Kind::ClassToken)
    }

    /// `x` (B, T, width) → (B, 1, width).
    pub(crate) fn forward(&self, ops: &O, x: &Tensor) -> Result<Tensor> {
        if self.takes_one() {
            return x.narrow(1, 0, 1)?.contiguous();
        }
        let x = x.narrow(1, self.skipped, x.dim(1)? - self.skipped)?.contiguous()?; // (B, T', width)
        // The sum of hundreds of tokens, most of which cancel out, loses digits in float32.
        let mean = || ops.widened(&x)?.mean_keepdim(1)?.to_dtype(x.dtype());
        match &self.kind {
            Kind::ClassToken | Kind::Mean => mean(),
            Kind::Max => x.max_keepdim(1),
            Kind::MeanMax => (mean()? + x.max_keepdim(1)?)? * 0.5,
            Kind::Attention(pool) => pool.forward(ops, &x),
        }
    }
}
