//! What lies in a directory that is no checkpoint itself, and where in it the model is.
//!
//! A pipeline, a sentence encoder and the hub's cache keep models in directories of their own, and an adapter is no model. Each is told
//! by the file or directory that only its library writes.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{
    config::VisionConfig,
    config_file::{CONFIG, LARGEST_CONFIG, OPEN_CLIP_CONFIG},
    pickle,
};
use crate::bounded;

/// The configs of PEFT's adapters, of diffusers' pipelines and of sentence-transformers.
pub(crate) const ADAPTER: &str = "adapter_config.json";
pub(crate) const PIPELINE: &str = "model_index.json";
pub(crate) const SENTENCE: &str = "modules.json";

/// Where the hub's cache keeps the files of each commit.
const SNAPSHOTS: &str = "snapshots";

/// More directories than a model has parts.
const MOST_ENTRIES: usize = 1000;

/// What is wrong with a directory, and the way out.
pub(super) struct Instead {
    pub(super) reason: String,
    pub(super) hint: String,
}

/// What a directory without a config is, where that is known.
pub(super) fn instead(directory: &Path) -> Option<Instead> {
    let has = |name: &str| directory.join(name).is_file();
    if let Some(found) = adapter(directory) {
        return Some(found);
    }
    if let Some(found) = cache(directory) {
        return Some(found);
    }
    let towers: Vec<PathBuf> =
        directories(directory).into_iter().filter(|directory| is_of_a_tower(directory)).collect();
    let reason = match (has(PIPELINE), has(SENTENCE)) {
        (true, _) => "is a pipeline of diffusers, whose models are in directories of their own",
        (_, true) => "is a model of sentence-transformers, whose parts are in directories of their own",
        _ if towers.is_empty() => return None,
        _ => "has no config.json; models are in directories of its own",
    };
    let hint = match towers.as_slice() {
        [] => "none of them is a vision tower that is supported".to_owned(),
        [tower] => format!("give the one with a vision tower: {}", tower.display()),
        [tower, ..] => {
            let names: Vec<_> = towers.iter().map(|tower| name(tower)).collect();
            format!("{} have vision towers; give one of them, such as {}", listed(&names), tower.display())
        }
    };
    Some(Instead { reason: reason.into(), hint })
}

/// What an adapter's directory is told.
pub(super) fn adapter(directory: &Path) -> Option<Instead> {
    let text = bounded::read_to_string(&directory.join(ADAPTER), LARGEST_CONFIG).ok()?;
    let config: Value = serde_json::from_str(&text).unwrap_or_default();
    let base = config.get("base_model_name_or_path").and_then(Value::as_str);
    // It becomes part of a line for a shell.
    let is_plain = |name: &&str| {
        name.len() < 200 && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '/' | '.' | '-' | '_'))
    };
    let base = base.filter(is_plain).unwrap_or("ITS-MODEL");
    let directory = directory.display().to_string();
    Some(Instead {
        reason: format!("is an adapter of the model {base}, which changes its weights and is none itself"),
        hint: format!(
            "put it into that model, and give what comes of it: {}",
            pickle::merged(base, directory.trim_end_matches(std::path::MAIN_SEPARATOR))
        ),
    })
}

/// The only snapshot of a model in the hub's cache, where that is what the directory is.
pub(crate) fn only_snapshot(directory: &Path) -> Option<PathBuf> {
    let mut snapshots = snapshots(directory)?;
    if snapshots.len() == 1 { snapshots.pop() } else { None }
}

/// The snapshots of a model in the hub's cache; none if the directory is no such thing.
fn snapshots(directory: &Path) -> Option<Vec<PathBuf>> {
    let is_there = |name: &str| directory.join(name).exists();
    let is_cache = is_there(SNAPSHOTS) && (is_there("refs") || is_there("blobs")) && !is_there(CONFIG);
    is_cache.then(|| directories(&directory.join(SNAPSHOTS)))
}

/// What is told of the hub's cache, or of one model in it.
fn cache(directory: &Path) -> Option<Instead> {
    if let Some(snapshots) = snapshots(directory) {
        let main = std::fs::read_to_string(directory.join("refs/main")).unwrap_or_default();
        let chosen = snapshots.iter().find(|path| name(path) == main.trim()).or(snapshots.first());
        let hint = match chosen {
            Some(chosen) if name(chosen) == main.trim() => {
                format!("give the one that its branch main is at: {}", chosen.display())
            }
            Some(chosen) => format!("give one of them, such as {}", chosen.display()),
            None => "download the model again".to_owned(),
        };
        let reason = format!(
            "is a model in the hub's cache, with {} snapshots of its files",
            if snapshots.is_empty() { "no".to_owned() } else { snapshots.len().to_string() }
        );
        return Some(Instead { reason, hint });
    }
    let models = directories(directory);
    let ids: Vec<String> = models
        .iter()
        .filter_map(|path| Some(name(path).strip_prefix("models--")?.replacen("--", "/", 1)))
        .collect();
    let first = ids.first()?;
    Some(Instead {
        reason: "is a cache of the hub".into(),
        hint: format!("give the name of a model in it, such as {first}"),
    })
}

