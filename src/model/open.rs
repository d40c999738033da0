//! A model that is found, but of which nothing is read before it is needed.

use std::path::PathBuf;

use super::{
    config::{Family, VisionConfig},
    config_file::LARGEST_CONFIG,
    error::ModelError,
    files::{ModelFiles, nested_image_processor},
    image_features::NoImageFeatures,
    outputs::Wanted,
    tower::VisionTower,
    weights::{Checkpoint, RandomWeights, Scope, Weights},
};
use crate::bounded;
use crate::device::Road;
use crate::processor::{Backend, ConfigError, Fit, ImageSize, Processor, ProcessorConfig};

/// Which model is wanted.
///
/// ```
/// use clip_features::{Extractor, ModelSpec, Options, TensorKind};
///
/// let model = ModelSpec::Random { seed: 0, directory: None }; // or ModelSpec::Local("clip-vit-large-patch14".into())
/// let mut options = Options::default();
/// options.request.tensors = vec![TensorKind::PixelValues]; // for which no weights are made or read
/// let features = Extractor::load(&model, options)?.extract(b"P6 1 1 255\n\xff\x80\x00")?;
/// assert_eq!(features[0].shape, [1, 3, 224, 224]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
    /// A vision-language model that names its vision tower, which is another model: an original LLaVA checkpoint.
    WithTower {
        /// The model: on disk, or what the hub gave.
        model: Box<Self>,
        /// Its tower.
        tower: Box<Self>,
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
    WithTower(ModelFiles, Box<Model>),
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
            ModelSpec::WithTower { model, tower } => {
                let Self { name, commit, parts } = Self::open(model)?;
                let parts = match parts {
                    Parts::Files(files) => Parts::WithTower(files, Box::new(Self::open(tower)?)),
                    parts => parts,
                };
                (name, commit, parts)
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

    /// The files of its checkpoint, and of its tower's where that is another model.
    pub fn files(&self) -> Vec<ModelFiles> {
        match &self.parts {
            Parts::Files(files) | Parts::Random(_, Some(files)) => vec![files.clone()],
            Parts::WithTower(files, tower) => [vec![files.clone()], tower.files()].concat(),
            Parts::Random(_, None) => Vec::new(),
        }
    }

    /// The image processor that its files describe; the family's own for random weights of an architecture that
    /// comes without one.
    ///
    /// # Errors
    /// The settings are missing, unreadable, or ask for what this processor does not do.
    pub fn processor(&self) -> Result<Processor, ModelError> {
        self.processor_with(Fit::Auto, None, None, None, false)
    }

    /// The same with another fit, for images of another size or cut into another number of patches, on another backend, or with the
    /// tiles that it cuts. A config may name the class of one backend; that is left to the caller to choose, and to the family where
    /// it does not.
    ///
    /// # Errors
    /// As [`Model::processor`], or the fit, the size, the number, the backend or the tiles are none for these settings.
    pub fn processor_with(
        &self,
        fit: Fit,
        image_size: Option<ImageSize>,
        max_num_patches: Option<u32>,
        backend: Option<Backend>,
        tiles: bool,
    ) -> Result<Processor, ModelError> {
        let (settings, file) = self.processor_config()?;
        let refuse =
            |error: ConfigError| ModelError::Config { path: file.clone(), reason: error.to_string() };
        let settings = match max_num_patches {
            Some(max_num_patches) => settings.in_patches(max_num_patches).map_err(refuse)?,
            None => settings,
        };
        let settings = match image_size {
            Some(_) if settings.patches().is_some() => {
                return Err(refuse(ConfigError::Field {
                    field: "size".into(),
                    found: "not in use".into(),
                    expected: "in use to be another: max_num_patches says how large pictures become".into(),
                }));
            }
            Some(image_size) => settings.at(image_size),
            None => settings,
        };
        let patch_size = match fit {
            Fit::Keep => Some(self.config()?.patch_size as u32),
            Fit::Auto | Fit::Pad | Fit::Squash => None,
        };
        let settings = settings.fitted(fit, patch_size).and_then(|settings| {
            let backend = backend.unwrap_or(settings.own_backend());
            settings.on(backend)
        });
        settings.and_then(|settings| settings.with_tiles(tiles)).map(Processor::new).map_err(refuse)
    }

    /// The image processor's settings, and the file that they are in.
    fn processor_config(&self) -> Result<(ProcessorConfig, PathBuf), ModelError> {
        let file = match &self.parts {
            Parts::Files(files) => Some(files.processor()?),
            Parts::Random(_, files) => files.as_ref().and_then(|files| files.processor.as_deref()),
            Parts::WithTower(files, tower) => {
                let (settings, path) = tower.processor_config()?;
                let refuse =
                    |error: ConfigError| ModelError::Config { path: path.clone(), reason: error.to_string() };
                let settings = settings.fitted(files.original_llava()?.fit(), None).map_err(refuse)?;
                return Ok((settings, path));
            }
        };
        let Some(path) = file else {
            let config = self.config()?;
            return Ok((Family::processor(&config), "preprocessor_config.json".into()));
        };
        let refuse =
            |error: ConfigError| ModelError::Config { path: path.to_owned(), reason: error.to_string() };
        let text = bounded::read_to_string(path, LARGEST_CONFIG)
            .map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
        let nested = nested_image_processor(&text).map(|value| value.to_string());
        // The pixels of a model can be had without its config.json.
        let family = self.config().map_or(Family::Clip, |config| config.family);
        let settings =
            ProcessorConfig::from_json_of(nested.as_deref().unwrap_or(&text), family.processor_kind());
        Ok((settings.map_err(refuse)?, path.to_owned()))
    }

    /// The tower's sizes.
    ///
    /// # Errors
    /// See [`VisionConfig::from_file`].
    pub fn config(&self) -> Result<VisionConfig, ModelError> {
        match &self.parts {
            Parts::Random(_, None) => Ok(VisionConfig::vit_large_patch14()),
            Parts::Files(files) | Parts::Random(_, Some(files)) => VisionConfig::from_file(&files.config()?),
            Parts::WithTower(files, tower) => {
                let tower = tower.config()?;
                let image_features = files.original_llava()?.image_features(&tower);
                let image_features = image_features.map_err(NoImageFeatures::Unsupported);
                Ok(VisionConfig { image_features, ..tower })
            }
        }
    }

    /// Opens the tower's weights; of a checkpoint only the headers are read.
    ///
    /// # Errors
    /// See [`ModelFiles::weights`] and [`Checkpoint::open`].
    pub fn weights(&self) -> Result<Weights, ModelError> {
        self.weights_in(Scope::Tower)
    }

    /// Opens the weights in a scope; of a checkpoint only the headers are read.
    ///
    /// # Errors
    /// As [`Model::weights`].
    pub fn weights_in(&self, scope: Scope) -> Result<Weights, ModelError> {
        match &self.parts {
            Parts::Random(random, _) => Ok(Weights::Random(*random)),
            Parts::Files(files) => Ok(Weights::Checkpoint(Checkpoint::open(files.weights()?, scope)?.into())),
            Parts::WithTower(files, tower) => {
                let open_tower = || match &tower.parts {
                    Parts::Files(files) => Checkpoint::open(files.weights()?, Scope::Tower),
                    _ => Err(ModelError::NoWeights { path: files.directory.clone() }),
                };
                // A tower that was trained with the language model is among its weights.
                let checkpoint = Checkpoint::open(files.weights()?, scope)?.or_tower(open_tower)?;
                Ok(Weights::Checkpoint(checkpoint.into()))
            }
        }
    }

    /// Loads what the wanted tensors need of the tower to where it is computed.
    ///
    /// # Errors
    /// Those of [`Model::config`], [`Model::weights`] and [`VisionTower::load_for`].
    pub fn tower(&self, wanted: &Wanted, road: &Road) -> Result<VisionTower, ModelError> {
        let weights = self.weights_in(wanted.scope())?;
        VisionTower::load_for(wanted, self.config()?, &weights, road)
    }
}
