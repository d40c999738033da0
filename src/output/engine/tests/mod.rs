//! Runs of the engine on made-up images, on a disk that is watched.

mod limits;
mod power;
mod strangers;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    output::{
        Array, Content, Contents, Destination, Dtype, Image, Incoming, InputFacts, Metadata, OutputError,
        Planned, Sha256Bytes, Sink, Standing, TarRead, TensorSpec,
        disk::{
            Disk,
            testing::{Operation, Recorder, Tree, plant, tree},
        },
    },
    shard::Sample,
};

/// A run to be disturbed.
#[derive(Clone, Debug)]
struct Scenario {
    to: Destination,
    incoming: Incoming,
    /// Whether an image has two tensors.
    is_split: bool,
    /// The images that a run before has finished, and whether it was of other settings.
    before: usize,
    other_settings: bool,
    /// The images of the run, and of how many the names are known in advance.
    images: usize,
    is_planned: bool,
    /// After how many images they are committed.
    group: usize,
    /// What is added to the names, so that they outgrow the room that a head has where nobody knows them.
    longer: usize,
}

fn to(path: impl Into<PathBuf>) -> Destination {
    Destination { path: Some(path.into()), ..Destination::default() }
}

/// Images, and tars of some.
const SEVERAL: Incoming = Incoming { several: true, sharded: Some(false), keep: false, part: None };
const TARS: Incoming = Incoming { sharded: Some(true), ..SEVERAL };

/// A run over three images, each committed alone.
fn scenario(to: Destination) -> Scenario {
    Scenario {
        to,
        incoming: SEVERAL,
        is_split: false,
        before: 0,
        other_settings: false,
        images: 3,
        is_planned: true,
        group: 1,
        longer: 0,
    }
}

/// The images of a scenario: tar, if they are in tars, and name.
fn named(scenario: &Scenario) -> Vec<(Option<String>, String)> {
    let in_tars = scenario.incoming.sharded == Some(true);
    (0..scenario.images)
        .map(|number| {
            let tar = in_tars.then(|| format!("t{}.tar", number / 3));
            let longer = "x".repeat(scenario.longer);
            (tar, format!("d{}/image-{number}{longer}.png", number % 2))
        })
        .collect()
}

fn contents(scenario: &Scenario, is_other: bool) -> Contents {
    let names: &[&str] = if scenario.is_split { &["a", "b"] } else { &["a"] };
    let spec = |name: &&str| TensorSpec { name: (*name).into(), shape: Some(vec![1, 3, 5]) };
    let mut settings = Metadata::default();
    settings.insert("tool", "test");
    settings.insert("other", is_other);
    Contents {
        tensors: names.iter().map(spec).collect(),
        dtype: Dtype::F32,
        settings,
        overwrite: scenario.to.overwrite && !is_other,
        update: false,
        accept_failures: false,
    }
}

/// Does what is to be done; gives how many images were written.
fn run(
    scenario: &Scenario,
    root: &Path,
    disk: Disk,
    images: &[(Option<String>, String)],
    is_other: bool,
) -> Result<usize, OutputError> {
    let path = scenario.to.path.as_ref().unwrap();
    let to = Destination {
        path: Some(if path.as_os_str() == "" { root.to_owned() } else { root.join(path) }),
        overwrite: scenario.to.overwrite && !is_other,
        ..scenario.to.clone()
    };
    let mut plan = to.plan(scenario.incoming)?;
    plan.disk = disk;
    let contents = contents(scenario, is_other);
    plan.check(&contents)?;
    let found = plan.examine(&contents)?.unwrap();
    let mut planned = Planned::default();
    let mut left = Vec::new();
    for (tar, name) in images {
        let key = tar.as_ref().map_or(name.clone(), |tar| format!("{tar}/{name}"));
        let stat = || (Some(7), Some(9));
        match found.standing(&contents, &key, Path::new(name), stat) {
            Standing::New => left.push((tar.clone(), name.clone(), key)),
            Standing::Complete => {}
            other => panic!("{other:?}"),
        }
    }
    if scenario.is_planned && scenario.incoming.sharded != Some(true) {
        left.iter().for_each(|(_, name, key)| plan.add_planned(&mut planned, key, Path::new(name)));
    }
    if !left.is_empty() {
        found.refuse_strangers(contents.overwrite)?;
    }
    plan.check_room(&contents, Some(&found), &planned)?;
    let tars: BTreeSet<&String> = images.iter().filter_map(|(tar, _)| tar.as_ref()).collect();
    let is_done = |tar: &str| found.is_tar_done(&contents, tar, Path::new(tar), (Some(7), Some(9)));
    if left.is_empty() && found.is_settled() && tars.iter().all(|tar| is_done(tar)) {
        return Ok(0);
    }
    let done: BTreeSet<String> = tars.iter().filter(|tar| is_done(tar)).map(|tar| (*tar).clone()).collect();
    let mut sink = plan.open(&contents, Some(found.clone()), planned)?;
    let metadata = Metadata::default();
    let input = InputFacts {
        path: "in".into(),
        bytes: Some(7),
        modified_ns: Some(9),
        sha256: Some(Sha256Bytes([3; 32])),
    };
    let tar_input = InputFacts { sha256: None, ..input.clone() };
    let mut ended = 0;
    let write = |sink: &mut dyn Sink| -> Result<(), OutputError> {
        let mut tars = tars.into_iter().filter(|tar| !done.contains(*tar)).peekable();
        for (place, (tar, name, key)) in left.iter().enumerate() {
            while let Some(before) = tars.next_if(|before| Some(*before) < tar.as_ref()) {
                end_tar(sink, before, &tar_input)?;
            }
            let sample = tar.as_ref().map(|tar| Sample {
                shard: tar.into(),
                key: name.trim_end_matches(".png").into(),
                kept: Vec::new(),
            });
            let number = name.bytes().map(f32::from).sum::<f32>();
            let array = |name: &str| Array {
                name: name.into(),
                shape: vec![1, 3, 5],
                values: (0..15u8).map(|index| number + f32::from(index)).collect(),
            };
            let arrays: Vec<Array> = contents.tensors.iter().map(|tensor| array(&tensor.name)).collect();
            sink.write(&Image {
                key,
                name: Path::new(name),
                sample: sample.as_ref(),
                input: &input,
                place,
                metadata: &metadata,
                facts: "{}",
                report: "{\"a\":1}",
                content: Content::Tensors(&arrays),
            })?;
            ended += 1;
            if ended % scenario.group == 0 {
                sink.commit()?;
            }
        }
        for tar in tars {
            end_tar(sink, tar, &tar_input)?;
        }
        Ok(())
    };
    if let Err(error) = write(&mut *sink) {
        // As a job does, for the sake of what came before.
        let _ = sink.commit();
        return Err(error);
    }
    sink.finish(true)?;
    Ok(ended)
}

