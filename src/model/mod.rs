//! `config.json` and safetensors → the vision tower, one file per concept.

mod activation;
mod attention;
mod checkpoint;
mod config;
mod cpu;
mod embeddings;
mod encoder;
mod error;
mod family;
mod files;
mod fingerprint;
mod head;
mod layer_norm;
mod layer_scale;
mod linear;
mod mlp;
mod open;
mod outputs;
mod positions;
mod random;
mod tower;
mod weights;

pub use activation::Activation;
pub use checkpoint::{Checkpoint, vision_shards};
pub use config::{Mlp, VisionConfig};
pub use error::ModelError;
pub use family::Family;
pub use files::ModelFiles;
pub(crate) use files::nested_image_processor;
pub use open::{Model, ModelSpec};
pub use outputs::{Outputs, Wanted};
pub use random::RandomWeights;
pub use tower::VisionTower;
pub use weights::Weights;
