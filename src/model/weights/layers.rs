//! The weights of a layer, before they are made ready to compute with.

use candle_core::{DType, Device, Result, Tensor};

use super::{rows::Rows, source::Source};

/// Those of `y = x Wᵀ + b`.
#[derive(Debug)]
pub(crate) struct LinearWeights {
    /// W (outputs, inputs), not read yet.
    pub(crate) rows: Rows,
    /// b (outputs).
    pub(crate) bias: Option<Tensor>,
}

impl LinearWeights {
    /// Finds `weight` (out, in) and, if there is one, reads `bias` (out) at `source`.
    pub(crate) fn load(in_dim: usize, out_dim: usize, bias: bool, source: &Source) -> Result<Self> {
        Self::load_stacked(in_dim, out_dim, &[(source, bias)])
    }

    /// Layers of the same sizes as one, their outputs one after the other; each says whether it has a bias.
    pub(crate) fn load_stacked(in_dim: usize, out_dim: usize, parts: &[(&Source, bool)]) -> Result<Self> {
        let rows = parts.iter().map(|(part, _)| part.rows(&[out_dim, in_dim], "weight"));
        let rows = rows.reduce(|above, below| Ok(above?.above(below?))).expect("a layer")?;
        let bias = |&(part, has_bias): &(&Source, bool)| match has_bias {
            true => part.get(out_dim, "bias"),
            false => Tensor::zeros(out_dim, DType::F32, &Device::Cpu),
        };
        let bias = parts.iter().any(|(_, has_bias)| *has_bias).then(|| {
            let biases = parts.iter().map(bias).collect::<Result<Vec<_>>>()?;
            Tensor::cat(&biases, 0)
        });
        Ok(Self { rows, bias: bias.transpose()? })
    }

    /// The same with a factor on each output, `scale` (out), if there is one: what DINOv2 calls layer scale. It is folded into weight
    /// and bias, so that it costs nothing in the forward pass.
    pub(crate) fn scaled(self, scale: Option<&Tensor>) -> Result<Self> {
        let Some(scale) = scale else { return Ok(self) };
        let bias = self.bias.map(|bias| bias * scale).transpose()?;
        Ok(Self { rows: self.rows.scaled(scale)?, bias })
    }
}

/// Those of `(x - mean) / sqrt(var + eps) · weight + bias`, mean and variance over the last dimension.
#[derive(Debug)]
pub(crate) struct NormWeights {
    /// (size)
    pub(crate) weight: Tensor,
    /// (size)
    pub(crate) bias: Tensor,
    pub(crate) eps: f64,
}

impl NormWeights {
    /// Reads `weight` and `bias`, both (size), at `source`.
    pub(crate) fn load(size: usize, eps: f64, source: &Source) -> Result<Self> {
        Ok(Self { weight: source.get(size, "weight")?, bias: source.get(size, "bias")?, eps })
    }
}
