//! Attention's heads, as tensors.

use candle_core::{Result, Tensor};

/// q (part 0), k (1) or v (2) of `qkv` (B, T, parts · width), (B, heads, T, head_dim); `parts` is how many stand side by side.
pub(crate) fn head_part(qkv: &Tensor, [part, parts]: [usize; 2], heads: usize) -> Result<Tensor> {
    let (batch, tokens, all) = qkv.dims3()?;
    let qkv = qkv.reshape((batch, tokens, parts, heads, all / (parts * heads)))?;
    qkv.narrow(2, part, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous()
}
