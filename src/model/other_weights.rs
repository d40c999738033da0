//! Weights in a directory under other names than those that are looked for.

use std::path::{Path, PathBuf};

use super::{
    instead::Instead,
    weights::{Checkpoint, Scope},
};

/// Safetensors with a tower of which the directory alone does not say that they are meant: a variant (`model.fp16.safetensors`), an
/// index of one, or shards that lost their index.
pub(super) fn other_weights(directory: &Path) -> Option<Instead> {
    const MOST_ENTRIES: usize = 1000;
    let entries = std::fs::read_dir(directory).ok()?.take(MOST_ENTRIES);
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort_unstable();
    let named = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let has = |part: &str, ending: &str| {
        let is_such = |path: &&PathBuf| named(path).contains(part) && named(path).ends_with(ending);
        files.iter().find(is_such).map(|path| named(path))
    };
    let none = "has no model.safetensors";
    if let Some(index) = has(".safetensors.index.", ".json") {
        let reason = format!("{none} and no model.safetensors.index.json, only the index {index}");
        let hint = format!("rename {index} to model.safetensors.index.json; its shards keep their names");
        return Some(Instead { reason, hint });
    }
    if let Some(shard) = has("-of-", ".safetensors") {
        let reason = format!("{none}, only shards such as {shard}, and no index that says what is in which");
        let hint = "put model.safetensors.index.json beside them, which was saved with them".into();
        return Some(Instead { reason, hint });
    }
    let holds_tower = |path: &&PathBuf| {
        path.extension().is_some_and(|extension| extension == "safetensors")
            && Checkpoint::open(path, Scope::Tower).is_ok_and(|checkpoint| checkpoint.has_tower())
    };
    let found = files.iter().find(holds_tower)?;
    let reason = format!("{none}; {} has a vision tower under a name of its own", named(found));
    Some(Instead { reason, hint: format!("give that file: {}", found.display()) })
}
