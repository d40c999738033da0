//! A model that is found, but of which nothing is read before it is needed.

use std::path::PathBuf;

use candle_core::Device;

use super::{
    Checkpoint, ModelError, ModelFiles, RandomWeights, VisionConfig, VisionTower, Weights,
    files::nested_image_processor,
};
use crate::processor::{Processor, ProcessorConfig};

/// Which model is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelSpec {
    /// A checkpoint directory, or a `.safetensors` file beside its configs.
    Local(PathBuf),
    /// What the hub gave.
    Hub {
        /// The directory with its files.
        directory: PathBuf,
        /// Its name, `ORG/NAME`.
        id: String,
        /// The full hash of the commit.
        commit: String,
    },
    /// Made-up weights for ViT-L/14, or for the architecture of a directory's `config.json`.
    Random {
        /// The generator's seed.
        seed: u64,
        /// The directory whose configs to follow.
        directory: Option<PathBuf>,
    },
}

/// A model's parts, each read when it is asked for.
#[derive(Debug)]
pub struct Model {
    name: String,
    commit: Option<String>,
    parts: Parts,
}

#[derive(Debug)]
enum Parts {
    Files(ModelFiles),
    Random(RandomWeights, Option<ModelFiles>),
}

impl Model {
    /// Finds a model.
    ///
    /// # Errors
    /// See [`ModelFiles::locate`].
    pub fn open(spec: &ModelSpec) -> Result<Self, ModelError> {
        let (name, commit, parts) = match spec {
            ModelSpec::Local(path) => {
                (path.display().to_string(), None, Parts::Files(ModelFiles::locate(path)?))
            }
            ModelSpec::Hub { directory, id, commit } => {
                (id.clone(), Some(commit.clone()), Parts::Files(ModelFiles::locate(directory)?))
            }
            ModelSpec::Random { seed, directory } => {
                let files = directory.as_deref().map(ModelFiles::locate).transpose()?;
                let parts = Parts::Random(RandomWeights::new(*seed), files);
                (format!("random weights, seed {seed}"), None, parts)
            }
        };
        Ok(Self { name, commit, parts })
    }

    /// What to call it: its name on the hub, the path it was opened by, or what made its weights.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The commit that it was at, of a model of the hub.
    pub fn commit(&self) -> Option<&str> {
        self.commit.as_deref()
    }

    /// The image processor that its files describe; CLIP's own at the tower's image size for random weights of an
    /// architecture that comes without one.
    ///
    /// # Errors
    /// The settings are missing, unreadable, or ask for what this processor does not do.
    pub fn processor(&self) -> Result<Processor, ModelError> {
        let config = match &self.parts {
            Parts::Files(files) => files.processor()?,
            Parts::Random(_, Some(ModelFiles { processor: Some(config), .. })) => config,
            Parts::Random(..) => return Ok(Processor::clip(self.config()?.image_size as u32)),
        };
        let text = std::fs::read_to_string(config)
            .map_err(|source| ModelError::Io { path: config.to_owned(), source })?;
        let nested = nested_image_processor(&text).map(|value| value.to_string());
        let settings = ProcessorConfig::from_json(nested.as_deref().unwrap_or(&text))
            .map_err(|error| ModelError::Config { path: config.to_owned(), reason: error.to_string() })?;
        Ok(Processor::new(settings))
    }

    /// The tower's sizes.
    ///
    /// # Errors
    /// See [`VisionConfig::from_file`].
    pub fn config(&self) -> Result<VisionConfig, ModelError> {
        match &self.parts {
            Parts::Random(_, None) => Ok(VisionConfig::vit_large_patch14()),
            Parts::Files(files) | Parts::Random(_, Some(files)) => VisionConfig::from_file(&files.config()?),
        }
    }

    /// Opens the weights; of a checkpoint only the headers are read.
    ///
    /// # Errors
    /// See [`ModelFiles::weights`] and [`Checkpoint::open`].
    pub fn weights(&self) -> Result<Weights, ModelError> {
        match &self.parts {
            Parts::Random(random, _) => Ok(Weights::Random(*random)),
            Parts::Files(files) => Ok(Weights::Checkpoint(Checkpoint::open(files.weights()?)?)),
        }
    }

    /// Loads the tower onto a device.
    ///
    /// # Errors
    /// Those of [`Model::config`], [`Model::weights`] and [`VisionTower::load`].
    pub fn tower(&self, device: &Device) -> Result<VisionTower, ModelError> {
        VisionTower::load(self.config()?, &self.weights()?, device)
    }
}
