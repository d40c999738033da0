//! The CPU's kernels as candle ops, so that the tower's files speak of tensors alone.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Device, Layout, Result, Shape, Storage, Tensor};

use crate::kernels::Isa;

/// The instruction set that the kernels use, or none on a device that computes with candle's own ops.
pub(super) fn isa(device: &Device) -> Option<Isa> {
    device.is_cpu().then(Isa::best)
}

/// Applies a function of rows: `x` (…, any) → (…, `width`), where the function takes and gives rows one after the
/// other.
pub(super) fn map_rows(x: &Tensor, width: usize, function: impl Fn(&[f32]) -> Vec<f32>) -> Result<Tensor> {
    x.contiguous()?.apply_op1_no_bwd(&RowsOp { width, function })
}

/// The same of two tensors of the same number of rows.
pub(super) fn map_rows2(
    x: &Tensor,
    y: &Tensor,
    width: usize,
    function: impl Fn(&[f32], &[f32]) -> Vec<f32>,
) -> Result<Tensor> {
    x.contiguous()?.apply_op2_no_bwd(&y.contiguous()?, &RowsOp { width, function })
}

struct RowsOp<F> {
    width: usize,
    function: F,
}

impl<F> RowsOp<F> {
    fn shape(&self, layout: &Layout) -> Shape {
        let mut dims = layout.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = self.width;
        }
        dims.into()
    }
}

impl<F: Fn(&[f32]) -> Vec<f32>> CustomOp1 for RowsOp<F> {
    fn name(&self) -> &'static str {
        "rows"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = (self.function)(slice(storage, layout)?);
        Ok((CpuStorage::F32(y), self.shape(layout)))
    }
}

impl<F: Fn(&[f32], &[f32]) -> Vec<f32>> CustomOp2 for RowsOp<F> {
    fn name(&self) -> &'static str {
        "rows2"
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &Layout,
        other: &CpuStorage,
        other_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let y = (self.function)(slice(storage, layout)?, slice(other, other_layout)?);
        Ok((CpuStorage::F32(y), self.shape(layout)))
    }
}

/// The values of a contiguous tensor on the CPU.
pub(super) fn values<'a>(storage: &'a Storage, layout: &Layout) -> Result<&'a [f32]> {
    match storage {
        Storage::Cpu(storage) => slice(storage, layout),
        _ => candle_core::bail!("a tensor that is not on the CPU"),
    }
}

fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => candle_core::bail!("a tensor that is not contiguous"),
    }
}
