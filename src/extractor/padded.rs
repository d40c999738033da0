//! SigLIP 2 NaFlex's padded form: each image with as many patches as there may be.
//!
//! Padding is zeros that attend to the picture's patches and to which nothing attends, so that each patch of it becomes the same.

use candle_core::{Result, Tensor};

/// Tokens (1, T, width), and what a token of padding is, (1, 1, width) → (1, `count`, width).
pub(super) fn tokens(own: &Tensor, padding: &Tensor, count: usize) -> Result<Tensor> {
    let (_, tokens, width) = own.dims3()?;
    Tensor::cat(&[own, &padding.expand((1, count - tokens, width))?], 1)
}

/// Attention (1, heads, T, T), and that of a token of padding, (1, heads, 1, T) → (1, heads, `count`, `count`).
pub(super) fn attention(own: &Tensor, padding: &Tensor, count: usize) -> Result<Tensor> {
    let (_, heads, tokens, _) = own.dims4()?;
    let rows = Tensor::cat(&[own, &padding.expand((1, heads, count - tokens, tokens))?], 2)?;
    rows.pad_with_zeros(3, 0, count - tokens)
}
