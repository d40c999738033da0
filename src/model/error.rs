//! What can be wrong with a model.

use std::{io, path::PathBuf};

use thiserror::Error;

use crate::device::DeviceError;

/// Why a model could not be opened, loaded or run.
///
/// ```
/// use clip_features::{Layers, ModelError, ModelSpec, Opened, Options, TensorKind};
///
/// let mut options = Options::default();
/// options.request.tensors = vec![TensorKind::HiddenStates];
/// options.request.layers = Some(Layers::one(30));
/// match Opened::open(&ModelSpec::Random { seed: 0, directory: None }, options) {
///     Err(ModelError::NoSuchLayer { first, last, .. }) => assert_eq!((first, last), (-25, 24)),
///     other => panic!("{other:?}"),
/// }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory or file that is no checkpoint.
    #[error("{}: {reason}\nhint: {hint}", path.display())]
    NotACheckpoint {
        /// What was given.
        path: PathBuf,
        /// What is missing.
        reason: String,
        /// The way out.
        hint: String,
    },
    /// A directory with a config, and without weights in a form that is read.
    #[error("{}: has neither model.safetensors nor model.safetensors.index.json", path.display())]
    NoWeights {
        /// The directory.
        path: PathBuf,
    },
    /// A `config.json` that this tower cannot follow.
    #[error("{}: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The field and what is wrong with it.
        reason: String,
    },
    /// A safetensors file, or an index of shards, that does not hold together.
    #[error("{}: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What does not hold together.
        reason: String,
    },
    /// A safetensors file that was whole when it was opened, and is not any more.
    #[error("{}: was cut short while it was read: tensor {tensor} is not whole any more", path.display())]
    Cut {
        /// The file.
        path: PathBuf,
        /// The tensor's full name in the file.
        tensor: String,
    },
    /// A tensor that the tower needs and the checkpoint lacks.
    #[error("{}: tensor {tensor} is missing, expected shape {expected:?}", path.display())]
    MissingTensor {
        /// The checkpoint.
        path: PathBuf,
        /// The tensor's full name, as this checkpoint would spell it.
        tensor: String,
        /// The shape that the config asks for.
        expected: Vec<usize>,
    },
    /// A checkpoint none of whose names is a vision tower's.
    #[error(
        "{}: none of its tensors is a vision tower's, such as {tensor}; their names begin with {names:?}\n\
         hint: save the model itself, as its save_pretrained does, without what it is wrapped in",
        path.display()
    )]
    NoTower {
        /// The checkpoint.
        path: PathBuf,
        /// The full name of a tensor that the tower needs.
        tensor: String,
        /// What all names begin with, or the first of them.
        names: String,
    },
    /// Changes to a model's weights, by one of PEFT's methods, in place of the weights.
    #[error(
        "{}: tensor {tensor} is missing; it holds changes to weights that are elsewhere, such as {change}, as an adapter does\n\
         hint: save what merge_and_unload() of PEFT gives: the model with the adapter in it",
        path.display()
    )]
    Adapter {
        /// The checkpoint.
        path: PathBuf,
        /// The full name of a tensor that the tower needs.
        tensor: String,
        /// The name of a change.
        change: String,
    },
    /// A weight with which every feature would be no number.
    #[error(
        "{}: tensor {tensor} holds values that are infinite or no number, and so would every feature\n\
         hint: download it or save it again; float16 makes infinities of values above 65504, which bfloat16 and float32 hold",
        path.display()
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor's full name in the file.
        tensor: String,
    },
    /// A tensor whose shape is not what the config says.
    #[error("{}: tensor {tensor} has shape {found:?}, expected {expected:?} by the config", path.display())]
    TensorShape {
        /// The file.
        path: PathBuf,
        /// The tensor's full name in the file.
        tensor: String,
        /// The shape that the config asks for.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A tensor of a type that no weight has.
    #[error("{}: tensor {tensor} is {dtype}, expected F32, F16 or BF16", path.display())]
    TensorDtype {
        /// The file.
        path: PathBuf,
        /// The tensor's full name in the file.
        tensor: String,
        /// The type in the file, as safetensors spells it.
        dtype: String,
    },
    /// An input that does not fit the tower.
    #[error("pixel_values of {height}x{width} do not fit the tower, which takes {expected}x{expected}")]
    PixelShape {
        /// The tower's image size.
        expected: usize,
        /// Rows given.
        height: usize,
        /// Columns given.
        width: usize,
    },
    /// A processor that cuts other patches than the tower takes.
    #[error("the processor's patches are {processor}x{processor}, and the tower's {tower}x{tower}")]
    PatchSize {
        /// Edge of the processor's.
        processor: usize,
        /// Edge of the tower's.
        tower: usize,
    },
    /// An input for which there is not the memory.
    #[error(
        "pixel_values of {height}x{width} are {tokens} tokens, which take {needed} of memory at the least, and {available} are there"
    )]
    Memory {
        /// Rows given.
        height: usize,
        /// Columns given.
        width: usize,
        /// Tokens of it.
        tokens: usize,
        /// What a forward pass of it takes, for a person to read.
        needed: String,
        /// What the machine, its container, or a limit of the process leaves.
        available: String,
    },
    /// An input in which there is no patch.
    #[error(
        "pixel_values of {height}x{width} do not fit the tower, whose patches are {patch_size}x{patch_size}"
    )]
    NoPatch {
        /// Edge of a patch.
        patch_size: usize,
        /// Rows given.
        height: usize,
        /// Columns given.
        width: usize,
    },
    /// A tensor that this tower does not give.
    #[error("{tensor}: {reason}\nhint: {hint}")]
    NoSuchTensor {
        /// The tensor asked for.
        tensor: &'static str,
        /// Why there is none.
        reason: String,
        /// The way out.
        hint: String,
    },
    /// A patch that pictures do not have.
    #[error("{0}")]
    NoSuchPatch(String),
    /// A layer that the tower does not have.
    #[error("layer {layer}: {tensor} has layers {first} to {last}, negative ones counted from the end")]
    NoSuchLayer {
        /// The tensor whose layer was asked for.
        tensor: &'static str,
        /// The index asked for.
        layer: i64,
        /// The lowest valid index.
        first: i64,
        /// The highest valid index.
        last: i64,
    },
    /// A tensor that a tower gives, but that it was not loaded for.
    #[error("the tower was loaded for less than is asked of it")]
    NotLoaded,
    /// The system gives no threads to compute with.
    #[error("{threads} threads cannot be started: {reason}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the system said.
        reason: String,
    },
    /// The tower cannot be computed as was asked.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Candle's own error.
    #[error("{0}")]
    Candle(candle_core::Error),
}

/// Lets an error pass through candle's constructors, which know only their own type.
impl From<ModelError> for candle_core::Error {
    fn from(error: ModelError) -> Self {
        let context = "in the vision tower".to_owned();
        Self::WrappedContext { wrapped: Box::new(error), context }
    }
}

/// Gives back a [`ModelError`] that travelled through candle, and wraps what is candle's own.
impl From<candle_core::Error> for ModelError {
    fn from(error: candle_core::Error) -> Self {
        match error {
            candle_core::Error::WrappedContext { wrapped, context } => match wrapped.downcast::<Self>() {
                Ok(ours) => *ours,
                Err(wrapped) => Self::Candle(candle_core::Error::WrappedContext { wrapped, context }),
            },
            other => Self::Candle(other),
        }
    }
}
