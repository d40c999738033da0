//! The forward pass of a batch, and what of its outputs is asked for.

use candle_core::{Device, Tensor};

use super::request::{Part, Request, TensorKind};
use crate::{
    model::{ModelError, Outputs, VisionTower},
    output::Array,
    processor::PixelValues,
};

/// The inputs of some images → for each image, in order, the tensors asked for, each with a leading dimension
/// of 1.
///
/// # Errors
/// As [`VisionTower::outputs`].
pub(super) fn encode(
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
            TensorKind::ImageFeatures => outputs.image_features.as_ref(),
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
pub(super) fn pixel_array(pixel_values: PixelValues) -> Array {
    Array {
        name: TensorKind::PixelValues.name().to_owned(),
        shape: vec![1, 3, pixel_values.height(), pixel_values.width()],
        values: pixel_values.into_vec(),
    }
}
