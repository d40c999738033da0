//! The forward pass of a batch, and what of its outputs is asked for.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};

use super::padded;
use super::request::{Part, Request, TensorKind};
use crate::{
    model::{ModelError, Outputs, VisionTower},
    output::{Array, Dtype},
    processor::{Patches, PixelValues},
};

/// How a tower takes images, and gives its tensors.
pub(super) struct Taken {
    /// It takes so many at once, neither more nor fewer: the last ones have pictures of zeros beside them.
    pub(super) whole: Option<usize>,
    /// What they will be stored in.
    pub(super) stored: Dtype,
}

/// The inputs of some images → for each image, in order, the tensors asked for, each with a leading dimension
/// of its tiles, mostly 1. `patches` is what the processor cuts pictures into, if it does.
///
/// # Errors
/// As [`VisionTower::outputs`].
pub(super) fn encode(
    tower: &VisionTower,
    batch: &[PixelValues],
    request: &Request,
    patches: Option<Patches>,
    taken: Taken,
) -> Result<Vec<Vec<Array>>, ModelError> {
    let mut wanted = request.wanted(tower.config())?;
    let Taken { whole: fixed, stored } = taken;
    let stored = match stored {
        // What is drawn is not stored.
        _ if request.draw.is_some() => DType::F32,
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::Bf16 => DType::BF16,
    };
    let (padded, patch_size) = (request.padded(patches), tower.config().patch_size);
    let mut encoded = vec![Vec::new(); batch.len()];
    let mut pass = |mut pixels: Vec<f32>, count, (height, width)| -> Result<Outputs, ModelError> {
        pixels.resize(count * 3 * height * width, 0.0);
        let input = Tensor::from_vec(pixels, (count, 3, height, width), &Device::Cpu)?; // (B, 3, H, W)
        let own = (height / patch_size) * (width / patch_size);
        wanted.padding = padded.is_some_and(|count| count > own);
        tower.outputs_as(&input, &wanted, stored)
    };
    for (size, places) in by_size(batch) {
        for places in places.chunks(fixed.unwrap_or(places.len())) {
            let count = fixed.unwrap_or(places.len());
            let mut pixels = Vec::with_capacity(count * 3 * size.0 * size.1);
            places.iter().for_each(|&place| pixels.extend_from_slice(batch[place].as_slice()));
            let outputs = pass(pixels, count, size)?;
            for (index, &place) in places.iter().enumerate() {
                encoded[place] = arrays(tower, &outputs, [index, 1], &batch[place], request, patches)?;
            }
        }
    }
    for (place, image) in batch.iter().enumerate().filter(|(_, image)| image.tiles() > 1) {
        let tile = image.as_slice().len() / image.tiles();
        let mut whole: Vec<Array> = Vec::new();
        for pixels in image.as_slice().chunks(TILES * tile) {
            let tiles = pixels.len() / tile;
            let count = if fixed.is_some() { TILES } else { tiles };
            let outputs = pass(pixels.to_vec(), count, (image.height(), image.width()))?;
            let input = PixelValues::of_tiles(tiles, image.height(), image.width(), pixels.to_vec());
            let part = arrays(tower, &outputs, [0, tiles], &input, request, patches)?;
            if whole.is_empty() {
                whole = part;
            } else {
                whole.iter_mut().zip(part).for_each(|(whole, part)| whole.append(part));
            }
        }
        encoded[place] = whole;
    }
    Ok(encoded)
}

/// Tiles of a picture that the tower takes at once, which bounds its memory; the features do not depend on it.
const TILES: usize = 8;

/// The places of the images of each size, height and width, since a forward pass takes one size. Those with tiles have passes of their
/// own.
fn by_size(batch: &[PixelValues]) -> BTreeMap<(usize, usize), Vec<usize>> {
    let mut sizes: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (place, image) in batch.iter().enumerate().filter(|(_, image)| image.tiles() == 1) {
        sizes.entry((image.height(), image.width())).or_default().push(place);
    }
    sizes
}

/// The tensors asked for of one image of a batch, which is so many tiles from the first on.
fn arrays(
    tower: &VisionTower,
    outputs: &Outputs,
    [first, tiles]: [usize; 2],
    image: &PixelValues,
    request: &Request,
    patches: Option<Patches>,
) -> Result<Vec<Array>, ModelError> {
    let config = tower.config();
    let shape = |kind| {
        let mut shape = request.shape(kind, config, image.height(), image.width(), patches);
        shape[0] = tiles;
        shape
    };
    let one = |part: Part| -> Result<Array, ModelError> {
        if part.kind == TensorKind::PixelValues {
            return Ok(pixel_array(image.clone(), request, patches));
        }
        let of = |outputs: &Outputs| {
            let tensor = tensor(outputs, part).ok_or(ModelError::NotLoaded)?;
            Ok::<_, ModelError>(tensor.narrow(0, first, tiles)?) // (tiles, …)
        };
        let mut tensor = of(outputs)?;
        if let (Some(padding), Some(count)) = (&outputs.padding, request.padded(patches)) {
            let count = config.prefix_tokens() + count;
            tensor = match part.kind {
                TensorKind::Attentions => padded::attention(&tensor, &of(padding)?, count)?,
                kind if kind.has_tokens() => padded::tokens(&tensor, &of(padding)?, count)?,
                _ => tensor,
            };
        }
        if part.kind.has_tokens() {
            let patches = tensor.dim(1)? - config.prefix_tokens();
            let (first, kept) = request.kept_tokens().span(config, patches);
            tensor = tensor.narrow(1, first, kept)?; // (tiles, kept, width)
        }
        let values = tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?;
        Ok(Array { name: part.name(), shape: shape(part.kind), values })
    };
    request.parts(config)?.into_iter().map(one).collect()
}

/// What a tower gave for a part.
fn tensor(outputs: &Outputs, part: Part) -> Option<&Tensor> {
    match part.kind {
        TensorKind::LastHiddenState => outputs.last_hidden_state.as_ref(),
        TensorKind::HiddenStates => outputs.hidden_states.get(&part.layer?),
        TensorKind::Attentions => outputs.attentions.get(&part.layer?),
        TensorKind::PoolerOutput => outputs.pooler_output.as_ref(),
        TensorKind::ImageEmbeds => outputs.image_embeds.as_ref(),
        TensorKind::ImageFeatures => outputs.image_features.as_ref(),
        TensorKind::PixelValues => None,
    }
}

/// The tower's input as the reference's processor gives it: (tiles, 3, height, width), or flattened patches (1, N, 3·p·p), those of padding
/// zeros.
pub(super) fn pixel_array(image: PixelValues, request: &Request, patches: Option<Patches>) -> Array {
    let mut shape = request.pixel_shape(image.height(), image.width(), patches);
    let values = match patches {
        None => {
            shape[0] = image.tiles();
            image.into_vec()
        }
        Some(Patches { patch_size, .. }) => {
            let mut values = image.to_patches(patch_size);
            values.resize(shape.iter().product(), 0.0);
            values
        }
    };
    Array { name: TensorKind::PixelValues.name().to_owned(), shape, values }
}