/// The directories in a directory, by name; of a model's there are few.
fn directories(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().take(MOST_ENTRIES);
    let mut found: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).collect();
    found.sort_unstable();
    found
}

/// Whether a directory's config is of a tower that is supported.
fn is_of_a_tower(directory: &Path) -> bool {
    ["config.json", OPEN_CLIP_CONFIG]
        .iter()
        .any(|name| VisionConfig::from_file(&directory.join(name)).is_ok())
}

/// The first of some names, and how many more there are.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 3;
    match names.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("{} and {more} more", names[..SHOWN].join(", ")),
        _ => names.join(", "),
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOWER: &str = r#"{"model_type": "clip_vision_model"}"#;

    /// A directory with these files, and what is told of it.
    fn told(files: &[(&str, &str)]) -> Option<String> {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let Instead { reason, hint } = instead(directory.path())?;
        let message = format!("{reason}\n{hint}");
        Some(message.replace(&directory.path().display().to_string(), "DIR").replace('\\', "/"))
    }

    #[test]
    fn a_directory_of_parts_leads_to_the_one_with_a_tower() {
        let text = r#"{"model_type": "clip_text_model"}"#;
        for (library, file) in [("diffusers", PIPELINE), ("sentence-transformers", SENTENCE)] {
            let parts = [(file, "[]"), ("a/config.json", text), ("b/config.json", TOWER)];
            let message = told(&parts).unwrap();
            assert!(message.contains(library) && message.ends_with("a vision tower: DIR/b"), "{message}");
            let message = told(&parts[..2]).unwrap();
            assert!(message.ends_with("none of them is a vision tower that is supported"), "{message}");
        }
        // As a Trainer leaves them, and what open_clip wrote.
        let message = told(&[("checkpoint-1/config.json", TOWER), ("x/y", "")]).unwrap();
        assert!(message.ends_with("DIR/checkpoint-1"), "{message}");
        let many: Vec<String> = (1..=5).map(|i| format!("checkpoint-{i}/config.json")).collect();
        let many: Vec<_> = many.iter().map(|name| (name.as_str(), TOWER)).collect();
        let message = told(&many).unwrap();
        assert!(
            message.ends_with(
                "checkpoint-1, checkpoint-2, checkpoint-3 and 2 more have vision towers; give one of them, such as \
                 DIR/checkpoint-1"
            ),
            "{message}"
        );
        assert_eq!(told(&[("x/config.json", "{}"), ("y", "")]), None);
        assert_eq!(told(&[]), None);
    }

    #[test]
    fn an_adapter_names_its_model() {
        let message = told(&[(ADAPTER, r#"{"base_model_name_or_path": "openai/clip"}"#)]).unwrap();
        assert!(message.starts_with("is an adapter of the model openai/clip, "), "{message}");
        assert!(
            message.contains("M.from_pretrained('openai/clip')") && message.contains("'DIR-merged'"),
            "{message}"
        );
        // Nothing of a config reaches a shell that is no name.
        for config in ["", "{}", r#"{"base_model_name_or_path": "x'; rm -r ~ #"}"#] {
            let message = told(&[(ADAPTER, config)]).unwrap();
            assert!(
                message.contains("M.from_pretrained('ITS-MODEL')") && !message.contains("rm -r"),
                "{message}"
            );
        }
    }

    #[test]
    fn a_model_in_the_cache_leads_to_a_snapshot() {
        let two = [("blobs/x", ""), ("snapshots/a/config.json", TOWER), ("snapshots/b/config.json", TOWER)];
        let message = told(&two).unwrap();
        assert!(
            message.contains("with 2 snapshots") && message.ends_with("such as DIR/snapshots/a"),
            "{message}"
        );
        let message = told(&[&two[..], &[("refs/main", "b\n")]].concat()).unwrap();
        assert!(message.ends_with("its branch main is at: DIR/snapshots/b"), "{message}");
        let message = told(&[("refs/main", "b"), ("snapshots/x", "")]).unwrap();
        assert!(message.contains("with no snapshots"), "{message}");
        let message = told(&[("models--acme--clip/blobs/x", ""), ("version.txt", "1")]).unwrap();
        assert_eq!(message, "is a cache of the hub\ngive the name of a model in it, such as acme/clip");
    }
}
