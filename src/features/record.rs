//! What is known of an image beside its tensors.

use std::path::PathBuf;

use serde_json::value::RawValue;

use crate::output::InputFacts;

/// What is known of an image beside its tensors.
#[derive(Debug)]
pub struct Record {
    /// The image's path below the input that it came from; of a tar's member the tar's path and the member's.
    pub key: String,
    /// What it was made of.
    pub input: InputFacts,
    /// The files that hold it: one, or where each tensor has a file, one for each.
    pub outputs: Vec<PathBuf>,
    /// The tensors' shapes, in order, without the dimension of the batch.
    pub shapes: Vec<Vec<usize>>,
    /// What `--json` says of the picture, a JSON object: `grid`, `grid_box`, `crop_box`, `image`.
    pub facts: Option<Box<RawValue>>,
}
