//! Where a tower's weights come from, behind candle's `VarBuilder`.
//!
//! What is wrong with a checkpoint is told here, by file and tensor. Nothing here knows what the tensors are for.

mod checkpoint;
mod element;
mod entry;
mod fingerprint;
mod header;
mod layers;
mod names;
mod random;
mod rows;
mod shards;
mod source;
mod spelling;
mod streamed;
mod to_device;
mod wrapper;

use std::sync::Arc;

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::{Init, var_builder::SimpleBackend};

use super::error::ModelError;
pub use checkpoint::Checkpoint;
pub(super) use layers::{LinearWeights, NormWeights};
pub(super) use names::PROJECTION;
pub use names::Scope;
pub use random::RandomWeights;
pub use shards::vision_shards;
pub(super) use source::Source;
pub(super) use streamed::{Loaded, Spares, Streamed, pack};

/// A source of named tensors; a clone is the same one.
#[derive(Clone, Debug)]
pub enum Weights {
    /// Tensors of safetensors files.
    Checkpoint(Arc<Checkpoint>),
    /// Tensors made from a seed.
    Random(RandomWeights),
}

impl Weights {
    /// What identifies these weights in the metadata of an output: a hash of a checkpoint's tensors, or the seed.
    ///
    /// # Errors
    /// A checkpoint's file cannot be read.
    pub fn fingerprint(&self) -> std::result::Result<String, ModelError> {
        match self {
            Self::Checkpoint(checkpoint) => checkpoint.fingerprint(),
            Self::Random(random) => Ok(format!("random:{}", random.seed())),
        }
    }

    /// Whether there is such a tensor; `name` is spelled as in a full CLIPModel. Random weights have every one.
    pub(super) fn contains(&self, name: &str) -> bool {
        match self {
            Self::Checkpoint(checkpoint) => checkpoint.contains(name),
            Self::Random(_) => true,
        }
    }

    /// What the files call a tensor.
    pub(super) fn spell(&self, name: &str) -> String {
        match self {
            Self::Checkpoint(checkpoint) => checkpoint.spell(name),
            Self::Random(_) => name.to_owned(),
        }
    }

    fn read(&self, name: &str, shape: &[usize]) -> std::result::Result<Vec<f32>, ModelError> {
        match self {
            Self::Checkpoint(checkpoint) => checkpoint.read(name, shape),
            Self::Random(random) => Ok(random.tensor(name, shape)),
        }
    }

    /// Sees that there is a tensor of this shape that can be read.
    pub(super) fn check(&self, name: &str, shape: &[usize]) -> std::result::Result<(), ModelError> {
        match self {
            Self::Checkpoint(checkpoint) => checkpoint.find(name, shape).map(drop),
            Self::Random(_) => Ok(()),
        }
    }

    /// Reads as many elements of a tensor of this shape as there is room for, from the one at `first` on in row-major
    /// order, on the calling thread.
    pub(super) fn read_elements(
        &self,
        name: &str,
        shape: &[usize],
        first: usize,
        into: &mut [f32],
    ) -> std::result::Result<(), ModelError> {
        match self {
            Self::Checkpoint(checkpoint) => {
                let entry = checkpoint.find(name, shape)?;
                checkpoint.read_elements(entry, first, into)
            }
            Self::Random(random) => {
                random.elements(name, shape, first, into);
                Ok(())
            }
        }
    }
}

/// `name` is below `vision_model.` as in a full CLIPModel, whatever the checkpoint's own prefix.
impl SimpleBackend for &Weights {
    fn get(&self, shape: Shape, name: &str, _: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        let values = self.read(name, shape.dims())?;
        Tensor::from_vec(values, shape, device)?.to_dtype(dtype)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        candle_core::bail!("{name}: a weight is only read with the shape that the config gives it")
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.contains(name)
    }
}
