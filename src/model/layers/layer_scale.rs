//! Layer scale: a learned factor on each channel of what a block adds to its input.

use candle_core::{Result, Tensor};

use super::linear::Linear;
use crate::model::weights::Source;

/// Reads a linear layer, with its bias if it has one, whose output `scale` (out) multiplies, if there is one. The factor is folded into weight and bias at
/// load, so that it costs nothing in the forward pass.
pub(crate) fn load_scaled(
    in_dim: usize,
    out_dim: usize,
    bias: bool,
    source: &Source,
    scale: Option<&Tensor>,
) -> Result<Linear> {
    let Some(scale) = scale else { return Linear::load(in_dim, out_dim, bias, source) };
    let weight = source.rows(&[out_dim, in_dim], "weight")?.scaled(scale)?;
    let bias = bias.then(|| source.get(out_dim, "bias")? * scale).transpose()?;
    Linear::new(weight, bias, source)
}
