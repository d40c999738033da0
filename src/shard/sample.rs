//! A sample of a shard, as far as it goes beside its image.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What of each sample is wanted.
///
/// ```
/// use clip_features::{Inputs, job::Job};
///
/// let mut job = Job::default();
/// job.inputs = Inputs::Paths(vec!["shards/00042.tar".into()]);
/// job.selection.image_keys = vec!["png".into(), "jpg".into()]; // a png where a sample has one, else a jpg
/// job.selection.keep = vec!["txt".into()]; // and its caption goes along
/// job.output.path = Some("tarred/".into()); // to tarred/00042.tar
/// assert!(job.choose().is_ok());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Extensions of the image to take, the first that a sample has, in small letters. Where there are none, a sample must have
    /// one image.
    pub image_keys: Vec<String>,
    /// Extensions of the members to carry over, in small letters.
    pub keep: Vec<String>,
}

/// The sample that an image is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The shard, by its relative path among the inputs.
    pub shard: PathBuf,
    /// The path up to the first dot of the base name.
    pub key: String,
    /// The members to carry over, in the order of the shard.
    pub kept: Vec<Kept>,
}

/// A member to carry over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What follows the key and a dot.
    pub extension: String,
    /// The content.
    pub bytes: Vec<u8>,
}
