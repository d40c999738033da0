//! Images whose tensors lie one after the other in a file, so that they can be taken together.

use std::path::PathBuf;

use super::{At, Features, FeaturesError};

/// Images in a row whose tensors have one shape and lie one after the other in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The file.
    pub path: PathBuf,
    /// Where the elements of the first one begin in it.
    pub offset: u64,
    /// How many images there are.
    pub count: usize,
    /// The shape of each, without the dimension of the batch.
    pub shape: Vec<usize>,
}

impl Features {
    /// All images, as runs of one of their tensors, in order.
    ///
    /// # Errors
    /// There is no such tensor, or a file was cut, has changed or cannot be read.
    #[doc(hidden)]
    pub fn runs(&self, tensor: usize) -> Result<Vec<Run>, FeaturesError> {
        let mut runs: Vec<Run> = Vec::new();
        for place in 0..self.len() {
            let At { path, offset, shape } = self.at(place, tensor)?;
            let bytes = self.dtype().bytes(&shape);
            match runs.last_mut() {
                Some(run)
                    if run.path == path
                        && run.shape == shape
                        && run.offset + run.count as u64 * bytes == offset =>
                {
                    run.count += 1;
                }
                _ => runs.push(Run { path, offset, count: 1, shape }),
            }
        }
        Ok(runs)
    }
}
