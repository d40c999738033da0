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
        Self::load_as(DType::F32, config, weights, device)
    }

    /// [`VisionTower::load`] with another type to compute in.
    fn load_as(
        dtype: DType,
        config: VisionConfig,
        weights: &Weights,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let vb = VarBuilder::from_backend(Box::new(weights), dtype, device.clone()).pp("vision_model");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Activation, RandomWeights};

    /// Two blocks of sizes that fill no register tile and no depth block.
    fn config(hidden_act: Activation) -> VisionConfig {
        VisionConfig {
            hidden_size: 300,
            intermediate_size: 530,
            num_hidden_layers: 2,
            num_attention_heads: 5,
            image_size: 70,
            patch_size: 10,
            hidden_act,
            ..VisionConfig::vit_large_patch14()
        }
    }

    fn noise(batch: usize) -> Tensor {
        let values = RandomWeights::new(9).tensor("pixel_values", &[batch, 3, 70, 70]);
        (Tensor::from_vec(values, (batch, 3, 70, 70), &Device::Cpu).unwrap() * 50.0).unwrap()
    }

    fn flat(tensor: &Tensor) -> Vec<f64> {
        tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    /// In float64 the tower computes with candle's own operations, as it does on a GPU.
    #[test]
    fn the_kernels_agree_with_candle_in_float64() {
        let weights = Weights::Random(RandomWeights::new(3));
        let x = noise(2);
        for activation in [Activation::QuickGelu, Activation::Gelu, Activation::GeluTanh] {
            let load =
                |dtype| VisionTower::load_as(dtype, config(activation), &weights, &Device::Cpu).unwrap();
            let ours = flat(&load(DType::F32).forward(&x).unwrap());
            let plain = flat(&load(DType::F64).forward(&x.to_dtype(DType::F64).unwrap()).unwrap());
            let difference: f64 = ours.iter().zip(&plain).map(|(a, b)| (a - b).powi(2)).sum();
            let norm: f64 = plain.iter().map(|v| v.powi(2)).sum();
            let error = (difference / norm).sqrt();
            assert!(error < 5e-7, "{activation:?}: {error:e}");
        }
    }

    #[test]
    fn an_image_has_the_same_bytes_in_any_batch_and_on_any_threads() {
        let weights = Weights::Random(RandomWeights::new(3));
        let tower = VisionTower::load(config(Activation::QuickGelu), &weights, &Device::Cpu).unwrap();
        let images = noise(8);
        let bits = |x: &Tensor, threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let y = pool.install(|| tower.forward(x)).unwrap();
            let y: Vec<f32> = y.flatten_all().unwrap().to_vec1().unwrap();
            y.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        let all = bits(&images, 1);
        let tokens = 50 * 300;
        for (first, count) in [(0, 1), (5, 1), (2, 3), (0, 8)] {
            let part = images.narrow(0, first, count).unwrap();
            for threads in [1, 2, 3, 8] {
                assert!(
                    bits(&part, threads) == all[first * tokens..][..count * tokens],
                    "{first} {count} {threads}"
                );
            }
        }
    }
}
