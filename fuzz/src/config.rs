//! The configs of a checkpoint, both in one input with a NUL between them: what they settle is in bounds.

use std::{cell::OnceCell, fs};

use clip_features::{
    model::{Model, ModelSpec},
    processor::Processor,
};
use tempfile::TempDir;

use super::files::directory;

pub fn run(data: &[u8]) {
    thread_local! {
        static DIRECTORY: OnceCell<TempDir> = const { OnceCell::new() };
    }
    DIRECTORY.with(|made| {
        let directory = made.get_or_init(directory).path();
        let mut parts = data.splitn(3, |&byte| byte == 0);
        for name in ["config.json", "preprocessor_config.json", "processor_config.json"] {
            match parts.next() {
                Some(part) => fs::write(directory.join(name), part).expect("a file in memory"),
                None => drop(fs::remove_file(directory.join(name))),
            }
        }
        let Ok(model) = Model::open(&ModelSpec::Local(directory.to_owned())) else { return };
        if let Ok(config) = model.config() {
            assert!(config.hidden_size % config.num_attention_heads == 0);
            assert!(config.tokens() > 0 && config.describe().starts_with('{'));
        }
        if let Ok(processor) = model.processor() {
            assert!(processor.config().describe().starts_with('{'));
            let _ = Processor::geometry(&processor, 640, 427);
        }
    });
}
