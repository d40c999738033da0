//! Checkpoint directories: headers, indices of shards, tensors.

use std::num::NonZero;

use clip_features::{
    Extractor,
    extractor::Options,
    model::{Checkpoint, ModelSpec, Scope},
};

use super::files::{directory, write};

/// The files that an input can hold.
pub const NAMES: [&str; 7] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
];

/// A tower of 600 weights, so that an input is short.
pub const CONFIG: &str = r#"{"model_type": "clip_vision_model", "hidden_size": 4, "intermediate_size": 4, "image_size": 4,
 "num_attention_heads": 1, "num_hidden_layers": 1, "patch_size": 2}"#;

pub fn run(data: &[u8]) {
    let directory = directory();
    let root = directory.path();
    std::fs::write(root.join("config.json"), CONFIG).expect("a file in memory");
    std::fs::write(root.join("preprocessor_config.json"), r#"{"size": 4, "crop_size": 4}"#)
        .expect("a file in memory");
    write(data, &NAMES, root);
    let file = if root.join(NAMES[0]).exists() { NAMES[0] } else { NAMES[1] };
    if let Ok(checkpoint) = Checkpoint::open(&root.join(file), Scope::Projector) {
        let _ = checkpoint.fingerprint();
    }
    let spec = ModelSpec::Local(root.to_owned());
    let mut options = Options::default();
    options.threads = NonZero::<usize>::MIN;
    if let Ok(extractor) = Extractor::load(&spec, options) {
        let config = extractor.opened().config().expect("a tower");
        assert!(config.hidden_size <= 1 << 20);
    }
}
