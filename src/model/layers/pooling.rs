//! Tokens → one.

use candle_core::{DType, Result, Tensor};

use super::attention_pool::AttentionPool;
use crate::model::{
    config::VisionConfig,
    traits::{Pooling, Traits},
    weights::Source,
};

/// What pools the tokens.
#[derive(Debug)]
pub(crate) struct Pool {
    kind: Kind,
    /// Tokens before the first that is pooled.
    skipped: usize,
}

#[derive(Debug)]
enum Kind {
    ClassToken,
    Mean,
    Max,
    MeanMax,
    Attention(Box<AttentionPool>),
}

impl Pool {
    /// Reads what the config's pooling has of weights, at `source`; none if nothing pools.
    pub(crate) fn load(config: &VisionConfig, source: &Source) -> Result<Option<Self>> {
        let Traits { pooling, pools_prefix, .. } = config.traits();
        let kind = match pooling {
            Pooling::Absent(_) => return Ok(None),
            Pooling::ClassToken => Kind::ClassToken,
            Pooling::Mean => Kind::Mean,
            Pooling::Max => Kind::Max,
            Pooling::MeanMax => Kind::MeanMax,
            Pooling::Attention => Kind::Attention(Box::new(AttentionPool::load(config, source)?)),
        };
        Ok(Some(Self { kind, skipped: if pools_prefix { 0 } else { config.prefix_tokens() } }))
    }

    /// Whether it takes the class token and no other.
    pub(crate) fn takes_one(&self) -> bool {
        matches!(self.kind, Kind::ClassToken)
    }

    /// `x` (B, T, width) → (B, 1, width).
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if self.takes_one() {
            return x.narrow(1, 0, 1)?.contiguous();
        }
        let x = x.narrow(1, self.skipped, x.dim(1)? - self.skipped)?.contiguous()?; // (B, T', width)
        // The sum of hundreds of tokens, most of which cancel out, loses digits in float32.
        let mean = || x.to_dtype(DType::F64)?.mean_keepdim(1)?.to_dtype(x.dtype());
        match &self.kind {
            Kind::ClassToken | Kind::Mean => mean(),
            Kind::Max => x.max_keepdim(1),
            Kind::MeanMax => (mean()? + x.max_keepdim(1)?)? * 0.5,
            Kind::Attention(pool) => pool.forward(&x),
        }
    }
}
