//! Which files make up a local model.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    config::VisionConfig,
    config_file::{CONFIG, LARGEST_CONFIG, OPEN_CLIP_CONFIG},
    error::ModelError,
    family::OriginalLlava,
    index::weight_map,
    instead::{Instead, PIPELINE, adapter, instead, only_snapshot},
    other_weights::other_weights,
    pickle::{self, REFUSED, is_pickle, pickle_in},
};
use crate::bounded;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// What open_clip calls its weights, or their index, in the order in which it looks for them, and before it looks for those of
/// transformers' names.
pub(crate) const OPEN_CLIP_WEIGHTS: [&str; 4] = [
    "open_clip_model.safetensors",
    "open_clip_model.safetensors.index.json",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.safetensors.index.json",
];

/// The files of a checkpoint on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFiles {
    /// The file with the image processor's settings: `processor_config.json` or `preprocessor_config.json`, of open_clip
    /// `open_clip_config.json`, of timm `config.json`.
    pub processor: Option<PathBuf>,
    /// `model.safetensors`, another `.safetensors` file, or an index of shards.
    pub weights: Option<PathBuf>,
    /// The directory that holds them.
    pub directory: PathBuf,
    /// The name of the tower's config.
    config: &'static str,
}

impl ModelFiles {
    /// Finds the files of a checkpoint directory, or those beside a `.safetensors` file. A model's directory in the hub's cache stands
    /// for its snapshot if it has one alone. Where there are those of open_clip beside
    /// others, the others are taken if a tower can be opened by them: their weights are there too, and their configs are supported.
    ///
    /// None of them must exist: [`ModelFiles::config`], [`ModelFiles::weights`] and [`ModelFiles::processor`] say
    /// what is missing when it is needed.
    ///
    /// # Errors
    /// `path` does not exist, or is neither a directory nor a `.safetensors` file.
    pub fn locate(path: &Path) -> Result<Self, ModelError> {
        let io_error = |source| ModelError::Io { path: path.to_owned(), source };
        let kind = std::fs::metadata(path).map_err(io_error)?;
        if kind.is_dir() {
            // One that may not be searched holds nothing that is seen.
            std::fs::metadata(path.join(".")).map_err(io_error)?;
            return Ok(Self::in_directory(&only_snapshot(path).unwrap_or_else(|| path.to_owned())));
        }
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let directory = parent.unwrap_or(Path::new("."));
            let is_open_clips = OPEN_CLIP_WEIGHTS.iter().any(|name| path.ends_with(name));
            let has = |name: &str| is_there(&directory.join(name));
            let is_open_clips = has(OPEN_CLIP_CONFIG) && (is_open_clips || !has(CONFIG));
            return Ok(Self::new(directory, is_open_clips, Some(path.to_owned())));
        }
        let (reason, hint) = if is_pickle(path) {
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let files = Self::in_directory(directory.unwrap_or(Path::new(".")));
            (REFUSED.into(), files.conversion(path))
        } else {
            let hint = format!("give a checkpoint directory that holds config.json and {SINGLE}");
            ("neither a directory nor a .safetensors file".into(), hint)
        };
        Err(ModelError::NotACheckpoint { path: path.to_owned(), reason, hint })
    }

    fn in_directory(directory: &Path) -> Self {
        let first =
            |names: &[&str]| names.iter().map(|name| directory.join(name)).find(|path| is_there(path));
        let (plain, own) = (first(&[SINGLE, INDEX]), first(&OPEN_CLIP_WEIGHTS));
        let has = |name: &str| is_there(&directory.join(name));
        if !has(OPEN_CLIP_CONFIG) {
            return Self::new(directory, false, plain);
        }
        if !has(CONFIG) {
            return Self::new(directory, true, own.or(plain));
        }
        let others = Self::new(directory, false, plain);
        let is_open_clips = match others.are_supported() {
            true => others.weights.is_none() && own.is_some(),
            false => others.weights.is_none() || own.is_some(),
        };
        if is_open_clips { Self::new(directory, true, own) } else { others }
    }

    /// Whether the configs are there and of a tower that can be opened.
    fn are_supported(&self) -> bool {
        let config = self.directory.join(self.config);
        let is_elsewhere = || {
            let text = bounded::read_to_string(&config, LARGEST_CONFIG);
            text.is_ok_and(|text| tower_elsewhere(&text).is_some())
        };
        is_elsewhere() || self.processor.is_some() && VisionConfig::from_file(&config).is_ok()
    }

    fn new(directory: &Path, is_open_clips: bool, weights: Option<PathBuf>) -> Self {
        let config = directory.join(if is_open_clips { OPEN_CLIP_CONFIG } else { CONFIG });
        let is_timms =
            || bounded::read_to_string(&config, LARGEST_CONFIG).is_ok_and(|text| names_architecture(&text));
        let processor = if is_open_clips || is_timms() { Some(config) } else { processor_file(directory) };
        let config = if is_open_clips { OPEN_CLIP_CONFIG } else { CONFIG };
        Self { processor, weights, directory: directory.to_owned(), config }
    }

    /// All of them, of an index its shards too. Not each need exist, and an index that cannot be read names none.
    pub fn all(&self) -> Vec<PathBuf> {
        let mut files = vec![self.directory.join(self.config)];
        files.extend(self.processor.iter().chain(&self.weights).cloned());
        let is_index = |path: &&Path| path.extension() == Some("json".as_ref());
        if let Some(Ok(map)) = self.weights.as_deref().filter(is_index).map(weight_map) {
            let shards: BTreeSet<String> = map.into_values().collect();
            files.extend(shards.into_iter().map(|name| self.directory.join(name)));
        }
        files
    }

    /// `config.json` or `open_clip_config.json`.
    ///
    /// # Errors
    /// There is none.
    pub fn config(&self) -> Result<PathBuf, ModelError> {
        let config = self.directory.join(self.config);
        if is_there(&config) {
            return Ok(config);
        }
        if let Some(Instead { reason, hint }) = instead(&self.directory) {
            return Err(ModelError::NotACheckpoint { path: self.directory.clone(), reason, hint });
        }
        let mut reason = format!("has no {CONFIG} and no {OPEN_CLIP_CONFIG}");
        let mut hint =
            "a checkpoint directory is what transformers' save_pretrained, open_clip or timm write"
                .to_owned();
        if let (None, Some(found)) = (&self.weights, pickle_in(&self.directory)) {
            reason = format!("{reason}, only {}, {REFUSED}", name(&found));
            hint = self.conversion(&found);
        }
        Err(ModelError::NotACheckpoint { path: self.directory.clone(), reason, hint })
    }

    /// What an original LLaVA checkpoint's `config.json` says.
    ///
    /// # Errors
    /// There is none, it cannot be read, or it is another model's.
    pub(super) fn original_llava(&self) -> Result<OriginalLlava, ModelError> {
        let path = self.config()?;
        let text = bounded::read_to_string(&path, LARGEST_CONFIG)
            .map_err(|source| ModelError::Io { path: path.clone(), source })?;
        let root: Option<Value> = serde_json::from_str(&text).ok();
        let found = root.as_ref().and_then(OriginalLlava::of);
        let found = found.unwrap_or_else(|| Err("names no vision tower that is another model".into()));
        found.map_err(|reason| ModelError::Config { path, reason })
    }

    /// The file or index of the weights.
    ///
    /// # Errors
    /// There is none; where others are found, under another name or as a pickle, the hint says what to do.
    pub fn weights(&self) -> Result<&Path, ModelError> {
        self.weights.as_deref().ok_or_else(|| {
            let other = adapter(&self.directory).or_else(|| other_weights(&self.directory));
            if let Some(Instead { reason, hint }) = other {
                return ModelError::NotACheckpoint { path: self.directory.clone(), reason, hint };
            }
            let Some(found) = pickle_in(&self.directory) else {
                return ModelError::NoWeights { path: self.directory.clone() };
            };
            let reason = format!("has no {}, only {}, {REFUSED}", self.own_weights(), name(&found));
            ModelError::NotACheckpoint { path: self.directory.clone(), reason, hint: self.conversion(&found) }
        })
    }

    /// What the weights of such a directory are called.
    fn own_weights(&self) -> &'static str {
        if self.config == CONFIG { SINGLE } else { OPEN_CLIP_WEIGHTS[0] }
    }

    /// How a pickle in this directory becomes weights that are read.
    fn conversion(&self, found: &Path) -> String {
        let [directory, from, to] = [&self.directory, found, &self.directory.join(self.own_weights())]
            .map(|path| path.display().to_string());
        if !is_there(&self.directory.join(self.config)) {
            let line = pickle::by_open_clip(&from, &directory);
            return format!(
                "OpenAI's models are on the hub, such as openai/clip-vit-large-patch14; one that open_clip trained is converted, \
                 with the name of its architecture for ViT-B-32, by: {line}"
            );
        }
        // Where the image processor's settings are not in the config, the names are transformers'.
        let is_transformers =
            self.processor.as_ref().is_none_or(|processor| !processor.ends_with(self.config));
        let line = if is_transformers && found.ends_with("pytorch_model.bin") {
            pickle::in_place(&directory)
        } else {
            pickle::by_torch(&from, &to)
        };
        format!("convert it: {line}")
    }

    /// The image processor's settings.
    ///
    /// # Errors
    /// There are none beside the config, or there is no config either.
    pub fn processor(&self) -> Result<&Path, ModelError> {
        if self.processor.is_none() {
            self.config()?; // a directory without either is no checkpoint at all
        }
        self.processor.as_deref().ok_or_else(|| ModelError::NotACheckpoint {
            path: self.directory.clone(),
            reason: "has no preprocessor_config.json".into(),
            hint: "save the processor beside the model, as CLIPImageProcessor.save_pretrained does".into(),
        })
    }
}

