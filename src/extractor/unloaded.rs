//! A tower that is not read yet.

use crate::device::Road;
use crate::model::{Mlp, ModelError, VisionConfig, VisionTower, Wanted, Weights};

/// A tower whose config and headers have been checked, and whose weights are still on disk.
#[derive(Debug)]
pub(super) struct UnloadedTower {
    wanted: Wanted,
    pub(super) config: VisionConfig,
    pub(super) weights: Weights,
}

impl UnloadedTower {
    /// Sees that the weights hold what is wanted.
    pub(super) fn new(wanted: Wanted, config: VisionConfig, weights: Weights) -> Result<Self, ModelError> {
        wanted.check(&config, &weights)?;
        Ok(Self { wanted, config, weights })
    }

    /// Bytes that its blocks' weights take on a road, which is most of all.
    pub(super) fn bytes(&self, road: &Road) -> u64 {
        let VisionConfig { hidden_size: width, intermediate_size: inner, mlp, .. } = self.config;
        let matrices = if matches!(mlp, Mlp::Gated(_)) { 3 } else { 2 };
        let block = 4 * width * width + matrices * width * inner;
        (self.wanted.depth(&self.config) * block * road.weight_bytes()) as u64
    }

    /// Reads the weights, or leaves them for the forward pass to read if there will be one only, and it reads them once: our kernels do.
    pub(super) fn load(&self, road: &Road, once: bool) -> Result<VisionTower, ModelError> {
        let (wanted, config, weights) = (&self.wanted, self.config.clone(), &self.weights);
        match road {
            Road::Kernels(compute) if once && wanted.attentions.is_empty() && !wanted.padding => {
                VisionTower::stream_for(wanted, config, weights, *compute)
            }
            road => VisionTower::load_for(wanted, config, weights, road),
        }
    }
}
