//! Pixels → tokens: the patch convolution, the tokens before the patches, and the position embeddings.

use std::sync::Mutex;

use candle_core::{Result, Tensor};

use super::{cpu, linear::Linear, positions};
use crate::model::{config::VisionConfig, traits::Interpolation};

/// A tower's input layer.
#[derive(Debug)]
pub(crate) struct Embeddings {
    /// The patch convolution. Its stride is its size, so it is a linear layer on flattened patches.
    patch_embedding: Linear,
    /// The class token, its position added, and the registers, in the order of the tokens: (P, width).
    prefix: Option<Tensor>,
    /// What is added to the patches; nothing where their places come in by another way.
    positions: Option<Positions>,
    patch_size: usize,
    order: PatchOrder,
}

/// The order of a flattened patch, which is that of the patch embedding's inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchOrder {
    /// (channel, row, column), a convolution's.
    ChannelsFirst,
    /// (row, column, channel).
    ChannelsLast,
}

impl Embeddings {
    /// `patch_embedding` takes flattened patches (3·p·p) of this order; `prefix` is (P, width), `positions` (N, width).
    pub(crate) fn new(
        config: &VisionConfig,
        patch_embedding: Linear,
        order: PatchOrder,
        prefix: Option<Tensor>,
        positions: Tensor,
    ) -> Result<Self> {
        let interpolation = config.traits().interpolation;
        let positions =
            Positions { own: positions, grid: config.grid(), interpolation, other: Mutex::default() };
        let patch_size = config.patch_size;
        Ok(Self { patch_embedding, order, prefix, positions: Some(positions), patch_size })
    }

    /// The same without position embeddings.
    pub(crate) fn unplaced(
        config: &VisionConfig,
        patch_embedding: Linear,
        order: PatchOrder,
        prefix: Option<Tensor>,
    ) -> Result<Self> {
        Ok(Self { patch_embedding, order, prefix, positions: None, patch_size: config.patch_size })
    }

    /// `pixel_values` (B, 3, H, W) → tokens (B, P + H/p · W/p, width), patches by rows.
    pub(crate) fn forward(&self, pixel_values: &Tensor) -> Result<Tensor> {
        let (_, _, height, width) = pixel_values.dims4()?;
        let (rows, columns) = (height / self.patch_size, width / self.patch_size);
        let positions = self.positions.as_ref().map(|positions| positions.at(rows, columns)); // (N, width)
        let positions = positions.transpose()?;
        let patches = self.unfold(pixel_values)?; // (B, N, 3·p·p)
        if let Some(layer) = self.patch_embedding.ready()? {
            let prefix = self.prefix.as_ref().map(|prefix| prefix.flatten_all()?.to_vec1());
            let prefix = prefix.transpose()?.unwrap_or_default();
            return cpu::embed(&patches, &layer, &prefix, positions.as_ref());
        }
        let mut patches = self.patch_embedding.forward(&patches)?; // (B, N, width)
        if let Some(positions) = positions {
            patches = patches.broadcast_add(&positions)?;
        }
        let Some(prefix) = &self.prefix else { return Ok(patches) };
        let (prefix_tokens, width) = prefix.dims2()?;
        let prefix = prefix.expand((patches.dim(0)?, prefix_tokens, width))?; // (B, P, width)
        Tensor::cat(&[&prefix, &patches], 1) // (B, P + N, width)
    }

    /// What a patch of padding is beside pictures (B, 3, H, W): one of zeros, at the first patch's place, (1, 1, width).
    pub(crate) fn padding(&self, pixel_values: &Tensor) -> Result<Tensor> {
        let inputs = 3 * self.patch_size * self.patch_size;
        let zeros = Tensor::zeros((1, 1, inputs), pixel_values.dtype(), pixel_values.device())?;
        let padding = self.patch_embedding.forward(&zeros)?; // (1, 1, width)
        let Some(positions) = &self.positions else { return Ok(padding) };
        let (_, _, height, width) = pixel_values.dims4()?;
        let positions = positions.at(height / self.patch_size, width / self.patch_size)?; // (N, width)
        padding.broadcast_add(&positions.narrow(0, 0, 1)?)
    }

    /// Cuts the picture into flattened patches (B, N, 3·p·p), each in the patch embedding's order.
    fn unfold(&self, pixel_values: &Tensor) -> Result<Tensor> {
        let p = self.patch_size;
        let (batch, channels, height, width) = pixel_values.dims4()?;
        let (rows, columns) = (height / p, width / p);
        pixel_values
            .narrow(2, 0, rows * p)? // a convolution ignores the edge that does not fill a patch
            .narrow(3, 0, columns * p)?
            .contiguous()?
            .reshape((batch, channels, rows, p, columns, p))?
            .permute(match self.order {
                PatchOrder::ChannelsFirst => [0, 2, 4, 1, 3, 5], // (B, rows, columns, 3, p, p)
                PatchOrder::ChannelsLast => [0, 2, 4, 3, 5, 1],  // (B, rows, columns, p, p, 3)
            })?
            .contiguous()?
            .reshape((batch, rows * columns, channels * p * p))
    }
}

/// The patches' position embeddings, learned for a square grid and stretched to others.
#[derive(Debug)]
struct Positions {
    /// (grid · grid, width).
    own: Tensor,
    grid: usize,
    interpolation: Interpolation,
    /// The last other grid that was asked for: a run's images are mostly of one size.
    other: Mutex<Option<((usize, usize), Tensor)>>,
}

impl Positions {
    /// Those of a grid of `rows` × `columns`, (rows · columns, width).
    fn at(&self, rows: usize, columns: usize) -> Result<Tensor> {
        if (rows, columns) == (self.grid, self.grid) {
            return Ok(self.own.clone());
        }
        let mut other = self.other.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((size, positions)) = &*other
            && *size == (rows, columns)
        {
            return Ok(positions.clone());
        }
        let width = self.own.dim(1)?;
        let own = self.own.flatten_all()?.to_vec1::<f32>()?;
        let stretched = positions::stretch(&own, self.grid, rows, columns, self.interpolation);
        let stretched = Tensor::from_vec(stretched, (rows * columns, width), self.own.device())?;
        *other = Some(((rows, columns), stretched.clone()));
        Ok(stretched)
    }
}
