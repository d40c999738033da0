//! `config.json` and safetensors → the vision tower, one file per concept.

mod activation;
mod attention;
mod checkpoint;
mod config;
mod cpu;
mod embeddings;
mod encoder;
mod error;
mod files;
mod fingerprint;
mod layer_norm;
mod linear;
mod mlp;
mod open;
mod random;
mod tower;
mod weights;

pub use activation::Activation;
pub use checkpoint::{Checkpoint, vision_shards};
pub use config::VisionConfig;
pub use error::ModelError;
pub use files::ModelFiles;
pub use open::{Model, ModelSpec};
pub use random::RandomWeights;
pub use tower::VisionTower;
pub use weights::Weights;
