//! Where a tower's parts find their tensors.

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::VarBuilder;

use super::{Weights, rows::Rows};

/// A place in a checkpoint: small tensors through candle's `VarBuilder`, the large ones as rows. All are the host's; where they go is
/// for the operations to say that they are made for.
#[derive(Clone)]
pub(crate) struct Source<'a> {
    vb: VarBuilder<'a>,
    weights: &'a Weights,
}

impl<'a> Source<'a> {
    /// The root of a checkpoint.
    pub(in crate::model) fn new(weights: &'a Weights) -> Self {
        let vb = VarBuilder::from_backend(Box::new(weights), DType::F32, Device::Cpu);
        Self { vb, weights }
    }

    /// A place below this one.
    pub(crate) fn pp(&self, name: impl ToString) -> Self {
        Self { vb: self.vb.pp(name), ..self.clone() }
    }

    /// Reads a tensor.
    pub(crate) fn get(&self, shape: impl Into<Shape>, name: &str) -> Result<Tensor> {
        self.vb.get(shape.into(), name)
    }

    /// A tensor's rows, not read yet.
    pub(crate) fn rows(&self, shape: &[usize], name: &str) -> Result<Rows> {
        Ok(Rows::of(self.weights, self.full(name), shape)?)
    }

    /// Whether there is such a tensor here.
    pub(in crate::model) fn contains(&self, name: &str) -> bool {
        self.weights.contains(&self.full(name))
    }

    fn full(&self, name: &str) -> String {
        let prefix = self.vb.prefix();
        if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
    }
}
