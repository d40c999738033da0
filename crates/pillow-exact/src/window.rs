//! A part of a picture.

use std::ops::Range;

/// A rectangle of a picture, in its pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The rows in it.
    pub rows: Range<u32>,
    /// The columns in it.
    pub columns: Range<u32>,
}

impl Window {
    /// The whole of a picture.
    pub fn full(width: u32, height: u32) -> Self {
        Self { rows: 0..height, columns: 0..width }
    }

    /// Whether nothing of `other` lies outside.
    pub fn holds(&self, other: &Self) -> bool {
        let holds = |outer: &Range<u32>, inner: &Range<u32>| {
            inner.is_empty() || (outer.start <= inner.start && inner.end <= outer.end)
        };
        holds(&self.rows, &other.rows) && holds(&self.columns, &other.columns)
    }
}
