//! The vision tower: `pixel_values` → `last_hidden_state` and the tensors on the way there.

use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::{
    config::Family,
    config::VisionConfig,
    error::ModelError,
    layers::embeddings::Embeddings,
    layers::encoder::Encoder,
    layers::head::Head,
    layers::layer_norm::LayerNorm,
    layers::projector::Projector,
    layers::rotary::Rotary,
    outputs::{Outputs, Wanted},
    weights::Source,
    weights::Spares,
    weights::Weights,
};
use crate::kernels::Compute;

/// A vision transformer of any family, as much of it as was asked for.
#[derive(Debug)]
pub struct VisionTower {
    embeddings: Embeddings,
    /// Where positions come in as rotations of queries and keys.
    rotary: Option<Rotary>,
    pre_norm: Option<LayerNorm>,
    encoder: Encoder,
    head: Head,
    /// What takes tokens to a language model, if that was asked for.
    projector: Option<Projector>,
    config: VisionConfig,
}

impl VisionTower {
    /// Reads what `last_hidden_state` needs, as float32, onto a device.
    ///
    /// # Errors
    /// As [`VisionTower::load_for`].
    pub fn load(config: VisionConfig, weights: &Weights, device: &Device) -> Result<Self, ModelError> {
        Self::load_for(&Wanted::last_hidden_state(), config, weights, Compute::default(), device)
    }

    /// Reads what the wanted tensors need, as float32, onto a device. Blocks above are neither read nor kept. `compute`
    /// is for a CPU; elsewhere products are candle's.
    ///
    /// # Errors
    /// A tensor is missing, has another shape than `config` says, or cannot be read; the error names it. The tower
    /// has no such output.
    pub fn load_for(
        wanted: &Wanted,
        config: VisionConfig,
        weights: &Weights,
        compute: Compute,
        device: &Device,
    ) -> Result<Self, ModelError> {
        Self::build(wanted, config, &Source::new(weights, device, compute, None))
    }

    /// The same on the CPU, but the linear layers stay where they are, and each forward pass reads them anew: for a
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
        let spares = Some(Arc::new(Spares::default()));
        Self::build(wanted, config, &Source::new(weights, &Device::Cpu, compute, spares))
    }

    fn build(wanted: &Wanted, config: VisionConfig, root: &Source) -> Result<Self, ModelError> {
        wanted.check(&config, root.weights())?;
        let wanted = &wanted.with_sources(&config);
        let depth = wanted.depth(&config);
        let source = root.pp("vision_model");
        // The checkpoints really spell it so.
        let pre_norm = config
            .traits()
            .pre_norm
            .then(|| LayerNorm::load(config.hidden_size, config.layer_norm_eps, &source.pp("pre_layrnorm")));
        let projector = match &config.image_features {
            Ok(features) if wanted.image_features => Some(Projector::load(&config, features, root)?),
            _ => None,
        };
        Ok(Self {
            embeddings: Family::embeddings(&config, &source)?,
            rotary: Rotary::new(&config, source.device()),
            pre_norm: pre_norm.transpose()?,
            encoder: Encoder::load(&config, &Family::block_names(&config, &source), depth, &source)?,
            head: Head::load(&config, wanted, root, &source)?,
            projector,
            config,
        })
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

    /// `pixel_values` (B, 3, H, W) → the wanted tensors. H and W are `image_size` unless the config interpolates.
    ///
    /// # Errors
    /// `pixel_values` has a shape that the tower does not take, the tower was loaded for less, its weights are streamed
    /// and cannot be read, or candle fails.
    pub fn outputs(&self, pixel_values: &Tensor, wanted: &Wanted) -> Result<Outputs, ModelError> {
        let needed = &wanted.with_sources(&self.config);
        let depth = needed.depth(&self.config);
        let is_projected = !wanted.image_features || self.projector.is_some();
        if depth > self.encoder.depth() || !self.head.gives(needed) || !is_projected {
            return Err(ModelError::NotLoaded);
        }
        let mut outputs = Outputs::default();
        let (_, _, height, width) = pixel_values.dims4()?;
        let patch = self.config.patch_size;
        let rotation =
            self.rotary.as_ref().map(|rotary| rotary.at(height / patch, width / patch)).transpose()?;
        let normed = |embeddings: Tensor| match &self.pre_norm {
            Some(norm) => norm.forward(&embeddings),
            None => Ok(embeddings),
        };
        let x = normed(self.embeddings(pixel_values)?)?; // (B, T, width)
        let padding = if wanted.padding { Some(normed(self.padding(pixel_values)?)?) } else { None }; // (B, 1, width)
        let (x, padding) =
            self.encoder.forward(x, padding, rotation.as_deref(), depth, needed, &mut outputs)?; // (B, T, width)
        if depth == self.config.num_hidden_layers {
            self.head.forward(&x, padding.as_ref(), needed, &mut outputs)?;
        }
        if let (true, Some(projector)) = (wanted.image_features, &self.projector) {
            outputs.image_features = projector.forward(&outputs)?; // (B, T', width of the language model)
        }
        outputs.keep(wanted);
        Ok(outputs)
    }

    /// The tokens before anything is done to them: patch, class, register and position embeddings,
    /// (B, tokens, hidden_size).
    ///
    /// # Errors
    /// As [`VisionTower::outputs`].
    pub fn embeddings(&self, pixel_values: &Tensor) -> Result<Tensor, ModelError> {
        let (_, _, height, width) = pixel_values.dims4()?;
        self.check(height, width)?;
        Ok(self.embeddings.forward(pixel_values)?)
    }

    /// A patch of padding for each of these pictures, (B, 1, hidden_size).
    fn padding(&self, pixel_values: &Tensor) -> Result<Tensor, ModelError> {
        let padding = self.embeddings.padding(pixel_values)?; // (1, 1, width)
        Ok(padding.expand((pixel_values.dim(0)?, 1, self.config.hidden_size))?.contiguous()?)
    }
}
