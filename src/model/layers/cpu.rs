//! The kernels as candle operations.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};

use crate::kernels::{self, PackedLinear};

/// Whether a tensor is one that the kernels compute with: on a CPU, in float32.
pub(crate) fn is_ours(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && tensor.dtype() == DType::F32
}

/// Applies `kernel` to the elements of `x` (…, inputs), in row-major order; it gives those of (…, outputs).
pub(crate) fn apply(x: &Tensor, outputs: usize, kernel: impl Fn(&[f32]) -> Vec<f32>) -> Result<Tensor> {
    x.contiguous()?.apply_op1_no_bwd(&Rows { outputs, kernel })
}

/// Flattened patches (B, N, 3·p·p) → tokens (B, P + N, width), `prefix` (P, width) first, `positions` (N, width), if there are
/// any, added to the others.
pub(crate) fn embed(
    x: &Tensor,
    patch: &PackedLinear,
    prefix: &[f32],
    positions: Option<&Tensor>,
) -> Result<Tensor> {
    let (x, embed) = (x.contiguous()?, Embed { patch, prefix });
    match positions {
        Some(positions) => x.apply_op2_no_bwd(&positions.contiguous()?, &embed),
        None => x.apply_op1_no_bwd(&embed),
    }
}

struct Embed<'a> {
    patch: &'a PackedLinear,
    prefix: &'a [f32],
}

impl Embed<'_> {
    fn run(
        &self,
        patches: &CpuStorage,
        layout: &Layout,
        positions: Option<&[f32]>,
    ) -> Result<(CpuStorage, Shape)> {
        let Self { patch, prefix } = *self;
        let (batch, tokens, _) = layout.shape().dims3()?;
        let shape = (batch, prefix.len() / patch.outputs() + tokens, patch.outputs());
        let y = kernels::embed(elements(patches, layout)?, tokens, patch, prefix, positions);
        Ok((CpuStorage::F32(y), shape.into()))
    }
}

impl CustomOp1 for Embed<'_> {
    fn name(&self) -> &'static str {
        "embed"
    }

    fn cpu_fwd(&self, patches: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        self.run(patches, layout, None)
    }
}

impl CustomOp2 for Embed<'_> {
    fn name(&self) -> &'static str {
        "embed"
    }

    fn cpu_fwd(
        &self,
        patches: &CpuStorage,
        patches_layout: &Layout,
        positions: &CpuStorage,
        positions_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.run(patches, patches_layout, Some(elements(positions, positions_layout)?))
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
