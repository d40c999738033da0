//! What tells a stack from an archive of named tensors.

use std::{
    collections::HashSet,
    fmt::Debug,
    io,
    path::{Path, PathBuf},
};

use super::names::Names;
use crate::output::{Array, Contents, Dtype, Metadata, OutputError, OutputFile, format::safetensors::Entry};

/// How images lie in a file of many, and what lies beside it.
pub(in crate::output) trait Layout: Debug + Send + Sync {
    /// Refuses contents that do not go into such a file.
    fn check(&self, path: &Path, contents: &Contents) -> Result<(), OutputError>;

    /// Bytes to reserve for the text of a file's header. `planned` are the names of the images known in advance.
    fn room(&self, names: &Names, contents: &Contents, planned: &[&Path]) -> usize;

    /// Bytes before the tensors, where `room` is reserved.
    fn data_start(&self, room: usize) -> u64;

    /// The room that a header has had that ends at `start`; the opposite of [`Layout::data_start`].
    fn room_before(&self, start: u64) -> usize;

    /// A tensor's entry under its image's key; `several` where an image has more than one.
    fn entry(&self, key: &str, array: &Array, several: bool) -> Entry;

    /// Whether all entries must have one shape.
    fn is_uniform(&self) -> bool;

    /// All bytes before the tensors: as many as `start`, or more where these do not do.
    fn header(
        &self,
        entries: &[Entry],
        dtype: Dtype,
        metadata: &Metadata,
        start: usize,
    ) -> io::Result<Vec<u8>>;

    /// What lies beside the finished files.
    fn beside(&self, names: &Names) -> Vec<PathBuf> {
        vec![names.index()]
    }

    /// Refuses what is there of it where no archive is, if it is another's.
    fn check_beside(&self, _names: &Names) -> Result<(), OutputError> {
        Ok(())
    }

    /// Writes what lies beside the finished `files`, ready to be put in place.
    fn write_index(
        &self,
        names: &Names,
        contents: &Contents,
        files: &[PathBuf],
        images: &[Placed<'_>],
    ) -> Result<Vec<OutputFile>, OutputError>;

    /// The least that an image's lines take in a header or an index, given the bytes of its key and the number of its tensors.
    fn line_bytes(&self, key: usize, tensors: usize) -> usize;

    /// The files that an index speaks of.
    fn indexed(&self, index: &Path) -> Result<Vec<PathBuf>, OutputError>;

    /// What each of the finished `files` holds.
    fn held(&self, names: &Names, files: &[PathBuf], contents: &Contents) -> Result<Vec<Held>, OutputError>;

    /// The keys of the images that the finished `files` hold. Others than ours, or of other settings, are refused.
    fn read(
        &self,
        names: &Names,
        files: &[PathBuf],
        contents: &Contents,
    ) -> Result<HashSet<String>, OutputError>;
}

/// What a finished file holds.
pub(in crate::output) struct Held {
    /// Where its tensors begin.
    pub(in crate::output) start: u64,
    /// Its images with their tensors, in the order in which they lie one after the other.
    pub(in crate::output) images: Vec<(String, Vec<Entry>)>,
}

/// An image in one of the files, which are counted from 0.
pub(in crate::output) struct Placed<'a> {
    pub(in crate::output) shard: usize,
    pub(in crate::output) key: &'a str,
    pub(in crate::output) entries: &'a [Entry],
}
