//! Weights on a device.

use std::ops::Range;

use candle_core::{Device, Result, Tensor};
use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::Dtype;

use super::{Checkpoint, Weights, element::Element, entry::Entry};

/// Elements that a thread reads at once.
const CHUNK: usize = 1 << 16;

impl Weights {
    /// Some elements of a tensor of this shape, (count), in the type that they are stored in: of halves, half as many bytes go to the
    /// device, which widens them.
    pub(super) fn to_device(
        &self,
        name: &str,
        shape: &[usize],
        elements: Range<usize>,
        device: &Device,
    ) -> Result<Tensor> {
        if let Self::Checkpoint(checkpoint) = self {
            let entry = checkpoint.find(name, shape)?;
            match entry.one_dtype() {
                Some(Dtype::F16) => return stored::<f16>(checkpoint, entry, elements, device),
                Some(Dtype::BF16) => return stored::<bf16>(checkpoint, entry, elements, device),
                _ => {}
            }
        }
        let mut values = vec![0f32; elements.len()];
        values.par_chunks_mut(CHUNK).enumerate().try_for_each(|(chunk, values)| {
            self.read_elements(name, shape, elements.start + chunk * CHUNK, values)
        })?;
        Tensor::from_vec(values, elements.len(), device)
    }
}

fn stored<T: Element>(
    checkpoint: &Checkpoint,
    entry: &Entry,
    elements: Range<usize>,
    device: &Device,
) -> Result<Tensor> {
    let mut values = vec![T::zeroed(); elements.len()];
    values.par_chunks_mut(CHUNK).enumerate().try_for_each(|(chunk, values)| {
        checkpoint.read_stored(entry, elements.start + chunk * CHUNK, values)
    })?;
    Tensor::from_vec(values, elements.len(), device)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use candle_core::DType;

    use super::*;
    use crate::model::weights::Scope;

    /// Halves arrive as they are stored, and become what the host reads of them.
    #[test]
    fn weights_arrive_in_the_type_of_their_file() {
        for (checkpoint, dtype) in
            [("vision", DType::F32), ("vision-f16", DType::F16), ("vision-bf16", DType::BF16)]
        {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/checkpoints").join(checkpoint);
            let checkpoint = Checkpoint::open(&path.join("model.safetensors"), Scope::Tower).unwrap();
            let weights = Weights::Checkpoint(checkpoint.into());
            let Weights::Checkpoint(checkpoint) = &weights else { unreachable!() };
            let mut compared = 0;
            for (name, entry) in &checkpoint.tensors {
                let Ok(want) = checkpoint.read(name, &entry.shape) else { continue }; // position_ids
                for elements in [0..want.len(), want.len() / 3..want.len() / 2] {
                    let found =
                        weights.to_device(name, &entry.shape, elements.clone(), &Device::Cpu).unwrap();
                    assert_eq!(found.dtype(), dtype, "{name}");
                    let found = found.to_dtype(DType::F32).unwrap().to_vec1::<f32>().unwrap();
                    assert_eq!(found, want[elements], "{name}");
                    compared += found.len();
                }
            }
            assert!(compared > 1000);
        }
    }
}
