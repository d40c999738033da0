//! An image, as an output is given it.

use std::path::Path;

use super::{Array, InputFacts, Metadata};
use crate::shard::Sample;

/// What is written of an image.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// Its tensors.
    Tensors(&'a [Array]),
    /// A picture of them, encoded.
    Picture(&'a [u8]),
}

impl<'a> Content<'a> {
    /// Its tensors; none of a picture.
    pub(super) fn tensors(self) -> &'a [Array] {
        match self {
            Self::Tensors(arrays) => arrays,
            Self::Picture(_) => &[],
        }
    }
}

/// An image that has come to its end.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// Its path below the input that it came from; of a tar's member the tar's path and the member's.
    pub key: &'a str,
    /// The path that files of its own are named for.
    pub name: &'a Path,
    /// Of an image in a tar: its sample.
    pub sample: Option<&'a Sample>,
    /// What was read of it.
    pub input: &'a InputFacts,
    /// How many of the images that were known in advance came before it in this run.
    pub place: usize,
    /// What an output says of it beside the settings.
    pub metadata: &'a Metadata,
    /// The facts that a manifest holds of it, a JSON object.
    pub facts: &'a str,
    /// What a tar says of it, as JSON.
    pub report: &'a str,
    /// What is to be written.
    pub content: Content<'a>,
}
