//! What was written is read back: the same keys, shapes and bytes from every kind of output, and what cannot be trusted is refused in words.
#![cfg(feature = "cli")]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use clip_features::features::{self, Features, Opening};
use support::{
    fixture,
    run::{Outcome, command, tiny},
};

const NAMES: [&str; 6] =
    ["jpeg-420.jpg", "png-rgb-8.png", "gif-plain.gif", "bmp-24.bmp", "jpeg-grey.jpg", "pnm-p5-100.pgm"];

/// Each kind of output: what it is asked for as, with which options, and a pattern of one of its files.
const KINDS: [(&str, &[&str]); 7] = [
    ("features", &[]),
    ("of-archives", &["--format", "safetensors"]),
    ("x.npy", &[]),
    ("x.safetensors", &[]),
    ("x.tar", &[]),
    ("x.npy", &["--shard-size", "10KB"]),
    ("x.safetensors", &["--shard-size", "10KB"]),
];

fn names() -> Vec<&'static str> {
    NAMES.into_iter().filter(|name| fixture("images").join(name).exists()).collect()
}

fn extract(target: &Path, options: &[&str], names: &[&str]) -> Outcome {
    let mut command = command();
    command.current_dir(fixture("images")).args(["-q", "-m"]).arg(tiny()).arg("-o").arg(target);
    command.args(options).args(names).output().unwrap().into()
}

/// What the program gives for an image by itself, in float32.
fn alone(name: &str) -> Vec<u8> {
    let mut command = command();
    command.current_dir(fixture("images")).args(["-q", "-m"]).arg(tiny()).args(["-o", "-", name]);
    let found: Outcome = command.output().unwrap().into();
    found.done().stdout[128..].to_vec()
}

/// Asserts that the features are those of the images, in order.
#[track_caller]
fn check(features: &Features, names: &[&str], expected: &BTreeMap<&str, Vec<u8>>) {
    assert_eq!(features.keys().collect::<Vec<_>>(), names);
    assert_eq!(features.len(), names.len());
    for (place, name) in names.iter().enumerate() {
        let tensor = features.get(name).unwrap();
        assert_eq!(tensor.shape(), [26, 36]);
        assert!(tensor.bytes() == expected[name], "{name}");
        assert_eq!(features.place(name), Some(place));
        assert!(features.read(place, 0).unwrap().bytes() == expected[name], "{name}");
        let at = features.at(place, 0).unwrap();
        let file = fs::read(&at.path).unwrap();
        assert!(file[at.offset as usize..][..expected[name].len()] == expected[name], "{name}");
    }
}

#[track_caller]
fn refused(path: impl AsRef<Path>, part: &str) {
    let error = features::open(path).expect_err("it should be refused").to_string();
    assert!(error.contains(part), "{part:?} is not in {error:?}");
}

#[test]
fn every_kind_of_output_is_read_by_its_path_and_by_those_of_its_files() {
    let names = names();
    let expected: BTreeMap<&str, Vec<u8>> = names.iter().map(|name| (*name, alone(name))).collect();
    for (target, options) in KINDS {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join(target);
        extract(&target, options, &names).done();
        check(&features::open(&target).unwrap(), &names, &expected);
        let root = if target.is_dir() { target.as_path() } else { directory.path() };
        let mut files = 0;
        for file in fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()) {
            check(&features::open(&file).unwrap_or_else(|error| panic!("{error}")), &names, &expected);
            files += 1;
        }
        assert!(files > 1);
        // What lies among them and is none of them.
        let stranger = root.join("x-99999.npy");
        fs::write(&stranger, "mine").unwrap();
        refused(&stranger, "does not say that it is one of its files");
    }
}

#[test]
fn halves_and_several_tensors_are_read() {
    let names = &names()[..2];
    for (target, options) in
        [("d", vec![]), ("e", vec!["--format", "safetensors"]), ("x.safetensors", vec![]), ("x.tar", vec![])]
    {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join(target);
        let what =
            ["--tensor", "hidden_states", "--layer", "0,-1", "--tensor", "pooler_output", "--dtype", "f16"];
        extract(&target, &[&what[..], &options].concat(), names).done();
        let found = features::open(&target).unwrap();
        assert_eq!(found.tensors(), ["hidden_states.0", "hidden_states.3", "pooler_output"]);
        for name in names {
            let one = |tensor| found.get_tensor(name, tensor).unwrap();
            assert_eq!(
                (one("hidden_states.0").shape(), one("pooler_output").shape()),
                (&[26, 36][..], &[36][..])
            );
            let alone = directory.path().join("alone.safetensors");
            extract(&alone, &[&what[..], &["--overwrite"]].concat(), &[name]).done();
            let bytes = fs::read(&alone).unwrap();
            let alone = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            for tensor in found.tensors() {
                assert!(alone.tensor(tensor).unwrap().data() == one(tensor).bytes(), "{name} {tensor}");
            }
            assert!(
                found
                    .get(name)
                    .unwrap_err()
                    .to_string()
                    .contains("hidden_states.0, hidden_states.3, pooler_output")
            );
            assert!(found.get_tensor(name, "attentions").is_err());
        }
    }
}

