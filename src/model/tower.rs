//! The vision tower: `pixel_values` → `last_hidden_state`.

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use super::{
    ModelError, Weights, config::VisionConfig, embeddings::Embeddings, encoder::Encoder,
    layer_norm::LayerNorm,
};

/// A CLIP vision transformer up to its last block; what comes after (`post_layernorm`, the projection) is no
/// part of `last_hidden_state` and is not loaded.
#[derive(Debug)]
pub struct VisionTower {
    embeddings: Embeddings,
    pre_layernorm: LayerNorm,
    encoder: Encoder,
    config: VisionConfig,
}

impl VisionTower {
    /// Reads the tower's weights, as float32, onto a device.
    ///
    /// # Errors
    /// A tensor is missing, has another shape than `config` says, or cannot be read; the error names it.
    pub fn load(config: VisionConfig, weights: &Weights, device: &Device) -> Result<Self, ModelError> {
        let vb = VarBuilder::from_backend(Box::new(weights), DType::F32, device.clone()).pp("vision_model");
        Ok(Self {
            embeddings: Embeddings::load(&config, &vb.pp("embeddings"))?,
            // The checkpoints really spell it so.
            pre_layernorm: LayerNorm::load(
                config.hidden_size,
                config.layer_norm_eps,
                &vb.pp("pre_layrnorm"),
            )?,
            encoder: Encoder::load(&config, &vb.pp("encoder"))?,
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

    /// `pixel_values` (B, 3, image_size, image_size) → `last_hidden_state` (B, tokens, hidden_size): the last
    /// block's output, which no layer norm follows.
    ///
    /// # Errors
    /// `pixel_values` has another shape, or candle fails.
    pub fn forward(&self, pixel_values: &Tensor) -> Result<Tensor, ModelError> {
        let x = self.embed(pixel_values)?;
        Ok(self.encoder.forward(&x, |_| ())?)
    }

    /// Every entry of transformers' `hidden_states`: the output of the pre-norm, then of each block;
    /// N + 1 tensors (B, tokens, hidden_size), the last of which is `last_hidden_state`.
    ///
    /// # Errors
    /// As [`VisionTower::forward`].
    pub fn hidden_states(&self, pixel_values: &Tensor) -> Result<Vec<Tensor>, ModelError> {
        let mut states = vec![self.embed(pixel_values)?];
        let first = states[0].clone();
        self.encoder.forward(&first, |state| states.push(state.clone()))?;
        Ok(states)
    }

    /// The tokens before the pre-norm: patch, class and position embeddings, (B, tokens, hidden_size).
    ///
    /// # Errors
    /// As [`VisionTower::forward`].
    pub fn embeddings(&self, pixel_values: &Tensor) -> Result<Tensor, ModelError> {
        let (_, _, height, width) = pixel_values.dims4()?;
        self.check(height, width)?;
        Ok(self.embeddings.forward(pixel_values)?)
    }

    fn embed(&self, pixel_values: &Tensor) -> Result<Tensor, ModelError> {
        Ok(self.pre_layernorm.forward(&self.embeddings(pixel_values)?)?)
    }
}
