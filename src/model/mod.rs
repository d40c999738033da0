//! `config.json` and safetensors → the vision tower.
//!
//! `weights` reads checkpoints, `family` says how each family's are spelt, `ops` are the two ways to compute, `layers` the parts,
//! `parts` their sum, `tower` the choice between the two ways, `open` the way from a directory to all of it. Pixels come in made and checked (`processor`); nothing here knows where outputs go.

mod config;
mod config_file;
mod error;
mod family;
mod files;
mod image_features;
mod index;
mod instead;
mod layers;
mod open;
mod ops;
mod other_weights;
mod outputs;
mod parts;
mod pickle;
mod tower;
mod traits;
mod weights;

pub use crate::kernels::Activation;
pub use config::{Biases, Family, Mlp, VisionConfig};
pub(crate) use config_file::{LARGEST_CONFIG, OPEN_CLIP_CONFIG};
pub use error::ModelError;
pub use files::ModelFiles;
pub(crate) use files::{OPEN_CLIP_WEIGHTS, names_architecture, nested_image_processor, tower_elsewhere};
pub use image_features::{Function, ImageFeatures, NoImageFeatures, Of, Step};
pub(crate) use index::LARGEST_INDEX;
pub(crate) use instead::{ADAPTER, PIPELINE, SENTENCE, only_snapshot};
pub use open::{Model, ModelSpec};
pub use outputs::{Outputs, Wanted};
pub(crate) use pickle::{by_torch, from_hub};
pub use tower::VisionTower;
pub use traits::{FinalNorm, Interpolation, Pooling, PrefixPositions, Traits};
pub use weights::{Checkpoint, RandomWeights, Scope, Weights, vision_shards};
