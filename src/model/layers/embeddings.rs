//! Pixels → tokens: the patch convolution, the tokens before the patches, and the position embeddings.

use std::sync::Mutex;

use candle_core::{Device, Result, Tensor};

use super::positions;
use crate::model::{config::VisionConfig, ops::Ops, traits::Interpolation, weights::LinearWeights};

/// What a checkpoint has of an input layer.
#[derive(Debug)]
pub(crate) struct EmbeddingWeights {
    /// The patch convolution. Its stride is its size, so it is a linear layer on flattened patches (3·p·p).
    pub(crate) patch_embedding: LinearWeights,
    /// The order of their elements.
    pub(crate) order: PatchOrder,
    /// The class token, its position added, and the registers, in the order of the tokens: (P, width).
    pub(crate) prefix: Option<Tensor>,
    /// What is added to the patches, (N, width); nothing where their places come in by another way.
    pub(crate) positions: Option<Tensor>,
}

/// The order of a flattened patch, which is that of the patch embedding's inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchOrder {
    /// (channel, row, column), a convolution's.
    ChannelsFirst,
    /// (row, column, channel).
    ChannelsLast,
}

/// A tower's input layer.
#[derive(Debug)]
pub(crate) struct Embeddings<O: Ops> {
    patch_embedding: O::Linear,
    order: PatchOrder,
    prefix: Option<Tensor>,
    positions: Option<Positions>,
    patch_size: usize,
}

impl<O: Ops> Embeddings<O> {
    pub(crate) fn new(ops: &O, config: &VisionConfig, weights: EmbeddingWeights) -> Result<Self> {
        let EmbeddingWeights { patch_embedding, order, prefix, positions } = weights;
        let positions = positions.map(|own| Positions {
            own,
            grid: config.grid(),
            interpolation: config.traits().interpolation,
            last: Mutex::default(),
        });
        Ok(Self {
            patch_embedding: ops.linear(patch_embedding)?,
            order,
            prefix: prefix.map(|prefix| ops.place(&prefix)).transpose()?,
            positions,
            patch_size: config.patch_size,
        })
    }

    /// `pixel_values` (B, 3, H, W) → tokens (B, P + H/p · W/p, width), patches by rows.
    pub(crate) fn forward(&self, ops: &O, pixel_values: &Tensor) -> Result<Tensor> {
        let (_, _, height, width) = pixel_values.dims4()?;
        let (rows, columns) = (height / self.patch_size, width / self.patch_size);
        let positions = self.positions.as_ref().map(|positions| positions.at(ops, rows, columns)); // (N, width)
        let patches = self.unfold(pixel_values)?; // (B, N, 3·p·p)
        ops.embed(&self.patch_embedding, &patches, self.prefix.as_ref(), positions.transpose()?.as_ref())
    }

    /// What a patch of padding is beside pictures (B, 3, H, W): one of zeros, at the first patch's place, (1, 1, width).
    pub(crate) fn padding(&self, ops: &O, pixel_values: &Tensor) -> Result<Tensor> {
        let inputs = 3 * self.patch_size * self.patch_size;
        let zeros = Tensor::zeros((1, 1, inputs), pixel_values.dtype(), pixel_values.device())?;
        let padding = ops.multiply(&self.patch_embedding, &zeros)?; // (1, 1, width)
        let Some(positions) = &self.positions else { return Ok(padding) };
        let (_, _, height, width) = pixel_values.dims4()?;
        let positions = positions.at(ops, height / self.patch_size, width / self.patch_size)?; // (N, width)
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
    /// Of the host, (grid · grid, width).
    own: Tensor,
    grid: usize,
    interpolation: Interpolation,
    /// Those of the last grid that was asked for, where they are added: a run's images are mostly of one size.
    last: Mutex<Option<((usize, usize), Tensor)>>,
}

impl Positions {
    /// Those of a grid of `rows` × `columns`, (rows · columns, width).
    fn at(&self, ops: &impl Ops, rows: usize, columns: usize) -> Result<Tensor> {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((grid, positions)) = &*last
            && *grid == (rows, columns)
        {
            return Ok(positions.clone());
        }
        let positions = match (rows, columns) == (self.grid, self.grid) {
            true => ops.place(&self.own)?,
            false => {
                let width = self.own.dim(1)?;
                let own = self.own.flatten_all()?.to_vec1::<f32>()?;
                let stretched = positions::stretch(&own, self.grid, rows, columns, self.interpolation);
                ops.place(&Tensor::from_vec(stretched, (rows * columns, width), &Device::Cpu)?)?
            }
        };
        *last = Some(((rows, columns), positions.clone()));
        Ok(positions)
    }
}
