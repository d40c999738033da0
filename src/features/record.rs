//! What is known of an image beside its tensors.

use std::path::PathBuf;

use serde_json::value::RawValue;

use crate::output::InputFacts;

/// What is known of an image beside its tensors.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, path) = given::written()?;
/// let record = clip_features::features::open(&path)?.record(1)?;
/// assert_eq!((record.key.as_str(), record.shapes), ("dog.ppm", vec![vec![5, 48]]));
/// assert_eq!(record.outputs, [path]);
/// assert!(record.facts.is_some_and(|facts| facts.get().contains("\"grid\":[2,2]")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
