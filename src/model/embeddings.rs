//! Pixels → tokens: the patch convolution, the class token and the position embeddings.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::{config::VisionConfig, linear::Linear};

/// The tower's input layer.
#[derive(Debug)]
pub(crate) struct Embeddings {
    /// The patch convolution. Its stride is its size, so it is a linear layer on flattened patches.
    patch_embedding: Linear,
    class_embedding: Tensor,
    position_embedding: Tensor,
    patch_size: usize,
}

impl Embeddings {
    pub(crate) fn load(config: &VisionConfig, vb: &VarBuilder) -> Result<Self> {
        let VisionConfig { hidden_size: width, patch_size: p, .. } = *config;
        let kernel = vb.get((width, 3, p, p), "patch_embedding.weight")?;
        Ok(Self {
            patch_embedding: Linear::without_bias(kernel.reshape((width, 3 * p * p))?)?,
            class_embedding: vb.get(width, "class_embedding")?.reshape((1, 1, width))?,
            position_embedding: vb.get((config.tokens(), width), "position_embedding.weight")?,
            patch_size: p,
        })
    }

    /// `pixel_values` (B, 3, H, W) → tokens (B, 1 + H/p · W/p, width), the class token first, patches by rows.
    pub(crate) fn forward(&self, pixel_values: &Tensor) -> Result<Tensor> {
        let patches = self.patch_embedding.forward(&self.unfold(pixel_values)?)?; // (B, N, width)
        let (batch, _, width) = patches.dims3()?;
        let class = self.class_embedding.expand((batch, 1, width))?; // (B, 1, width)
        Tensor::cat(&[class, patches], 1)?.broadcast_add(&self.position_embedding) // (B, 1 + N, width)
    }

    /// Cuts the picture into flattened patches (B, N, 3·p·p), each in the kernel's (channel, row, column) order.
    fn unfold(&self, pixel_values: &Tensor) -> Result<Tensor> {
        let p = self.patch_size;
        let (batch, channels, height, width) = pixel_values.dims4()?;
        let (rows, columns) = (height / p, width / p);
        pixel_values
            .narrow(2, 0, rows * p)? // a convolution ignores the edge that does not fill a patch
            .narrow(3, 0, columns * p)?
            .contiguous()?
            .reshape((batch, channels, rows, p, columns, p))?
            .permute((0, 2, 4, 1, 3, 5))? // (B, rows, columns, 3, p, p)
            .contiguous()?
            .reshape((batch, rows * columns, channels * p * p))
    }
}
