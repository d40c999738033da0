//! The kernels as candle operations.

use std::ops::Deref;

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Storage, Tensor, bail};

/// Whether a tensor is one that the kernels compute with: on a CPU, in float32.
pub(crate) fn is_ours(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && tensor.dtype() == DType::F32
}

/// Applies `kernel` to the elements of `x` (…, inputs), in row-major order; it gives those of (…, outputs).
pub(crate) fn apply(x: &Tensor, outputs: usize, kernel: impl Fn(&[f32]) -> Vec<f32>) -> Result<Tensor> {
    x.contiguous()?.apply_op1_no_bwd(&Rows { outputs, kernel })
}

/// A tensor's elements, held in place for reading.
pub(crate) struct Elements<'a>(Box<dyn Deref<Target = Storage> + 'a>, &'a Layout);

impl<'a> Elements<'a> {
    pub(crate) fn of(tensor: &'a Tensor) -> Self {
        let (storage, layout) = tensor.storage_and_layout();
        Self(Box::new(storage), layout)
    }

    /// In row-major order; fails for a tensor that is not contiguous, or not [`is_ours`].
    pub(crate) fn as_slice(&self) -> Result<&[f32]> {
        match &**self.0 {
            Storage::Cpu(storage) => elements(storage, self.1),
            _ => bail!("the kernels read a tensor of another device"),
        }
    }
}

struct Rows<F> {
    outputs: usize,
    kernel: F,
}

impl<F: Fn(&[f32]) -> Vec<f32>> CustomOp1 for Rows<F> {
    fn name(&self) -> &'static str {
        "kernel"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut shape = layout.dims().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = self.outputs;
        }
        let y = (self.kernel)(elements(storage, layout)?);
        Ok((CpuStorage::F32(y), shape.into()))
    }
}

fn elements<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("the kernels read a tensor that is not contiguous"),
    }
}
