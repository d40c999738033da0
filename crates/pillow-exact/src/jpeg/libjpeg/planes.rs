//! A picture's components before anything is put together: the samples that one row of MCUs gives.

use std::ops::Range;

/// Samples of a block's edge.
pub(super) const BLOCK: usize = 8;

/// One component, and how it lies beneath the pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::jpeg) struct Component {
    /// Samples of a row and rows, as far as there are pixels above them.
    pub(in crate::jpeg) size: (usize, usize),
    /// Pixels of a row, and rows of them, that one sample is for: 1 or 2.
    pub(in crate::jpeg) step: (usize, usize),
    /// Rows that a row of MCUs has.
    pub(super) rows: usize,
    /// Samples that libjpeg writes of a row, with those that fill up the last block.
    pub(super) stride: usize,
}

/// The samples of one row of MCUs, with the last row of the one before, which the upsampling may look back to.
#[derive(Debug)]
pub(in crate::jpeg) struct Planes {
    components: Vec<Component>,
    samples: Vec<Vec<u8>>,
    /// The row of MCUs that is in memory.
    group: usize,
}

impl Planes {
    pub(super) fn new(components: Vec<Component>) -> Self {
        let samples =
            components.iter().map(|component| vec![0; (1 + component.rows) * component.stride]).collect();
        Self { components, samples, group: 0 }
    }

    pub(in crate::jpeg) fn components(&self) -> &[Component] {
        &self.components
    }

    /// Rows of pixels that a row of MCUs has.
    pub(in crate::jpeg) fn group_rows(&self) -> usize {
        self.components.iter().map(|component| component.rows * component.step.1).max().unwrap_or(BLOCK)
    }

    /// Makes the last row the one before the first, and room for the next row of MCUs.
    pub(super) fn advance(&mut self, group: usize) {
        for (component, samples) in self.components.iter().zip(&mut self.samples) {
            samples.copy_within(component.rows * component.stride.., 0);
        }
        self.group = group;
    }

    /// The rows of a component to be filled.
    pub(super) fn rows_mut(&mut self, component: usize) -> impl Iterator<Item = &mut [u8]> {
        let stride = self.components[component].stride;
        self.samples[component][stride..].chunks_exact_mut(stride)
    }

    /// Some samples of a component's row, which is counted from the picture's first.
    pub(in crate::jpeg) fn row(&self, component: usize, row: usize, columns: Range<usize>) -> &[u8] {
        let Component { rows, stride, .. } = self.components[component];
        let row = row + 1 - self.group * rows;
        &self.samples[component][row * stride..][..stride][columns]
    }
}
