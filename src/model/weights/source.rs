//! Where a tower's parts find their tensors.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::VarBuilder;

use super::{Weights, rows::Rows, streamed::Spares};
use crate::kernels::Compute;

/// A place in a checkpoint: small tensors through candle's `VarBuilder`, the large ones as rows.
#[derive(Clone)]
pub(crate) struct Source<'a> {
    vb: VarBuilder<'a>,
    weights: &'a Weights,
    /// What linear layers are packed for, on a CPU.
    compute: Compute,
    /// Where linear layers are read anew in every forward pass, the memory that they share for it.
    spares: Option<Arc<Spares>>,
}

impl<'a> Source<'a> {
    /// The root of a checkpoint. With `spares`, its linear layers are streamed.
    pub(in crate::model) fn new(
        weights: &'a Weights,
        device: &Device,
        compute: Compute,
        spares: Option<Arc<Spares>>,
    ) -> Self {
        let vb = VarBuilder::from_backend(Box::new(weights), DType::F32, device.clone());
        Self { vb, weights, compute, spares }
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

    pub(in crate::model) fn weights(&self) -> &Weights {
        self.weights
    }

    pub(crate) fn device(&self) -> &Device {
        self.vb.device()
    }

    pub(in crate::model) fn compute(&self) -> Compute {
        self.compute
    }

    pub(in crate::model) fn spares(&self) -> Option<&Arc<Spares>> {
        self.spares.as_ref()
    }
}
