//! Linear layers that stay in their file until they are multiplied with.

use std::{
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
};

use super::rows::Rows;
use crate::kernels::{Compute, PackedLinear};
use crate::model::error::ModelError;

/// A linear layer that every forward pass reads and packs anew.
///
/// For a single image that is the same work as loading the layer beforehand, but in the memory of two layers instead
/// of the whole tower's, whose pages the system would have to find and clear first.
#[derive(Debug)]
pub(crate) struct Streamed {
    rows: Rows,
    /// (outputs)
    bias: Option<Vec<f32>>,
    compute: Compute,
    spares: Arc<Spares>,
}

impl Streamed {
    pub(in crate::model) fn new(
        rows: Rows,
        bias: Option<Vec<f32>>,
        compute: Compute,
        spares: Arc<Spares>,
    ) -> Self {
        Self { rows, bias, compute, spares }
    }

    /// Reads and packs the layer.
    pub(in crate::model) fn load(&self) -> Result<Loaded<'_>, ModelError> {
        let layer = pack(&self.rows, self.bias.as_deref(), self.compute, self.spares.take())?;
        Ok(Loaded { layer: Some(layer), spares: &self.spares })
    }
}

/// Packs rows with a bias (outputs); see [`PackedLinear::pack`].
pub(in crate::model) fn pack(
    rows: &Rows,
    bias: Option<&[f32]>,
    compute: Compute,
    spare: Option<PackedLinear>,
) -> Result<PackedLinear, ModelError> {
    let shape = [rows.outputs(), rows.inputs()];
    PackedLinear::pack(compute, shape, bias, spare, |range, into| rows.read(range, into))
}

/// Layers that are done with, whose memory the next ones take.
#[derive(Debug, Default)]
pub(crate) struct Spares(Mutex<Vec<PackedLinear>>);

impl Spares {
    fn take(&self) -> Option<PackedLinear> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give(&self, layer: PackedLinear) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(layer);
    }
}

/// A layer of a [`Streamed`], there for one product.
pub(crate) struct Loaded<'a> {
    /// Always there, but for the moment in which it is dropped.
    layer: Option<PackedLinear>,
    spares: &'a Spares,
}

impl Deref for Loaded<'_> {
    type Target = PackedLinear;

    fn deref(&self) -> &PackedLinear {
        self.layer.as_ref().expect("a layer until it is dropped")
    }
}

impl Drop for Loaded<'_> {
    fn drop(&mut self) {
        if let Some(layer) = self.layer.take() {
            self.spares.give(layer);
        }
    }
}
