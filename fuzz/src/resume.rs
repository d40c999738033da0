//! What a run reads of an earlier one: manifests, journals, indices, begun and finished files of every kind of destination.
//!
//! Whatever is there, a run either refuses, or completes, and then finds its image complete.

use std::path::{Path, PathBuf};

use clip_features::output::{
    Array, Asked, Contents, Described, Dtype, Metadata, OutputError, Sink, TensorSpec, choose,
};

use super::files::{directory, write};

/// The files that an input can hold: what is left of a killed or finished run into each kind of destination.
pub const NAMES: [&str; 19] = [
    "x.npy",
    "x.index.jsonl",
    "x.manifest.json",
    ".x.npy.parts/journal.jsonl",
    ".x.npy.parts/shard-00001",
    "x.safetensors",
    "x.safetensors.index.json",
    ".x.safetensors.parts/journal.jsonl",
    ".x.safetensors.parts/shard-00001",
    ".x.safetensors.parts/shard-00002",
    "x-00001-of-00002.safetensors",
    "x-00002-of-00002.safetensors",
    "x.tar",
    ".x.tar.partial",
    "tree/manifest.json",
    "tree/manifest.jsonl",
    "tree/a.npy",
    "tree/manifest-00000-of-00002.jsonl",
    "x-000000.tar",
];

/// The destinations, by the first byte of an input.
pub const TARGETS: [(&str, Option<u64>); 5] = [
    ("x.npy", None),
    ("x.safetensors", None),
    ("x.safetensors", Some(36_000)),
    ("x.tar", None),
    ("tree/", None),
];

pub fn run(data: &[u8]) {
    let Some((&target, files)) = data.split_first() else { return };
    let directory = directory();
    write(files, &NAMES, directory.path());
    let (path, shard_size) = TARGETS[usize::from(target) % TARGETS.len()];
    let path = directory.path().join(path);
    // Where it is refused, nothing is lost: an override starts anew.
    if complete(&path, shard_size, &["b.png"]).is_ok() {
        complete(&path, shard_size, &["b.png"]).expect("what a run has left, the next one takes");
    }
}

/// What the images have.
pub fn contents() -> Contents {
    let tensors = vec![TensorSpec { name: "t".into(), shape: Some(vec![1, 2]) }];
    let mut settings = Metadata::default();
    settings.insert("tool", "fuzz");
    Contents { tensors, dtype: Dtype::F32, settings, overwrite: false }
}

/// A run of these images, as far as it has to be done.
pub fn complete(path: &Path, shard_size: Option<u64>, names: &[&str]) -> Result<(), OutputError> {
    let mut sink = open(path, shard_size, names)?;
    for name in names {
        add(&mut *sink, name)?;
    }
    sink.finish()?;
    let complete = choose(&asked(path, shard_size))?.complete(&contents())?;
    let missing = names.iter().find(|name| !complete.contains(Path::new(name), None));
    assert_eq!(missing, None, "a finished run has all of its images");
    Ok(())
}

/// A run that has not ended yet.
pub fn open(path: &Path, shard_size: Option<u64>, names: &[&str]) -> Result<Box<dyn Sink>, OutputError> {
    let destination = choose(&asked(path, shard_size))?;
    let contents = contents();
    destination.check(&contents)?;
    destination.complete(&contents)?;
    let planned: Vec<&Path> = names.iter().map(Path::new).collect();
    destination.open(&contents, &planned)
}

/// Writes an image, unless it is there.
pub fn add(sink: &mut dyn Sink, name: &str) -> Result<(), OutputError> {
    let name = Path::new(name);
    if sink.complete().contains(name, None) {
        return Ok(());
    }
    let array = Array { name: "t".into(), shape: vec![1, 2], values: vec![1.0, 2.0] };
    let image = Described { name, sample: None, metadata: &Metadata::default(), facts: "{}" };
    sink.write(&image, &[array]).map(drop)
}

fn asked(path: &Path, shard_size: Option<u64>) -> Asked {
    Asked { path: Some(PathBuf::from(path)), several: true, shard_size, ..Asked::default() }
}
