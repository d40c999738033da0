//! Power cut after every operation, and every operation failing once: the same run again comes to the undisturbed bytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    output::{
        Array, Asked, Content, Contents, Dtype, Format, Image, InputFacts, Metadata, OutputError, Part,
        Planned, Sha256Bytes, Sink, Standing, TarEnd, TensorSpec,
        disk::{
            Disk,
            testing::{Model, Operation, Recorder, Tree, cut, plant, tree},
        },
    },
    shard::Sample,
};

/// A run to be disturbed.
#[derive(Clone, Debug)]
struct Scenario {
    asked: Asked,
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

/// The images of a scenario: tar, if they are in tars, and name.
fn named(scenario: &Scenario) -> Vec<(Option<String>, String)> {
    let in_tars = scenario.asked.sharded == Some(true);
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
        overwrite: scenario.asked.overwrite && !is_other,
        update: false,
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
    let path = scenario.asked.path.as_ref().unwrap();
    let asked = Asked {
        path: Some(if path.as_os_str() == "" { root.to_owned() } else { root.join(path) }),
        overwrite: scenario.asked.overwrite && !is_other,
        ..scenario.asked.clone()
    };
    let mut plan = asked.plan()?;
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
    if scenario.is_planned && scenario.asked.sharded != Some(true) {
        left.iter().for_each(|(_, name, key)| plan.add_planned(&mut planned, key, Path::new(name)));
    }
    plan.check_room(&contents, Some(&found), &planned)?;
    let tars: BTreeSet<&String> = images.iter().filter_map(|(tar, _)| tar.as_ref()).collect();
    let is_done = |tar: &str| found.is_tar_done(tar, Path::new(tar), (Some(7), Some(9)));
    if left.is_empty() && found.is_finished() && tars.iter().all(|tar| is_done(tar)) {
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
    sink.end_tar(&TarEnd { key: tar, name: Path::new(tar), input, damage: None, has_changed: false })
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
    if !scenario.asked.overwrite {
        assert_eq!(run(scenario, &root, Disk::default(), &images, false).unwrap(), 0, "{}", about());
        assert!(tree(&root) == found, "{}: a finished output is touched", about());
    }
}

/// What is finished is there whole, as it was or as it becomes.
fn keeps_what_is_finished(before: &Tree, left: &Tree, after: &Tree, about: &dyn Fn() -> String) {
    for (path, bytes) in before.iter().filter(|(path, bytes)| bytes.is_some() && !is_manifest(path)) {
        let found = left.get(path);
        assert!(found == Some(bytes) || found.is_some() && found == after.get(path), "{}: {path:?}", about());
    }
}

fn models(seeds: u64) -> impl Iterator<Item = Model> {
    [Model::Nothing, Model::Names, Model::Lengths, Model::Data].into_iter().chain((0..seeds).map(Model::Some))
}

/// Cuts the power after every operation of a run; gives how many disks that makes.
fn cut_everywhere(scenario: &Scenario, seeds: u64) -> usize {
    let (before, after, operations) = record(scenario);
    let mut seen = BTreeSet::new();
    for count in 0..=operations.len() {
        for model in models(seeds) {
            let left = cut(&before, &operations[..count], model);
            let mut hasher = DefaultHasher::new();
            left.hash(&mut hasher);
            if !seen.insert(hasher.finish()) {
                continue;
            }
            let about = || {
                let last: Vec<String> = operations[..count].iter().rev().take(6).rev().map(short).collect();
                format!("{scenario:?}: {model:?} after {count} of {}: … {last:?}", operations.len())
            };
            if !scenario.asked.overwrite {
                keeps_what_is_finished(&before, &left, &after, &about);
            }
            recover(scenario, &left, &after, &about);
        }
    }
    seen.len()
}

fn short(operation: &Operation) -> String {
    match operation {
        Operation::Write(path, at, bytes) => format!("Write({path:?}, {at}, {} bytes)", bytes.len()),
        other => format!("{other:?}"),
    }
}

/// Lets every operation of a run fail once.
fn fail_everywhere(scenario: &Scenario) {
    let images = named(scenario);
    let (before, after, operations) = record(scenario);
    for (fails, operation) in operations.iter().enumerate() {
        let (_kept, root) = planted(&before);
        let disk = Disk::watched(Arc::new(Recorder::new(&root, Some(fails))));
        let failed = run(scenario, &root, disk, &images, false);
        let about = || format!("{scenario:?}: {} failed: {failed:?}", short(operation));
        let left = tree(&root);
        if !scenario.asked.overwrite {
            keeps_what_is_finished(&before, &left, &after, &about);
        }
        recover(scenario, &left, &after, &about);
    }
}

/// Every kind of output: fresh, growing, overwriting what has other settings, and a part of a job.
fn scenarios() -> Vec<Scenario> {
    let asked = |path: &str| Asked { path: Some(path.into()), several: true, ..Asked::default() };
    let sized = |path: &str, size| Asked { shard_size: Some(size), ..asked(path) };
    let kinds = [
        (asked("out/"), false),
        (asked("out/"), true),
        (Asked { format: Some(Format::Safetensors), ..asked("out/") }, false),
        (asked("x.npy"), false),
        (sized("x.npy", 128 + 2 * 60), false),
        (asked("x.safetensors"), true),
        (sized("x.safetensors", 500), false),
        (asked("x.tar"), false),
        (sized("x.tar", 8 << 10), false),
        (Asked { sharded: Some(true), ..asked("out/") }, false),
    ];
    let mut all = Vec::new();
    for (asked, is_split) in kinds {
        let base = Scenario {
            asked,
            is_split,
            before: 0,
            other_settings: false,
            images: 7,
            is_planned: true,
            group: 2,
            longer: 0,
        };
        all.push(base.clone());
        all.push(Scenario { group: 1, is_planned: false, ..base.clone() });
        all.push(Scenario { before: 4, group: 100, ..base.clone() });
        all.push(Scenario { before: 6, group: 1, is_planned: false, ..base.clone() });
        let over = Asked { overwrite: true, ..base.asked.clone() };
        all.push(Scenario { asked: over, before: 4, other_settings: true, ..base.clone() });
        let part = Asked { part: Some(Part { index: 1, count: 12 }), ..base.asked.clone() };
        all.push(Scenario { asked: part, before: 3, ..base });
    }
    // A head that has to be widened, in a file that is begun and in one that was finished.
    let base = Scenario { longer: 12_000, is_planned: false, group: 1, ..all[0].clone() };
    let widened = Scenario { asked: asked("x.safetensors"), ..base };
    all.push(Scenario { before: 3, ..widened.clone() });
    all.push(widened);
    all
}

/// How much of the replay is done: all of it where `CLIP_FEATURES_REPLAY` says `all`, as every night.
fn is_whole() -> bool {
    std::env::var_os("CLIP_FEATURES_REPLAY").is_some_and(|value| value == "all")
}

#[test]
fn a_power_cut_costs_what_was_not_committed_and_nothing_else() {
    let seeds = if is_whole() { 40 } else { 3 };
    let disks: usize = scenarios().iter().map(|scenario| cut_everywhere(scenario, seeds)).sum();
    assert!(disks > 2000, "{disks}");
}

#[test]
fn any_operation_may_fail() {
    scenarios().iter().for_each(fail_everywhere);
}

/// Images of one tensor under some names, written as they come; gives how many were.
fn write_all(asked: &Asked, root: &Path, names: &[String], is_planned: bool) -> Result<usize, OutputError> {
    let scenario = Scenario {
        asked: asked.clone(),
        is_split: false,
        before: 0,
        other_settings: false,
        images: 0,
        is_planned,
        group: 500,
        longer: 0,
    };
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

#[test]
fn no_file_is_larger_than_its_limit_whatever_the_names() {
    let length = |number: usize| [3, 40, 1100, 7, 2900, 500][number % 6];
    let mut names: Vec<String> =
        (0..300).map(|number| format!("{number:04}{}", "n".repeat(length(number)))).collect();
    names.sort();
    for is_planned in [true, false] {
        for limit in [4000, 20_000, 200_000] {
            let (_kept, root) = work();
            let asked = Asked {
                path: Some("x.safetensors".into()),
                several: true,
                shard_size: Some(limit),
                ..Asked::default()
            };
            assert_eq!(write_all(&asked, &root, &names, is_planned).unwrap(), names.len());
            let (keys, largest) = archived(&root);
            assert!(keys == names && largest <= limit, "{limit}: {largest}");
            // Room is not wasted either: what is there fills its files to more than half.
            let files = tree(&root)
                .keys()
                .filter(|path| path.extension().is_some_and(|end| end == "safetensors"))
                .count();
            let whole: usize = names.iter().map(|name| name.len() + 130).sum();
            assert!(
                limit < 20_000 || files as u64 <= 2 * whole as u64 / limit + 2,
                "{files} files of {limit}"
            );
        }
    }
}

#[test]
fn a_single_file_that_readers_would_refuse_is_not_written() {
    let names: Vec<String> = (0..1800).map(|number| format!("{number:06}{}", "n".repeat(60_000))).collect();
    let asked = Asked { path: Some("x.safetensors".into()), several: true, ..Asked::default() };
    let (_kept, root) = work();
    // Where the names are known, nothing is done.
    let refused = write_all(&asked, &root, &names, true).unwrap_err();
    let OutputError::TooMany { images: 1800, entries, .. } = refused else { panic!("{refused}") };
    assert!((1600..1700).contains(&entries) && tree(&root).is_empty(), "{entries}");
    // Where they come one by one, the file is made whole when it is full.
    let full = write_all(&asked, &root, &names, false).unwrap_err();
    assert!(matches!(full, OutputError::Full { entries: found, .. } if found == entries), "{full}");
    let (keys, _) = archived(&root);
    assert_eq!(keys, names[..entries]);
    assert!(fs::read_dir(&root).unwrap().count() == 2, "{:?}", tree(&root).keys());
    // Shards take the rest.
    let shards = Asked { shard_size: Some(60_000_000), ..asked };
    assert_eq!(write_all(&shards, &root, &names, true).unwrap(), names.len() - entries);
    let (keys, largest) = archived(&root);
    assert!(keys == names && largest < 100_600_000, "{largest}");
}

/// Runs that make one file of several images, over a file of the same name that is another's.
fn over_a_stranger(path: &str) -> (Scenario, PathBuf) {
    let is_repeated = path.ends_with('/');
    let asked = Asked {
        path: Some(path.into()),
        several: true,
        sharded: is_repeated.then_some(true),
        overwrite: true,
        ..Asked::default()
    };
    let scenario = Scenario {
        asked,
        is_split: false,
        before: 0,
        other_settings: false,
        images: 3,
        is_planned: true,
        group: 1,
        longer: 0,
    };
    (scenario, if is_repeated { format!("{path}t0.tar").into() } else { path.into() })
}

#[test]
fn what_was_begun_in_the_place_of_another_file_is_not_ours_to_remove() {
    for path in ["x.npy", "x.safetensors", "x.tar", "out/"] {
        let (over, stranger) = over_a_stranger(path);
        let careful = Scenario { asked: Asked { overwrite: false, ..over.asked.clone() }, ..over.clone() };
        let images = named(&over);
        let theirs = || {
            let (kept, root) = work();
            fs::create_dir_all(root.join(&stranger).parent().unwrap()).unwrap();
            fs::write(root.join(&stranger), "theirs").unwrap();
            (kept, root)
        };
        let is_theirs = |root: &Path| fs::read(root.join(&stranger)).unwrap() == b"theirs";
        let is_sealed = |root: &Path| {
            tree(root).iter().any(|(path, bytes)| {
                let text = bytes.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
                is_manifest(path) && text.contains("{\"sealed\"")
            })
        };
        let watched = |root: &Path, fails| Disk::watched(Arc::new(Recorder::new(root, fails)));
        let recorder = {
            let (_kept, root) = theirs();
            let recorder = Arc::new(Recorder::new(&root, None));
            run(&over, &root, Disk::watched(recorder.clone()), &images, false).unwrap();
            assert!(!is_theirs(&root));
            recorder
        };
        let count = recorder.operations().len();
        let mut kept = 0;
        for fails in 0..count {
            let (_kept, root) = theirs();
            run(&over, &root, watched(&root, Some(fails)), &images, false).unwrap_err();
            if !is_theirs(&root) {
                continue;
            }
            kept += 1;
            let about = format!("{path}, {fails} of {count}");
            run(&careful, &root, Disk::default(), &images, false).expect_err(&about);
            assert!(is_theirs(&root), "{about}");
            if !is_sealed(&root) {
                run(&over, &root, watched(&root, Some(3)), &images, false).unwrap_err();
                assert!(is_theirs(&root), "{about}");
            }
            run(&over, &root, Disk::default(), &images, false).unwrap();
            assert!(!is_theirs(&root), "{about}");
        }
        assert!(kept > 8, "{path}: {kept}");
    }
}

#[test]
fn a_file_that_holds_nothing_yet_is_made_for_what_comes() {
    for is_planned in [true, false] {
        for limit in [400, 700, 5000] {
            let short = Asked {
                path: Some("x.safetensors".into()),
                several: true,
                shard_size: Some(limit),
                ..Asked::default()
            };
            let scenario = Scenario { asked: short.clone(), is_split: false, ..over_a_stranger("x.npy").0 };
            let scenario = Scenario { is_planned, ..scenario };
            let one = [(None, "a".to_owned())];
            for fails in 0.. {
                let (_kept, root) = work();
                let disk = Disk::watched(Arc::new(Recorder::new(&root, Some(fails))));
                let failed = run(&scenario, &root, disk, &one, false).is_err();
                let longer = "b".repeat(limit as usize / 4);
                assert_eq!(write_all(&short, &root, std::slice::from_ref(&longer), is_planned).unwrap(), 1);
                let (keys, largest) = archived(&root);
                assert!(keys.contains(&longer) && largest <= limit, "{limit}: {keys:?}, {largest}");
                if !failed {
                    break;
                }
            }
        }
    }
}

#[test]
fn few_files_are_open_however_many_wait_for_their_names() {
    let asked =
        Asked { path: Some("x.npy".into()), several: true, shard_size: Some(128 + 60), ..Asked::default() };
    let scenario = Scenario { asked, images: 100, group: 1000, ..over_a_stranger("x.npy").0 };
    let scenario = Scenario { asked: Asked { overwrite: false, ..scenario.asked.clone() }, ..scenario };
    let (_, _, operations) = record(&scenario);
    let (mut open, mut most) = (BTreeSet::new(), 0);
    for operation in &operations {
        match operation {
            Operation::Create(path) if !is_manifest(path) => drop(open.insert(path.clone())),
            Operation::Sync(path) => drop(open.remove(path)),
            _ => {}
        }
        most = most.max(open.len());
    }
    assert!((20..=33).contains(&most), "{most}");
}

#[test]
fn the_second_of_two_images_for_one_file_fails() {
    let (_kept, root) = work();
    let asked = Asked { path: Some(root.join("out/")), several: true, ..Asked::default() };
    let contents = contents(&over_a_stranger("x.npy").0, true);
    let mut sink = asked.plan().unwrap().open(&contents, None, Planned::default()).unwrap();
    let (metadata, input) = (Metadata::default(), InputFacts::default());
    let arrays = [Array { name: "a".into(), shape: vec![1, 3, 5], values: vec![0.5; 15] }];
    let image = |key, name| Image {
        key,
        name: Path::new(name),
        sample: None,
        input: &input,
        place: 0,
        metadata: &metadata,
        facts: "{}",
        report: "{}",
        content: Content::Tensors(&arrays),
    };
    sink.write(&image("a.png", "a.png")).unwrap();
    let second = sink.write(&image("a.jpg", "a.jpg"));
    assert!(matches!(second, Err(OutputError::Foreign { .. })), "{second:?}");
    sink.write(&image("b.png", "b.png")).unwrap();
    sink.finish(true).unwrap();
    assert!(root.join("out/a.npy").exists() && root.join("out/b.npy").exists());
}
