//! The kernels on candle's tensors.

use candle_core::{CpuStorage, Device, Layout, Result, Shape, Storage, Tensor, bail};

use crate::kernels::{self, PackedLinear, Values};

/// Applies `kernel` to the elements of `x` (…, inputs), in row-major order; it gives those of (…, outputs).
pub(super) fn apply(x: &Tensor, outputs: usize, kernel: impl FnOnce(&[f32]) -> Values) -> Result<Tensor> {
    let mut shape = x.dims().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = outputs;
    }
    to_tensor(with_elements(x, kernel)?, shape)
}

/// Flattened patches (B, N, 3·p·p) → tokens (B, P + N, width), `prefix` (P, width) first, `positions` (N, width), if there are
/// any, added to the others.
pub(super) fn embed(
    patches: &Tensor,
    patch: &PackedLinear,
    prefix: &[f32],
    positions: Option<&Tensor>,
) -> Result<Tensor> {
    let (batch, count, _) = patches.dims3()?;
    let shape = (batch, prefix.len() / patch.outputs() + count, patch.outputs());
    let tokens = with_elements(patches, |patches| {
        let embed = |positions: Option<&[f32]>| kernels::embed(patches, count, patch, prefix, positions);
        match positions {
            Some(positions) => with_elements(positions, |positions| embed(Some(positions))),
            None => Ok(embed(None)),
        }
    });
    to_tensor(tokens??, shape)
}

/// What `f` makes of a tensor's elements, in row-major order.
fn with_elements<T>(x: &Tensor, f: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let x = x.contiguous()?;
    let (storage, layout) = x.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok(f(elements(storage, layout)?)),
        _ => bail!("the kernels read a tensor that is not on the CPU"),
    }
}

fn elements<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("the kernels read a tensor that is not contiguous"),
    }
}

/// The values as a tensor, where they lie.
fn to_tensor(values: Values, shape: impl Into<Shape>) -> Result<Tensor> {
    let (memory, start) = values.into_parts();
    let len = memory.len();
    Tensor::from_vec(memory, len, &Device::Cpu)?.narrow(0, start, len - start)?.reshape(shape.into())
}
