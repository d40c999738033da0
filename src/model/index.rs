//! The index of a checkpoint's shards.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

use super::error::ModelError;
use crate::{bounded, json};

/// The index of the largest models, of 90,000 tensors, takes 9 MB.
pub(crate) const LARGEST_INDEX: u64 = 64 << 20;

/// More than the largest language models have in all their shards together.
const MOST_TENSORS: usize = 250_000;

/// Refuses a header or an index of more tensors than any checkpoint has, before they are put together in memory. A tensor takes so
/// many `colons`; what is no such JSON at all is left to whoever parses it.
pub(super) fn check_count(text: &[u8], colons: usize) -> Result<(), String> {
    let count = text.iter().filter(|&&byte| byte == b':').count() / colons;
    match count > MOST_TENSORS {
        true => Err(format!("holds {count} tensors, expected at most {MOST_TENSORS}")),
        false => Ok(()),
    }
}

/// The name of each tensor's shard, as an index (`model.safetensors.index.json`) has it.
///
/// # Errors
/// It cannot be read, or is no index.
pub(super) fn weight_map(path: &Path) -> Result<BTreeMap<String, String>, ModelError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let text = bounded::read(path, LARGEST_INDEX)
        .map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
    let corrupt = |reason: String| ModelError::Corrupt { path: path.to_owned(), reason };
    check_count(&text, 1).map_err(corrupt)?;
    let index: Index = serde_json::from_slice(&text).map_err(|error| {
        corrupt(match error.is_data() {
            true => format!("not an index of shards, which has a weight_map from tensors to files: {error}"),
            false => json::reason(&text, &error),
        })
    })?;
    Ok(index.weight_map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_index_is_told_plainly() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.safetensors.index.json");
        for (text, part) in [
            ("", "is empty"),
            ("{\"weight_map\": ", "not valid JSON"),
            ("{\"metadata\": {}}", "which has a weight_map from tensors to files: missing field"),
            ("{\"weight_map\": {\"a\": 3}}", "which has a weight_map from tensors to files: invalid type"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = weight_map(&path).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
