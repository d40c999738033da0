//! What can be drawn of an image's patches.

use std::fmt;

use crate::figure::Cell;

/// What can be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrawingKind {
    /// The norm of each patch token, or with a query its cosine to that one.
    Heatmap {
        /// The patch that the others are compared with.
        query: Option<Cell>,
    },
    /// The first three principal components of the patch tokens, as colours.
    Pca,
}

/// `heatmap` or `pca`.
impl fmt::Display for DrawingKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Heatmap { .. } => "heatmap",
            Self::Pca => "pca",
        })
    }
}
