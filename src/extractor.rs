//! Bytes of an image → features: what the binary does, for another Rust program to call.

use ::image::RgbImage;
use candle_core::{Device, Tensor};
use thiserror::Error;

use crate::{
    image::{DecodeError, DecodeOptions, Decoded, decode},
    model::{Model, ModelError, Outputs, VisionTower},
    output::Array,
    processor::{Geometry, PixelValues, ProcessError, Processor},
    request::{Part, Request, TensorKind},
};

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
    /// Its way through the processor.
    pub geometry: Geometry,
    /// The pixels themselves, if they were to be kept.
    pub rgb: Option<RgbImage>,
    /// What may surprise: a picture that is read, but not as one would expect.
    pub warnings: Vec<String>,
}

/// Decodes an image and makes the tower's input of it, exactly as the reference's processor does. With `keep`, the
/// picture's pixels are given back too.
///
/// # Errors
/// The bytes are no picture that can be decoded, or one that cannot be resized.
pub fn preprocess(
    bytes: &[u8],
    options: &DecodeOptions,
    processor: &Processor,
    keep: bool,
) -> Result<Preprocessed, ExtractError> {
    let Decoded { rgb, format, warnings } = decode(bytes, options)?;
    let pixel_values = processor.process(&rgb)?;
    let geometry = processor.geometry(rgb.width(), rgb.height())?;
    let (width, height) = rgb.dimensions();
    let picture = Picture { format, width, height, geometry, rgb: keep.then_some(rgb), warnings };
    Ok(Preprocessed { pixel_values, picture })
}

/// A processor and a loaded tower.
///
/// ```no_run
/// use clip_features::{Extractor, Request, model::{Model, ModelSpec}};
///
/// let model = Model::open(&ModelSpec::Local("clip-vit-large-patch14".into()))?;
/// let extractor = Extractor::load(&model, Default::default(), Request::default())?;
/// let features = extractor.extract(&std::fs::read("photo.jpg")?)?;
/// assert_eq!(features[0].shape, [1, 257, 1024]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Extractor {
    processor: Processor,
    decode: DecodeOptions,
    request: Request,
    tower: VisionTower,
}

impl Extractor {
    /// Loads as much of a model's weights as the request needs.
    ///
    /// # Errors
    /// See [`Model::processor`], [`Request::wanted`] and [`Model::tower`].
    pub fn load(model: &Model, decode: DecodeOptions, request: Request) -> Result<Self, ModelError> {
        let wanted = request.wanted(&model.config()?)?;
        let tower = model.tower(&wanted, &Device::Cpu)?;
        Ok(Self { processor: model.processor()?, decode, request, tower })
    }

    /// Bytes of an image → the tensors asked for, each with a leading dimension of 1.
    ///
    /// # Errors
    /// The image cannot be decoded or encoded.
    pub fn extract(&self, bytes: &[u8]) -> Result<Vec<Array>, ExtractError> {
        let input = preprocess(bytes, &self.decode, &self.processor, false)?;
        Ok(encode(&self.tower, &[input.pixel_values], &self.request)?.remove(0))
    }
}

/// The inputs of some images → for each image, in order, the tensors asked for, each with a leading dimension
/// of 1.
///
/// # Errors
/// As [`VisionTower::outputs`].
pub fn encode(
    tower: &VisionTower,
    batch: &[PixelValues],
    request: &Request,
) -> Result<Vec<Vec<Array>>, ModelError> {
    let wanted = request.wanted(tower.config())?;
    let mut encoded = Vec::with_capacity(batch.len());
    // Without a crop, pictures can differ in size.
    for images in batch.chunk_by(|a, b| (a.height(), a.width()) == (b.height(), b.width())) {
        let (height, width) = (images[0].height(), images[0].width());
        let mut pixels = Vec::with_capacity(images.len() * 3 * height * width);
        images.iter().for_each(|image| pixels.extend_from_slice(image.as_slice()));
        let input = Tensor::from_vec(pixels, (images.len(), 3, height, width), &Device::Cpu)?; // (B, 3, H, W)
        let outputs = tower.outputs(&input, &wanted)?;
        for (index, image) in images.iter().enumerate() {
            encoded.push(arrays(tower, &outputs, index, image, request)?);
        }
    }
    Ok(encoded)
}

/// The tensors asked for of one image of a batch.
fn arrays(
    tower: &VisionTower,
    outputs: &Outputs,
    index: usize,
    image: &PixelValues,
    request: &Request,
) -> Result<Vec<Array>, ModelError> {
    let config = tower.config();
    let shape = |kind| request.shape(kind, config, image.height(), image.width());
    let one = |part: Part| -> Result<Array, ModelError> {
        let tensor = match part.kind {
            TensorKind::LastHiddenState => outputs.last_hidden_state.as_ref(),
            TensorKind::HiddenStates => part.layer.and_then(|layer| outputs.hidden_states.get(&layer)),
            TensorKind::Attentions => part.layer.and_then(|layer| outputs.attentions.get(&layer)),
            TensorKind::PoolerOutput => outputs.pooler_output.as_ref(),
            TensorKind::ImageEmbeds => outputs.image_embeds.as_ref(),
            TensorKind::PixelValues => return Ok(pixel_array(image.clone())),
        };
        let mut tensor = tensor.ok_or(ModelError::NotLoaded)?.narrow(0, index, 1)?; // (1, …)
        if part.kind.has_tokens() {
            let patches = tensor.dim(1)? - config.prefix_tokens();
            let (first, kept) = request.kept_tokens().span(config, patches);
            tensor = tensor.narrow(1, first, kept)?; // (1, kept, width)
        }
        let values = tensor.flatten_all()?.to_vec1()?;
        Ok(Array { name: part.name(), shape: shape(part.kind), values })
    };
    request.parts(config)?.into_iter().map(one).collect()
}

/// The tower's input as an array (1, 3, height, width).
pub fn pixel_array(pixel_values: PixelValues) -> Array {
    Array {
        name: TensorKind::PixelValues.name().to_owned(),
        shape: vec![1, 3, pixel_values.height(), pixel_values.width()],
        values: pixel_values.into_vec(),
    }
}
