//! The rows of a weight, read when they are needed.

use std::ops::Range;

use candle_core::{DType, Device, Tensor};

use super::Weights;
use crate::model::error::ModelError;

/// A weight (outputs, inputs): rows of one tensor, or of several below each other.
#[derive(Debug)]
pub(crate) struct Rows {
    weights: Weights,
    parts: Vec<Part>,
    inputs: usize,
    /// (outputs): a factor for each row.
    scale: Option<Vec<f32>>,
}

/// Some rows of a tensor, of which a row is all that has the same first index.
#[derive(Clone, Debug)]
struct Part {
    name: String,
    shape: Vec<usize>,
    rows: Range<usize>,
}

impl Rows {
    /// All rows of a tensor. None is read, but the tensor is known to be there.
    pub(in crate::model) fn of(weights: &Weights, name: String, shape: &[usize]) -> Result<Self, ModelError> {
        weights.check(&name, shape)?;
        let part = Part { name, shape: shape.to_vec(), rows: 0..shape[0] };
        let inputs = shape[1..].iter().product();
        Ok(Self { weights: weights.clone(), parts: vec![part], inputs, scale: None })
    }

    /// These rows with others of the same inputs below them.
    pub(crate) fn above(mut self, below: Self) -> Self {
        assert_eq!(self.inputs, below.inputs, "rows of one width");
        assert!(self.scale.is_none() && below.scale.is_none(), "rows are scaled last");
        self.parts.extend(below.parts);
        self
    }

    /// Of a single tensor's rows those in `rows`.
    pub(crate) fn narrow(mut self, rows: Range<usize>) -> Self {
        assert!(self.parts.len() == 1 && rows.end <= self.outputs(), "rows of one tensor");
        assert!(self.scale.is_none(), "rows are scaled last");
        let start = self.parts[0].rows.start;
        self.parts[0].rows = start + rows.start..start + rows.end;
        self
    }

    /// Each row multiplied by its factor, `scale` (outputs).
    pub(crate) fn scaled(mut self, scale: &Tensor) -> candle_core::Result<Self> {
        self.scale = Some(scale.to_vec1()?);
        Ok(self)
    }

    pub(crate) fn outputs(&self) -> usize {
        self.parts.iter().map(|part| part.rows.len()).sum()
    }

    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Reads `rows` to where there is room for them, on the calling thread.
    pub(crate) fn read(&self, rows: Range<usize>, into: &mut [f32]) -> Result<(), ModelError> {
        let mut rest = &mut *into;
        let mut first = 0; // the part's first row among all
        for part in &self.parts {
            let here = rows.start.max(first)..rows.end.min(first + part.rows.len());
            if !here.is_empty() {
                let (values, others) = rest.split_at_mut(here.len() * self.inputs);
                let start = (part.rows.start + here.start - first) * self.inputs;
                self.weights.read_elements(&part.name, &part.shape, start, values)?;
                rest = others;
            }
            first += part.rows.len();
        }
        if let Some(scale) = &self.scale {
            for (row, scale) in into.chunks_exact_mut(self.inputs).zip(&scale[rows]) {
                row.iter_mut().for_each(|value| *value *= scale);
            }
        }
        Ok(())
    }

    /// All of them on a device, (outputs, inputs).
    pub(crate) fn to_device(&self, device: &Device) -> candle_core::Result<Tensor> {
        let part = |Part { name, shape, rows }: &Part| {
            let elements = rows.start * self.inputs..rows.end * self.inputs;
            let stored = self.weights.to_device(name, shape, elements, device)?;
            stored.to_dtype(DType::F32)?.reshape((rows.len(), self.inputs))
        };
        let parts = self.parts.iter().map(part).collect::<candle_core::Result<Vec<_>>>()?;
        let rows = Tensor::cat(&parts, 0)?; // (outputs, inputs)
        match &self.scale {
            Some(scale) => rows.broadcast_mul(&Tensor::from_slice(scale, (scale.len(), 1), device)?),
            None => Ok(rows),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RandomWeights;

    #[test]
    fn rows_are_those_of_their_tensors_whatever_part_is_read() {
        let random = RandomWeights::new(3);
        let weights = Weights::Random(random);
        let rows = |name: &str| Rows::of(&weights, name.to_owned(), &[6, 2, 2]).unwrap();
        let factors = Tensor::arange(0f32, 9f32, &Device::Cpu).unwrap();
        let stacked = rows("a").narrow(1..6).narrow(1..4).above(rows("b")).scaled(&factors).unwrap();
        assert_eq!((stacked.outputs(), stacked.inputs()), (9, 4));
        let mut want = random.tensor("a", &[6, 2, 2])[8..20].to_vec();
        want.extend(random.tensor("b", &[6, 2, 2]));
        want.iter_mut().enumerate().for_each(|(i, value)| *value *= (i / 4) as f32);
        for first in 0..9 {
            for end in first..=9 {
                let mut got = vec![0.0; (end - first) * 4];
                stacked.read(first..end, &mut got).unwrap();
                assert_eq!(got, want[first * 4..end * 4]);
            }
        }
        assert_eq!(
            stacked.to_device(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap(),
            want
        );
    }
}