/// The name of the vision tower in the text of a `config.json` that is a model of its own: a path, or a name on the hub.
pub(crate) fn tower_elsewhere(text: &str) -> Option<String> {
    OriginalLlava::of(&serde_json::from_str(text).ok()?)?.ok().map(|model| model.mm_vision_tower)
}

/// Whether there is a file, or what is refused in its place when it is opened: a pipe, a device.
fn is_there(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| !found.is_dir())
}

fn name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

/// Whether the text of a `config.json` names an architecture of timm.
pub(crate) fn names_architecture(text: &str) -> bool {
    serde_json::from_str::<Value>(text).is_ok_and(|config| config.get("architecture").is_some())
}

/// transformers 5 nests the image processor's settings in `processor_config.json` and looks there first.
fn processor_file(directory: &Path) -> Option<PathBuf> {
    let nested = directory.join("processor_config.json");
    if bounded::read_to_string(&nested, LARGEST_CONFIG)
        .is_ok_and(|text| nested_image_processor(&text).is_some())
    {
        return Some(nested);
    }
    let plain = directory.join("preprocessor_config.json");
    is_there(&plain).then_some(plain).or_else(|| in_pipeline(&directory.join("..")))
}

/// The image processor of a pipeline of diffusers, which lies beside the tower rather than with it.
fn in_pipeline(pipeline: &Path) -> Option<PathBuf> {
    let files = ["feature_extractor", "image_processor"]
        .map(|part| pipeline.join(part).join("preprocessor_config.json"));
    files.into_iter().find(|file| is_there(&pipeline.join(PIPELINE)) && is_there(file))
}

/// The image processor's settings inside the text of a `processor_config.json`; a null is none, and transformers goes on to the
/// other file.
pub(crate) fn nested_image_processor(text: &str) -> Option<Value> {
    let mut config: Value = serde_json::from_str(text).ok()?;
    config.get_mut("image_processor").map(Value::take).filter(|settings| !settings.is_null())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_settings_come_first_unless_they_are_null() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let found = || processor_file(directory.path());
        let nested = write("processor_config.json", r#"{"image_processor": null}"#);
        assert_eq!(found(), None);
        let plain = write("preprocessor_config.json", "{}");
        assert_eq!(found(), Some(plain));
        write("processor_config.json", r#"{"image_processor": {}}"#);
        assert_eq!(found(), Some(nested));
    }
}