#[test]
fn what_was_asked_and_what_is_known_of_an_image_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("x.npy");
    extract(&target, &[], &NAMES[..2]).done();
    let found = features::open(&target).unwrap();
    assert_eq!(found.metadata().get("tensor"), Some("last_hidden_state"));
    let record = found.record(0).unwrap();
    assert_eq!((record.key.as_str(), record.input.path.as_str()), (NAMES[0], NAMES[0]));
    assert_eq!(record.outputs, std::slice::from_ref(&target));
    let facts: serde_json::Value = serde_json::from_str(record.facts.unwrap().get()).unwrap();
    assert_eq!(facts["grid"], serde_json::json!([5, 5]));
    assert_eq!(found.missing(["no.jpg", NAMES[1], "neither"]), ["no.jpg", "neither"]);
    assert!(found.get("no.jpg").unwrap_err().to_string().contains("no image \"no.jpg\""));
    assert_eq!(found.paths().collect::<Vec<_>>(), [target.as_path()]);
}

#[test]
fn parts_of_a_job_are_one_collection_and_none_may_be_missing() {
    let names = names();
    let expected: BTreeMap<&str, Vec<u8>> = names.iter().map(|name| (*name, alone(name))).collect();
    for target in ["d", "x.npy", "x.tar"] {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join(target);
        let part = |part: &'static str| extract(&target, &["--part", part], &names).done();
        part("0/3");
        part("2/3");
        refused(&target, "is not finished: there is no part-1-of-3");
        let unfinished = Opening { unfinished: true };
        assert_eq!(unfinished.open(&[&target]).unwrap().len(), names.len() - names.len().div_ceil(3));
        part("1/3");
        let order: Vec<&str> = (0..3).flat_map(|part| names.iter().skip(part).step_by(3)).copied().collect();
        check(&features::open(&target).unwrap(), &order, &expected);
        if target.extension().is_some() {
            let one = target.with_extension(format!("part-1-of-3.{}", target.extension().unwrap().display()));
            check(&features::open(one).unwrap(), &order, &expected);
        }
    }
}

#[test]
fn several_outputs_are_one_collection_unless_they_differ_or_share_an_image() {
    let names = names();
    let expected: BTreeMap<&str, Vec<u8>> = names.iter().map(|name| (*name, alone(name))).collect();
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    extract(&at("a.npy"), &[], &names[..3]).done();
    extract(&at("b"), &[], &names[3..]).done();
    let both = |paths: &[PathBuf]| Opening::default().open(paths);
    check(&both(&[at("a.npy"), at("b")]).unwrap(), &names, &expected);
    // The same twice is there once.
    check(&both(&[at("a.npy"), at("a.manifest.jsonl"), at("b")]).unwrap(), &names, &expected);
    extract(&at("c.npy"), &[], &names[2..]).done();
    let error = both(&[at("a.npy"), at("c.npy")]).unwrap_err().to_string();
    assert!(
        error.contains(names[2]) && error.contains("c.npy: holds") && error.contains("a.npy holds too"),
        "{error}"
    );
    extract(&at("e.npy"), &["--layer", "-2"], &names[3..]).done();
    let error = both(&[at("a.npy"), at("e.npy")]).unwrap_err().to_string();
    let part = format!(
        "e.npy: made with layer -2, not -1; with tensor hidden_states, not last_hidden_state, unlike {}",
        at("a.npy").display()
    );
    assert!(error.contains(&part), "{error}");
}

