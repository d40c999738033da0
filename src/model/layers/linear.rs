//! A linear layer, and the one place that decides how it multiplies.

use std::ops::Deref;

use candle_core::{DType, Module, Result, Tensor};

use super::cpu;
use crate::kernels::{Activation, Epilogue, PackedLinear};
use crate::model::{
    weights::Rows,
    weights::Source,
    weights::{Loaded, Streamed, pack},
};

/// `y = x Wᵀ + b`.
#[derive(Debug)]
pub(crate) enum Linear {
    /// On a CPU: packed for the kernels as it is read. The weight as it was is not kept.
    Packed(PackedLinear),
    /// On a CPU: read when it is needed.
    Streamed(Streamed),
    /// Elsewhere.
    Candle(candle_nn::Linear),
}

/// A layer ready for the kernels.
pub(crate) enum Ready<'a> {
    Kept(&'a PackedLinear),
    Loaded(Loaded<'a>),
}

impl Deref for Ready<'_> {
    type Target = PackedLinear;

    fn deref(&self) -> &PackedLinear {
        match self {
            Self::Kept(layer) => layer,
            Self::Loaded(layer) => layer,
        }
    }
}

impl Linear {
    /// Reads `weight` (out, in) and, if there is one, `bias` (out) at `source`.
    pub(crate) fn load(in_dim: usize, out_dim: usize, bias: bool, source: &Source) -> Result<Self> {
        Self::load_stacked(in_dim, out_dim, &[(source, bias)])
    }

    /// Reads layers of the same sizes as one, their outputs one after the other; each says whether it has a bias.
    pub(crate) fn load_stacked(in_dim: usize, out_dim: usize, parts: &[(&Source, bool)]) -> Result<Self> {
        let weights = parts.iter().map(|(part, _)| part.rows(&[out_dim, in_dim], "weight"));
        let weight = weights.reduce(|above, below| Ok(above?.above(below?))).expect("a layer")?;
        let source = parts[0].0;
        let bias = |&(part, has_bias): &(&Source, bool)| match has_bias {
            true => part.get(out_dim, "bias"),
            false => Tensor::zeros(out_dim, DType::F32, part.device()),
        };
        let bias = parts.iter().any(|(_, has_bias)| *has_bias).then(|| {
            let biases = parts.iter().map(bias).collect::<Result<Vec<_>>>()?;
            Tensor::cat(&biases, 0)
        });
        Self::new(weight, bias.transpose()?, source)
    }

    /// A layer of a weight (out, in) and, if there is one, a bias (out), where and how `source` says.
    pub(crate) fn new(rows: Rows, bias: Option<Tensor>, source: &Source) -> Result<Self> {
        if !source.device().is_cpu() {
            return Ok(Self::Candle(candle_nn::Linear::new(rows.to_tensor(source.device())?, bias)));
        }
        let bias = bias.map(|bias| bias.to_vec1()).transpose()?;
        Ok(match source.spares() {
            Some(spares) => Self::Streamed(Streamed::new(rows, bias, source.compute(), spares.clone())),
            None => Self::Packed(pack(&rows, bias.as_deref(), source.compute(), None)?),
        })
    }

    /// A layer of a weight (out, in) that is at hand, without a bias.
    pub(crate) fn of_tensor(weight: &Tensor, source: &Source) -> Result<Self> {
        if !source.device().is_cpu() {
            return Ok(Self::Candle(candle_nn::Linear::new(weight.contiguous()?, None)));
        }
        let (inputs, weight) = (weight.dim(1)?, weight.flatten_all()?.to_vec1()?);
        Ok(Self::Packed(PackedLinear::from_rows(source.compute(), inputs, &weight, None)))
    }

    /// The layer for the kernels; none where candle multiplies.
    pub(crate) fn ready(&self) -> Result<Option<Ready<'_>>> {
        Ok(match self {
            Self::Packed(layer) => Some(Ready::Kept(layer)),
            Self::Streamed(layer) => Some(Ready::Loaded(layer.load()?)),
            Self::Candle(_) => None,
        })
    }

    /// `x` (B, T, in) → (B, T, out).
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let multiply = |layer: &PackedLinear| {
            cpu::apply(x, layer.outputs(), |x| layer.forward(&layer.pack_input(x), Epilogue::None))
        };
        match self {
            Self::Packed(layer) => multiply(layer),
            Self::Streamed(layer) => multiply(&*layer.load()?),
            Self::Candle(layer) => layer.forward(x),
        }
    }

    /// `activation(x Wᵀ + b)`.
    pub(crate) fn forward_activated(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        activation.forward(&self.forward(x)?)
    }

    /// `residual + x Wᵀ + b`.
    pub(crate) fn forward_added(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        residual + self.forward(x)?
    }
}
