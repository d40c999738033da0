//! Layer scale: a learned factor on each channel of what a block adds to its input.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::linear::Linear;

/// Reads a linear layer whose output `scale` (out) multiplies, if there is one. The factor is folded into weight and bias at
/// load, so that it costs nothing in the forward pass.
pub(crate) fn load_scaled(
    in_dim: usize,
    out_dim: usize,
    vb: &VarBuilder,
    scale: Option<&Tensor>,
) -> Result<Linear> {
    let Some(scale) = scale else { return Linear::load(in_dim, out_dim, vb) };
    let weight = vb.get((out_dim, in_dim), "weight")?.broadcast_mul(&scale.reshape((out_dim, 1))?)?;
    Linear::new(weight, Some((vb.get(out_dim, "bias")? * scale)?))
}