fn end_tar(sink: &mut dyn Sink, tar: &str, input: &InputFacts) -> Result<(), OutputError> {
    let read = TarRead { key: tar.into(), input: input.clone(), damage: None };
    sink.end_tar(Path::new(tar), read, false)
}

fn is_manifest(path: &Path) -> bool {
    path.to_str().unwrap().ends_with(".jsonl")
}

/// What a reader sees: outputs with their bytes, and which manifests there are.
fn outputs(tree: &Tree) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let bytes = |(path, bytes): (&PathBuf, &Option<Vec<u8>>)| {
        (path.clone(), if is_manifest(path) { None } else { bytes.clone() })
    };
    tree.iter().map(bytes).collect()
}

fn work() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    fs::create_dir(&root).unwrap();
    (directory, root)
}

fn planted(tree: &Tree) -> (tempfile::TempDir, PathBuf) {
    let (directory, root) = work();
    plant(&root, tree);
    (directory, root)
}

/// The tree before the run, that after an undisturbed one, and the operations of it.
fn record(scenario: &Scenario) -> (Tree, Tree, Vec<Operation>) {
    let images = named(scenario);
    let (_kept, root) = work();
    if scenario.before > 0 {
        run(scenario, &root, Disk::default(), &images[..scenario.before], scenario.other_settings).unwrap();
    }
    let before = tree(&root);
    let recorder = Arc::new(Recorder::new(&root, None));
    run(scenario, &root, Disk::watched(recorder.clone()), &images, false).unwrap();
    let after = tree(&root);
    assert!(
        !after.keys().any(|path| path.to_str().unwrap().contains("/.") || path.starts_with(".")),
        "{after:?}"
    );
    (before, after, recorder.operations())
}

/// Runs again on a disk that was left behind.
fn recover(scenario: &Scenario, left: &Tree, expected: &Tree, about: &dyn Fn() -> String) {
    let images = named(scenario);
    let (_kept, root) = planted(left);
    let ran = run(scenario, &root, Disk::default(), &images, false);
    assert!(ran.is_ok(), "{}: {ran:?}", about());
    let found = tree(&root);
    let (found_outputs, expected_outputs) = (outputs(&found), outputs(expected));
    if found_outputs != expected_outputs {
        let names = |tree: &Tree| tree.keys().cloned().collect::<Vec<_>>();
        let differ: Vec<_> = expected_outputs
            .iter()
            .filter(|(path, bytes)| found_outputs.get(*path) != Some(bytes))
            .map(|(path, _)| path)
            .collect();
        panic!("{}: {:?}, not {:?}; {differ:?} differ", about(), names(&found), names(expected));
    }
    if !scenario.to.overwrite {
        assert_eq!(run(scenario, &root, Disk::default(), &images, false).unwrap(), 0, "{}", about());
        assert!(tree(&root) == found, "{}: a finished output is touched", about());
    }
}

/// Images of one tensor under some names, written as they come; gives how many were.
fn write_all(
    to: &Destination,
    root: &Path,
    names: &[String],
    is_planned: bool,
) -> Result<usize, OutputError> {
    let scenario = Scenario { is_planned, group: 500, ..scenario(to.clone()) };
    let names: Vec<_> = names.iter().map(|name| (None, name.clone())).collect();
    run(&scenario, root, Disk::default(), &names, false)
}

/// The keys in the `.safetensors` below a directory, as its own reader gives them, and the largest file.
fn archived(root: &Path) -> (Vec<String>, u64) {
    let (mut keys, mut largest) = (Vec::new(), 0);
    for (path, bytes) in tree(root) {
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            let bytes = bytes.unwrap();
            largest = largest.max(bytes.len() as u64);
            keys.extend(
                safetensors::SafeTensors::deserialize(&bytes).unwrap().names().into_iter().map(str::to_owned),
            );
        }
    }
    keys.sort();
    (keys, largest)
}
