//! Which of the shards of an index are read.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::names::{Names, Scope};
use crate::model::{error::ModelError, index::weight_map};

/// More than any checkpoint has.
const MOST_SHARDS: usize = 1000;

/// The shards of an index (`model.safetensors.index.json`) that hold tensors in `scope`, in order.
///
/// # Errors
/// The index cannot be read, or names files that do not lie beside it.
pub fn vision_shards(path: &Path, scope: Scope) -> Result<Vec<PathBuf>, ModelError> {
    shards_of(path, &weight_map(path)?, scope)
}

/// The same of an index that was read.
pub(super) fn shards_of(
    path: &Path,
    map: &BTreeMap<String, String>,
    scope: Scope,
) -> Result<Vec<PathBuf>, ModelError> {
    let corrupt = |reason: String| ModelError::Corrupt { path: path.to_owned(), reason };
    let spelling = Names::of(map.keys(), scope);
    let mut names: Vec<&String> =
        map.iter().filter(|(name, _)| !spelling.in_tower(name).is_empty()).map(|(_, file)| file).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() > MOST_SHARDS {
        return Err(corrupt(format!("names {} shards, expected at most {MOST_SHARDS}", names.len())));
    }
    let directory = path.parent().unwrap_or(Path::new(""));
    names
        .into_iter()
        .map(|name| match Path::new(name).file_name() {
            // Shards lie beside their index; a name with a directory in it would read elsewhere.
            Some(file_name) if file_name == name.as_str() => Ok(directory.join(name)),
            _ => Err(corrupt(format!("shard name {name:?} is not a plain file name"))),
        })
        .collect()
}
