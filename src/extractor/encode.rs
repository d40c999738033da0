//! The forward pass of a batch, and what of its outputs is asked for.

use candle_core::{Device, Tensor};

use super::request::{Part, Request, TensorKind};
use crate::{
    model::{ModelError, Outputs, VisionConfig, VisionTower},
    output::Array,
    processor::PixelValues,
};

/// The inputs of some images → for each image, in order, the tensors asked for, each with a leading dimension
/// of its tiles, mostly 1.
///
/// # Errors
/// As [`VisionTower::outputs`].
pub(super) fn encode(
    tower: &VisionTower,
    batch: &[PixelValues],
    request: &Request,
) -> Result<Vec<Vec<Array>>, ModelError> {
    let wanted = request.wanted(tower.config())?;
    let mut encoded: Vec<Vec<Array>> = Vec::with_capacity(batch.len());
    let size = |image: &PixelValues| [image.height(), image.width()];
    let pass = |pixels: Vec<f32>, tiles, [height, width]: [usize; 2]| -> Result<Pass, ModelError> {
        let input = Tensor::from_vec(pixels, (tiles, 3, height, width), &Device::Cpu)?; // (B, 3, H, W)
        Ok(Pass { outputs: tower.outputs(&input, &wanted)?, input })
    };
    // Without a crop, pictures can differ in size.
    for images in batch.chunk_by(|a, b| size(a) == size(b) && a.tiles() == 1 && b.tiles() == 1) {
        let image = &images[0];
        if image.tiles() == 1 {
            let mut pixels = Vec::with_capacity(images.len() * image.as_slice().len());
            images.iter().for_each(|image| pixels.extend_from_slice(image.as_slice()));
            let pass = pass(pixels, images.len(), size(image))?;
            for index in 0..images.len() {
                encoded.push(pass.arrays(tower.config(), [index, 1], request)?);
            }
            continue;
        }
        let tile = image.as_slice().len() / image.tiles();
        let mut whole: Vec<Array> = Vec::new();
        for pixels in image.as_slice().chunks(TILES * tile) {
            let tiles = pixels.len() / tile;
            let pass = pass(pixels.to_vec(), tiles, size(image))?;
            let part = pass.arrays(tower.config(), [0, tiles], request)?;
            if whole.is_empty() {
                whole = part;
            } else {
                whole.iter_mut().zip(part).for_each(|(whole, part)| whole.append(part));
            }
        }
        encoded.push(whole);
    }
    Ok(encoded)
}

/// Tiles of a picture that the tower takes at once, which bounds its memory; the features do not depend on it.
const TILES: usize = 8;

/// A forward pass.
struct Pass {
    /// (B, 3, H, W)
    input: Tensor,
    outputs: Outputs,
}

impl Pass {
    /// The tensors asked for of an image, which is so many tiles from the first on.
    fn arrays(
        &self,
        config: &VisionConfig,
        [first, tiles]: [usize; 2],
        request: &Request,
    ) -> Result<Vec<Array>, ModelError> {
        let Self { input, outputs } = self;
        let (_, _, height, width) = input.dims4()?;
        let one = |part: Part| -> Result<Array, ModelError> {
            let tensor = match part.kind {
                TensorKind::LastHiddenState => outputs.last_hidden_state.as_ref(),
                TensorKind::HiddenStates => part.layer.and_then(|layer| outputs.hidden_states.get(&layer)),
                TensorKind::Attentions => part.layer.and_then(|layer| outputs.attentions.get(&layer)),
                TensorKind::PoolerOutput => outputs.pooler_output.as_ref(),
                TensorKind::ImageEmbeds => outputs.image_embeds.as_ref(),
                TensorKind::ImageFeatures => outputs.image_features.as_ref(),
                TensorKind::PixelValues => Some(input),
            };
            let mut tensor = tensor.ok_or(ModelError::NotLoaded)?.narrow(0, first, tiles)?; // (tiles, …)
            if part.kind.has_tokens() {
                let patches = tensor.dim(1)? - config.prefix_tokens();
                let (first, kept) = request.kept_tokens().span(config, patches);
                tensor = tensor.narrow(1, first, kept)?; // (tiles, kept, width)
            }
            let mut shape = request.shape(part.kind, config, height, width);
            shape[0] = tiles;
            Ok(Array { name: part.name(), shape, values: tensor.flatten_all()?.to_vec1()? })
        };
        request.parts(config)?.into_iter().map(one).collect()
    }
}

/// The tower's input as an array (tiles, 3, height, width).
pub(super) fn pixel_array(pixel_values: PixelValues) -> Array {
    Array {
        name: TensorKind::PixelValues.name().to_owned(),
        shape: vec![pixel_values.tiles(), 3, pixel_values.height(), pixel_values.width()],
        values: pixel_values.into_vec(),
    }
}
