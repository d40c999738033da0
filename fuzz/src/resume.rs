//! What a run reads of an earlier one: manifests, and begun and finished files of every kind of output.
//!
//! Whatever is there, a run either refuses, or completes, and then finds its image complete.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clip_features::output::{
    Array, Content, Contents, Destination, Dtype, Image, Incoming, InputFacts, Metadata, OutputError,
    Planned, Sha256Bytes, Sink, Standing, TensorSpec,
};

use super::files::{directory, write};

/// The files that an input can hold: what is left of a killed or finished run into each kind of output.
pub const NAMES: [&str; 14] = [
    "x.npy",
    ".x.npy.partial",
    "x.manifest.jsonl",
    "x.safetensors",
    ".x.safetensors.partial",
    ".x.safetensors.partial-2",
    "x-00000.safetensors",
    ".x-00001.safetensors.partial",
    "x.tar",
    ".x.tar.partial",
    "tree/manifest.jsonl",
    "tree/manifest.part-0-of-2.jsonl",
    "tree/a.npy",
    "tree/.manifest.jsonl.staged/0",
];

/// The outputs, by the first byte of an input.
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
    for name in NAMES.iter().filter(|name| name.ends_with(".jsonl")) {
        let path = directory.path().join(name);
        if let Ok(lines) = fs::read(&path) {
            fs::write(path, checked(&lines)).expect("a file in memory");
        }
    }
    let (path, shard_size) = TARGETS[usize::from(target) % TARGETS.len()];
    let path = directory.path().join(path);
    // Where it is refused, nothing is lost: an override starts anew.
    if complete(&path, shard_size, &["b.png"]).is_ok() {
        complete(&path, shard_size, &["b.png"]).expect("what a run has left, the next one takes");
    }
}

/// What ends a line, before eight digits and what closes it.
const CHECK: &[u8] = br#","crc32":""#;

/// Lines with their checks, which no mutation hits.
fn checked(lines: &[u8]) -> Vec<u8> {
    let mut found = Vec::new();
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        match line.strip_suffix(b"}\n") {
            Some(body) => {
                found.extend(body);
                found.extend(CHECK);
                let check = crc32fast::hash(&line[..line.len() - 1]);
                found.extend(format!("{check:08x}\"}}\n").bytes());
            }
            None => found.extend(line),
        }
    }
    found
}

/// Lines without their checks, as an input holds them.
pub fn unchecked(lines: &[u8]) -> Vec<u8> {
    let lines = lines.split_inclusive(|&byte| byte == b'\n');
    let bare = lines.map(|line| match line.windows(CHECK.len()).rposition(|window| window == CHECK) {
        Some(end) => [&line[..end], b"}\n"].concat(),
        None => line.to_vec(),
    });
    bare.collect::<Vec<_>>().concat()
}

/// What the images have.
pub fn contents() -> Contents {
    let tensors = vec![TensorSpec { name: "t".into(), shape: Some(vec![1, 2]) }];
    let mut settings = Metadata::default();
    settings.insert("tool", "fuzz");
    Contents { tensors, dtype: Dtype::F32, settings, overwrite: false, update: false, accept_failures: false }
}

/// A run of these images, as far as it has to be done.
pub fn complete(path: &Path, shard_size: Option<u64>, names: &[&str]) -> Result<(), OutputError> {
    let (mut sink, left) = open(path, shard_size, names)?;
    for name in left {
        add(&mut *sink, name)?;
    }
    sink.finish(true)?;
    let found = to(path, shard_size).plan(SEVERAL)?.examine(&contents())?.expect("a place of many images");
    for name in names {
        let standing = found.standing(&contents(), name, Path::new(name), || (Some(1), Some(1)));
        assert!(
            matches!(standing, Standing::Complete | Standing::Unsure),
            "{name} is not there: {standing:?}"
        );
    }
    Ok(())
}

/// A run that has not ended yet, and the images that it is to write.
pub fn open<'a>(
    path: &Path,
    shard_size: Option<u64>,
    names: &[&'a str],
) -> Result<(Box<dyn Sink>, Vec<&'a str>), OutputError> {
    let plan = to(path, shard_size).plan(SEVERAL)?;
    let contents = contents();
    plan.check(&contents)?;
    let found = plan.examine(&contents)?.expect("a place of many images");
    let mut left = Vec::new();
    for &name in names {
        match found.standing(&contents, name, Path::new(name), || (Some(1), Some(1))) {
            Standing::New => left.push(name),
            Standing::Complete | Standing::Unsure | Standing::Accepted => {}
            Standing::Foreign(path) => return Err(OutputError::Foreign { path }),
        }
    }
    let mut planned = Planned::default();
    left.iter().for_each(|name| plan.add_planned(&mut planned, name, Path::new(name)));
    plan.check_room(&contents, Some(&found), &planned)?;
    Ok((plan.open(&contents, Some(found), planned)?, left))
}

/// Writes an image, which lasts.
pub fn add(sink: &mut dyn Sink, name: &str) -> Result<(), OutputError> {
    let array = Array { name: "t".into(), shape: vec![1, 2], values: vec![1.0, 2.0] };
    let input = InputFacts {
        path: name.into(),
        bytes: Some(1),
        modified_ns: Some(1),
        sha256: Some(Sha256Bytes([0; 32])),
    };
    let image = Image {
        key: name,
        name: Path::new(name),
        sample: None,
        input: &input,
        place: 0,
        metadata: &Metadata::default(),
        facts: "{}",
        report: "{}",
        content: Content::Tensors(&[array]),
    };
    sink.write(&image)?;
    sink.commit()
}

const SEVERAL: Incoming = Incoming { several: true, sharded: Some(false), keep: false, part: None };

fn to(path: &Path, shard_size: Option<u64>) -> Destination {
    let mut to = Destination::default();
    to.path = Some(PathBuf::from(path));
    to.shard_size = shard_size;
    to
}
