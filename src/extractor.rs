//! Bytes of an image → features: what the binary does, for another Rust program to call.

use candle_core::{Device, Tensor};
use thiserror::Error;

use crate::{
    image::{DecodeError, DecodeOptions, Decoded, decode},
    model::{Model, ModelError, VisionTower},
    output::Array,
    processor::{PixelValues, ProcessError, Processor},
};

/// A tensor that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum TensorKind {
    /// The tower's output, every token
    LastHiddenState,
    /// The tower's input, [1, 3, 224, 224]; loads no weights
    PixelValues,
}

impl TensorKind {
    /// The name that transformers gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::LastHiddenState => "last_hidden_state",
            Self::PixelValues => "pixel_values",
        }
    }
}

/// The tokens to keep of (B, 1 + N, width).
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Tokens {
    /// The class token, then the patches row by row
    All,
    /// The patches alone, as LLaVA's `patch`
    Patch,
    /// The class token alone
    Cls,
}

impl Tokens {
    /// The name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Patch => "patch",
            Self::Cls => "cls",
        }
    }

    /// How many are kept of all tokens of an image.
    pub fn count(self, tokens: usize) -> usize {
        match self {
            Self::All => tokens,
            Self::Patch => tokens - 1,
            Self::Cls => 1,
        }
    }

    /// (B, 1 + N, width) → (B, kept, width).
    fn select(self, x: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Self::All => Ok(x.clone()),
            Self::Patch => x.narrow(1, 1, x.dim(1)? - 1),
            Self::Cls => x.narrow(1, 0, 1),
        }
    }
}

/// What is wanted of the tower for each image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The tokens to keep of the token tensors.
    pub tokens: Tokens,
}

/// Why an image has no features.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// Its bytes are no picture that can be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The picture cannot be resized.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The tower failed on it.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// A decoded picture and the tower's input made of it.
#[derive(Debug)]
pub struct Preprocessed {
    /// The tower's input.
    pub pixel_values: PixelValues,
    /// What was decoded: its format, its size, and what a user should know of it.
    pub picture: Picture,
}

/// Facts of a decoded picture.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The format that the bytes were in.
    pub format: ::image::ImageFormat,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// What may surprise: a picture that is read, but not as one would expect.
    pub warnings: Vec<String>,
}

/// Decodes an image and makes the tower's input of it, exactly as the reference's processor does.
///
/// # Errors
/// The bytes are no picture that can be decoded, or one that cannot be resized.
pub fn preprocess(
    bytes: &[u8],
    options: &DecodeOptions,
    processor: &Processor,
) -> Result<Preprocessed, ExtractError> {
    let Decoded { rgb, format, warnings } = decode(bytes, options)?;
    let pixel_values = processor.process(&rgb)?;
    let picture = Picture { format, width: rgb.width(), height: rgb.height(), warnings };
    Ok(Preprocessed { pixel_values, picture })
}

/// A processor and a loaded tower.
///
/// ```no_run
/// use clip_features::{Extractor, Tokens, model::{Model, ModelSpec}};
///
/// let model = Model::open(&ModelSpec::Local("clip-vit-large-patch14".into()))?;
/// let extractor = Extractor::load(&model, Default::default())?;
/// let features = extractor.extract(&std::fs::read("photo.jpg")?, Tokens::All)?;
/// assert_eq!(features.shape, [1, 257, 1024]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Extractor {
    processor: Processor,
    decode: DecodeOptions,
    tower: VisionTower,
}

impl Extractor {
    /// Loads a model's weights.
    ///
    /// # Errors
    /// See [`Model::processor`] and [`Model::tower`].
    pub fn load(model: &Model, decode: DecodeOptions) -> Result<Self, ModelError> {
        Ok(Self { processor: model.processor()?, decode, tower: model.tower(&Device::Cpu)? })
    }

    /// Bytes of an image → `last_hidden_state` (1, tokens, width).
    ///
    /// # Errors
    /// The image cannot be decoded or encoded.
    pub fn extract(&self, bytes: &[u8], tokens: Tokens) -> Result<Array, ExtractError> {
        let input = preprocess(bytes, &self.decode, &self.processor)?;
        let mut arrays = encode(&self.tower, &[input.pixel_values], &Request { tokens })?;
        Ok(arrays.remove(0).remove(0))
    }
}

/// The tower's inputs → what is asked for: for each image, in order, its tensors, each with a leading dimension of 1.
/// An image's values do not depend on the others of the batch.
///
/// # Errors
/// An input is of another size than the tower's, or candle fails.
pub fn encode(
    tower: &VisionTower,
    batch: &[PixelValues],
    request: &Request,
) -> Result<Vec<Vec<Array>>, ModelError> {
    let edge = tower.config().image_size;
    let mut values = Vec::with_capacity(batch.len() * 3 * edge * edge);
    for pixel_values in batch {
        tower.check(pixel_values.height(), pixel_values.width())?;
        values.extend_from_slice(pixel_values.as_slice());
    }
    let input = Tensor::from_vec(values, (batch.len(), 3, edge, edge), &Device::Cpu)?; // (B, 3, H, W)
    let kept = request.tokens.select(&tower.forward(&input)?)?.contiguous()?; // (B, kept, width)
    let array = |image: usize| {
        let one = kept.narrow(0, image, 1)?; // (1, kept, width)
        let name = TensorKind::LastHiddenState.name().to_owned();
        Ok(vec![Array { name, shape: one.dims().to_vec(), values: one.flatten_all()?.to_vec1()? }])
    };
    (0..batch.len()).map(array).collect()
}

/// The tower's input as an array (1, 3, height, width).
pub fn pixel_array(pixel_values: PixelValues) -> Array {
    Array {
        name: TensorKind::PixelValues.name().to_owned(),
        shape: vec![1, 3, pixel_values.height(), pixel_values.width()],
        values: pixel_values.into_vec(),
    }
}