#[test]
fn what_is_another_kind_of_thing_is_refused_in_words() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    refused(at("no"), "there is no such output");
    refused(at("no/x.npy"), "there is no such output");
    fs::create_dir(at("mine")).unwrap();
    refused(at("mine"), "no manifest in it");
    fs::write(at("mine.npy"), "x").unwrap();
    refused(at("mine.npy"), "no manifest says what it holds");
    fs::write(at("mine.manifest.jsonl"), "{}\n").unwrap();
    refused(at("mine.npy"), "is no manifest of clip-features");
    extract(&at("maps"), &["--draw", "norm"], &NAMES[..2]).done();
    refused(at("maps"), "holds pictures, not tensors");
    fs::create_dir(at("outputs")).unwrap();
    extract(&at("outputs/x.tar"), &[], &NAMES[..2]).done();
    refused(at("outputs"), &format!("hint: open {}", at("outputs/x.tar").display()));
}

#[test]
fn what_was_cut_or_lost_is_refused_by_name() {
    let names = names();
    for (target, options) in KINDS.into_iter().filter(|(target, _)| target.starts_with('x')) {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join(target);
        extract(&target, options, &names).done();
        let file = features::open(&target).unwrap().at(0, 0).unwrap().path;
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
        refused(&target, &format!("{}: is damaged: it has {} bytes, and", file.display(), bytes.len() - 1));
        fs::remove_file(&file).unwrap();
        refused(&target, &format!("{}: is damaged: it is missing", file.display()));
        let rest = Opening { unfinished: true }.open(&[&target]).unwrap();
        assert!(rest.len() < names.len() && rest.place(names[0]).is_none());
    }
    let directory = tempfile::tempdir().unwrap();
    extract(directory.path(), &[], &names).done();
    let found = features::open(directory.path()).unwrap();
    let file = found.at(1, 0).unwrap().path;
    fs::write(&file, "short").unwrap();
    let error = found.get(names[1]).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: is damaged: it has 5 bytes", file.display())), "{error}");
    found.get(names[0]).unwrap();
}

#[test]
fn a_run_that_has_not_ended_is_refused_and_read_as_far_as_it_is_complete() {
    let names = names();
    let expected: BTreeMap<&str, Vec<u8>> = names.iter().map(|name| (*name, alone(name))).collect();
    for (target, options) in KINDS {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join(target);
        extract(&target, options, &names).done();
        // As if its last line had not been written.
        let root = if target.is_dir() { target.as_path() } else { directory.path() };
        let mut manifests = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
        let manifest = manifests.find(|path| path.to_str().unwrap().ends_with("manifest.jsonl")).unwrap();
        let text = fs::read_to_string(&manifest).unwrap();
        let cut = text.trim_end().rfind('\n').unwrap() + 5;
        fs::write(&manifest, &text[..cut]).unwrap();
        refused(&target, "is not finished: ");
        let unfinished = Opening { unfinished: true };
        check(&unfinished.open(&[&target]).unwrap(), &names, &expected);
        // A line in the middle is another, and the ones after it do not count.
        let damaged = text.replacen("\"entry\"", "\"emtry\"", 2).replacen("\"emtry\"", "\"entry\"", 1);
        fs::write(&manifest, damaged).unwrap();
        refused(&target, "is not as it was written, and those after it do not count");
    }
}

#[test]
fn what_was_made_again_since_is_not_read_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("x.npy");
    extract(&target, &[], &NAMES[..2]).done();
    let found = features::open(&target).unwrap();
    extract(&target, &["--overwrite"], &NAMES[1..4]).done();
    let error = found.get(NAMES[0]).unwrap_err().to_string();
    assert!(error.contains("has changed since it was opened\nhint: open it again"), "{error}");
}

#[test]
fn what_was_begun_is_read_as_far_as_it_came_and_so_is_what_grows() {
    let names = names();
    let expected: BTreeMap<&str, Vec<u8>> = names.iter().map(|name| (*name, alone(name))).collect();
    let unfinished = Opening { unfinished: true };
    for (target, options) in KINDS {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join(target);
        let options = [options, &["--fail-fast", "--batch-size", "1"]].concat();
        let broken = |names: &[&'static str]| [names, &["bad/truncated.jpg"]].concat();
        assert_eq!(extract(&target, &options, &broken(&names[..2])).code, Some(1));
        refused(&target, "is not finished: ");
        check(&unfinished.open(&[&target]).unwrap(), &names[..2], &expected);
        extract(&target, &options, &names[..3]).done();
        check(&features::open(&target).unwrap(), &names[..3], &expected);
        let found = features::open(&target).unwrap();
        assert_eq!(extract(&target, &options, &broken(&names[..5])).code, Some(1));
        refused(&target, "is not finished: ");
        check(&unfinished.open(&[&target]).unwrap(), &names[..5], &expected);
        // Whoever has opened it before reads what was there then.
        check(&found, &names[..3], &expected);
    }
}
