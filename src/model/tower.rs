//! The vision tower: `pixel_values` → `last_hidden_state` and the tensors on the way there.

use candle_core::{DType, Device, Tensor};

use super::{
    config::VisionConfig,
    error::ModelError,
    ops::{CandleOps, KernelOps},
    outputs::{Outputs, Wanted},
    parts::Parts,
    weights::Weights,
};
use crate::{device::Road, kernels::Compute};

/// A vision transformer of any family, as much of it as was asked for.
#[derive(Debug)]
pub struct VisionTower {
    config: VisionConfig,
    parts: OnRoad,
}

/// The parts, all of them on one road.
#[derive(Debug)]
enum OnRoad {
    Kernels(Box<Parts<KernelOps>>),
    Candle(Box<Parts<CandleOps>>),
}

impl VisionTower {
    /// Reads what `last_hidden_state` needs.
    ///
    /// # Errors
    /// As [`VisionTower::load_for`].
    pub fn load(config: VisionConfig, weights: &Weights, road: &Road) -> Result<Self, ModelError> {
        Self::load_for(&Wanted::last_hidden_state(), config, weights, road)
    }

    /// Reads what the wanted tensors need to where it is computed. Blocks above are neither read nor kept.
    ///
    /// # Errors
    /// A tensor is missing, has another shape than `config` says, or cannot be read; the error names it. The tower
    /// has no such output.
    pub fn load_for(
        wanted: &Wanted,
        config: VisionConfig,
        weights: &Weights,
        road: &Road,
    ) -> Result<Self, ModelError> {
        let parts = match road {
            Road::Kernels(compute) => {
                let ops = KernelOps::loaded(*compute);
                OnRoad::Kernels(Parts::build(ops, wanted, &config, weights)?.into())
            }
            Road::Candle(on) => {
                OnRoad::Candle(Parts::build(CandleOps::new(on), wanted, &config, weights)?.into())
            }
        };
        Ok(Self { config, parts })
    }

    /// The same on our kernels, but the linear layers stay where they are, and each forward pass reads them anew: for a
    /// single image faster than loading them, in a tenth of the memory. Attentions read a block's query, key and value
    /// a second time.
    ///
    /// # Errors
    /// As [`VisionTower::load_for`]. What cannot be read is found in the forward pass.
    pub fn stream_for(
        wanted: &Wanted,
        config: VisionConfig,
        weights: &Weights,
        compute: Compute,
    ) -> Result<Self, ModelError> {
        let parts = Parts::build(KernelOps::streamed(compute), wanted, &config, weights)?;
        Ok(Self { config, parts: OnRoad::Kernels(parts.into()) })
    }

    /// The sizes that the tower was built with.
    pub fn config(&self) -> &VisionConfig {
        &self.config
    }

    /// Whether `pixel_values` of this size fit.
    ///
    /// # Errors
    /// They do not.
    pub fn check(&self, height: usize, width: usize) -> Result<(), ModelError> {
        self.config.check(height, width)
    }

    /// `pixel_values` (B, 3, H, W) → `last_hidden_state` (B, tokens, hidden_size).
    ///
    /// # Errors
    /// As [`VisionTower::outputs`].
    pub fn forward(&self, pixel_values: &Tensor) -> Result<Tensor, ModelError> {
        let outputs = self.outputs(pixel_values, &Wanted::last_hidden_state())?;
        Ok(outputs.last_hidden_state.expect("a wanted output is given"))
    }

    /// `pixel_values` (B, 3, H, W) → the wanted tensors, both the host's. H and W are `image_size` unless the config interpolates.
    ///
    /// # Errors
    /// `pixel_values` has a shape that the tower does not take, the tower was loaded for less, its weights are streamed
    /// and cannot be read, or candle fails.
    pub fn outputs(&self, pixel_values: &Tensor, wanted: &Wanted) -> Result<Outputs, ModelError> {
        self.outputs_as(pixel_values, wanted, DType::F32)
    }

    /// The same for tensors that will be stored in a type: candle rounds them to it where they are, so that no more is brought to the
    /// host. Those of our kernels are there already, and stay as they are.
    ///
    /// # Errors
    /// As [`VisionTower::outputs`].
    pub fn outputs_as(
        &self,
        pixel_values: &Tensor,
        wanted: &Wanted,
        stored: DType,
    ) -> Result<Outputs, ModelError> {
        self.check_input(pixel_values)?;
        let (outputs, dtype) = match &self.parts {
            OnRoad::Kernels(parts) => (parts.outputs(&self.config, pixel_values, wanted)?, DType::F32),
            OnRoad::Candle(parts) => (parts.outputs(&self.config, pixel_values, wanted)?, stored),
        };
        Ok(outputs.into_host(dtype)?)
    }

    /// The tokens before anything is done to them: patch, class, register and position embeddings,
    /// (B, tokens, hidden_size).
    ///
    /// # Errors
    /// As [`VisionTower::outputs`].
    pub fn embeddings(&self, pixel_values: &Tensor) -> Result<Tensor, ModelError> {
        self.check_input(pixel_values)?;
        let embeddings = match &self.parts {
            OnRoad::Kernels(parts) => parts.embeddings(pixel_values)?,
            OnRoad::Candle(parts) => parts.embeddings(pixel_values)?,
        };
        Ok(embeddings.to_device(&Device::Cpu)?)
    }

    fn check_input(&self, pixel_values: &Tensor) -> Result<(), ModelError> {
        let (_, _, height, width) = pixel_values.dims4()?;
        self.check(height, width)
    }
}
