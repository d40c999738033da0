//! A tower that is not read yet.

use candle_core::Device;

use crate::kernels::{Compute, MatmulPrecision};
use crate::model::{ModelError, VisionConfig, VisionTower, Wanted, Weights};

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

    /// Reads the weights, or leaves them for the forward pass to read if there will be one only, and it reads them once.
    pub(super) fn load(&self, precision: MatmulPrecision, once: bool) -> Result<VisionTower, ModelError> {
        let (wanted, config, weights) = (&self.wanted, self.config.clone(), &self.weights);
        if once && wanted.attentions.is_empty() && !wanted.padding {
            return VisionTower::stream_for(wanted, config, weights, Compute::best(precision));
        }
        VisionTower::load_for(wanted, config, weights, Compute::best(precision), &Device::Cpu)
    }
}
