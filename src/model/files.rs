//! Which files make up a local model.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{error::ModelError, family::OriginalLlava};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The files of a checkpoint on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFiles {
    /// The file with the image processor's settings: `processor_config.json` or `preprocessor_config.json`.
    pub processor: Option<PathBuf>,
    /// `model.safetensors`, another `.safetensors` file, or `model.safetensors.index.json`.
    pub weights: Option<PathBuf>,
    /// The directory that holds them.
    pub directory: PathBuf,
}

impl ModelFiles {
    /// Finds the files of a checkpoint directory, or those beside a `.safetensors` file.
    ///
    /// None of them must exist: [`ModelFiles::config`], [`ModelFiles::weights`] and [`ModelFiles::processor`] say
    /// what is missing when it is needed.
    ///
    /// # Errors
    /// `path` does not exist, or is neither a directory nor a `.safetensors` file.
    pub fn locate(path: &Path) -> Result<Self, ModelError> {
        let kind =
            std::fs::metadata(path).map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
        let (directory, weights) = if kind.is_dir() {
            let weights = [SINGLE, INDEX].map(|name| path.join(name)).into_iter().find(|path| path.is_file());
            (path.to_owned(), weights)
        } else if path.extension().is_some_and(|extension| extension == "safetensors") {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            (parent.unwrap_or(Path::new(".")).to_owned(), Some(path.to_owned()))
        } else {
            return Err(ModelError::NotACheckpoint {
                path: path.to_owned(),
                reason: "neither a directory nor a .safetensors file".into(),
                hint: format!("give a checkpoint directory that holds config.json and {SINGLE}"),
            });
        };
        let processor = processor_file(&directory);
        Ok(Self { processor, weights, directory })
    }

    /// `config.json`.
    ///
    /// # Errors
    /// There is none.
    pub fn config(&self) -> Result<PathBuf, ModelError> {
        let config = self.directory.join("config.json");
        if config.is_file() {
            return Ok(config);
        }
        Err(ModelError::NotACheckpoint {
            path: self.directory.clone(),
            reason: "has no config.json".into(),
            hint: "a checkpoint directory is what transformers' save_pretrained writes".into(),
        })
    }

    /// What an original LLaVA checkpoint's `config.json` says.
    ///
    /// # Errors
    /// There is none, it cannot be read, or it is another model's.
    pub(super) fn original_llava(&self) -> Result<OriginalLlava, ModelError> {
        let path = self.config()?;
        let text =
            std::fs::read_to_string(&path).map_err(|source| ModelError::Io { path: path.clone(), source })?;
        let root: Option<Value> = serde_json::from_str(&text).ok();
        let found = root.as_ref().and_then(OriginalLlava::of);
        let found = found.unwrap_or_else(|| Err("names no vision tower that is another model".into()));
        found.map_err(|reason| ModelError::Config { path, reason })
    }

    /// The file or index of the weights.
    ///
    /// # Errors
    /// There is none; where only a pickle is found, the hint says how to convert it.
    pub fn weights(&self) -> Result<&Path, ModelError> {
        self.weights.as_deref().ok_or_else(|| {
            let pickle = "pytorch_model.bin";
            if !self.directory.join(pickle).exists() {
                return ModelError::NoWeights { path: self.directory.clone() };
            }
            let reason = format!(
                "has no {SINGLE}, only {pickle}, a pickle, which is not read because it can run code"
            );
            let hint = "convert it with transformers' save_pretrained".to_owned();
            ModelError::NotACheckpoint { path: self.directory.clone(), reason, hint }
        })
    }

    /// The image processor's settings.
    ///
    /// # Errors
    /// There are none beside the config.
    pub fn processor(&self) -> Result<&Path, ModelError> {
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

/// transformers 5 nests the image processor's settings in `processor_config.json` and looks there first.
fn processor_file(directory: &Path) -> Option<PathBuf> {
    let nested = directory.join("processor_config.json");
    if std::fs::read_to_string(&nested).is_ok_and(|text| nested_image_processor(&text).is_some()) {
        return Some(nested);
    }
    let plain = directory.join("preprocessor_config.json");
    plain.is_file().then_some(plain)
}

/// The image processor's settings inside the text of a `processor_config.json`.
pub(crate) fn nested_image_processor(text: &str) -> Option<Value> {
    serde_json::from_str::<Value>(text).ok()?.get_mut("image_processor").map(Value::take)
}
