//! The kernels as candle operations.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};

/// Whether a tensor is one that the kernels compute with: on a CPU, in float32.
pub(crate) fn is_ours(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && tensor.dtype() == DType::F32
}

/// Applies `kernel` to the elements of `x` (…, inputs), in row-major order; it gives those of (…, outputs).
pub(crate) fn apply(x: &Tensor, outputs: usize, kernel: impl Fn(&[f32]) -> Vec<f32>) -> Result<Tensor> {
    x.contiguous()?.apply_op1_no_bwd(&Rows { outputs, kernel })
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
