//! Outputs as they were laid out before there was one manifest, which are told and not read.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{
    Format, Metadata, OutputError,
    collection::Collection,
    disk::{hidden_sibling, is_there},
};
use crate::bounded;

/// Refuses a place that holds some.
///
/// # Errors
/// As said.
pub(super) fn refuse(collection: &Collection) -> Result<(), OutputError> {
    match files(collection).into_iter().next() {
        None => Ok(()),
        Some(path) => Err(OutputError::Older { path }),
    }
}

/// Whether a directory is one.
pub(super) fn is_directory(directory: &Path) -> bool {
    is_settings(&directory.join("manifest.json"))
}

/// What tells that a place holds some, and is of no use to what takes its place.
pub(super) fn files(collection: &Collection) -> Vec<PathBuf> {
    if collection.is_directory() {
        let settings = collection.path.join("manifest.json");
        return if is_settings(&settings) { vec![settings] } else { Vec::new() };
    }
    let path = &collection.path;
    let beside = |extension: &str| path.with_extension(extension);
    let mut found = Vec::new();
    if is_settings(&beside("manifest.json")) {
        found.push(beside("manifest.json"));
        found.push(beside("index.jsonl"));
    }
    if hidden_sibling(path, ".parts").join("journal.jsonl").is_file() {
        found.push(hidden_sibling(path, ".parts").join("journal.jsonl"));
    }
    if collection.format == Format::Safetensors && is_index(&beside("safetensors.index.json")) {
        found.push(beside("safetensors.index.json"));
    }
    found.retain(|path| is_there(path));
    found
}

/// The settings that outputs shared, in a file of their own.
fn is_settings(path: &Path) -> bool {
    /// More than the settings of any run take.
    const LARGEST: u64 = 1 << 20;
    #[derive(Deserialize)]
    struct Manifest {
        settings: Metadata,
    }
    let found = bounded::read(path, LARGEST).ok().and_then(|text| serde_json::from_slice(&text).ok());
    found.is_some_and(|Manifest { settings }| settings.get("tool") == Some(env!("CARGO_PKG_NAME")))
}

/// The index of shards, of which the first was made here.
fn is_index(path: &Path) -> bool {
    let stem = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".safetensors.index.json"));
    let Some(stem) = stem.filter(|_| path.is_file()) else { return false };
    let is_first = |name: &str| {
        let rest = name.strip_prefix(stem).and_then(|name| name.strip_prefix("-00001-of-"));
        rest.is_some_and(|rest| rest.ends_with(".safetensors"))
    };
    let entries = fs::read_dir(super::disk::parent(path)).into_iter().flatten().filter_map(Result::ok);
    let mut shards = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_first));
    shards.any(|entry| made_here(&entry.path()))
}

/// Whether the metadata of a safetensors file say so.
fn made_here(path: &Path) -> bool {
    /// They stand at the beginning of the header.
    const START: usize = 1 << 16;
    let mut start = Vec::new();
    let read = bounded::open(path).and_then(|file| {
        std::io::Read::read_to_end(&mut std::io::Read::take(file, START as u64), &mut start)
    });
    let tool = concat!("\"tool\":\"", env!("CARGO_PKG_NAME"), "\"");
    read.is_ok() && start.windows(tool.len()).any(|window| window == tool.as_bytes())
}
