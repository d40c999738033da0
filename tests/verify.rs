//! `--verify`: one bit that is another is told, with the image that it is of.
#![cfg(feature = "cli")]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
};

use clip_features::features;
use support::{
    fixture,
    run::{Outcome, command, tiny},
};

const NAMES: [&str; 4] = ["jpeg-420.jpg", "png-rgb-8.png", "bmp-24.bmp", "jpeg-grey.jpg"];

fn extract(target: &Path, options: &[&str]) {
    let mut command = command();
    command.current_dir(fixture("images")).args(["-q", "-m"]).arg(tiny()).arg("-o").arg(target);
    Outcome::from(command.args(options).args(NAMES).output().unwrap()).done();
}

fn verify(target: &Path, options: &[&str]) -> Outcome {
    command().arg("--verify").arg(target).args(options).output().unwrap().into()
}

/// Turns over a bit of a file; a second time puts it back.
fn flip(file: &Path, at: u64) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at as usize] ^= 1;
    fs::write(file, bytes).unwrap();
}

#[test]
fn one_bit_is_named_with_its_image_in_every_kind_of_output() {
    for (target, options) in [
        ("d", &[][..]),
        ("e", &["--format", "safetensors"]),
        ("several", &["--tensor", "hidden_states"]),
        ("x.npy", &[]),
        ("x.safetensors", &[]),
        ("x.tar", &[]),
        ("x.npy", &["--shard-size", "10KB"]),
        ("x.safetensors", &["--shard-size", "10KB"]),
        ("x.tar", &["--shard-size", "30KB"]),
        ("x.npy", &["--part", "0/1"]),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join(target);
        extract(&target, options);
        let whole = verify(&target, &[]);
        assert_eq!((whole.code, whole.text()), (Some(0), ""), "{whole:?}");
        assert_eq!(whole.stderr, "finished: 4 images, all as they were written\n");
        verify(&target, &["-q"]).done();
        let found = features::open(&target).unwrap();
        for (place, name) in NAMES.iter().enumerate() {
            let tensor = found.tensors().len() - 1;
            let at = found.at(place, tensor).unwrap();
            let last = at.offset + found.read(place, tensor).unwrap().bytes().len() as u64 - 1;
            for byte in [at.offset, last] {
                flip(&at.path, byte);
                let told = verify(&target, &["-q"]);
                let message =
                    format!("{}: {name}: its bytes are not those that were written", at.path.display());
                told.failed(1, &message);
                flip(&at.path, byte);
            }
        }
        verify(&target, &["-q"]).done();
    }
}

#[test]
fn what_a_file_says_of_itself_is_compared_too() {
    for target in ["x.npy", "x.safetensors", "x.tar"] {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join(target);
        extract(&target, &[]);
        let length = fs::metadata(&target).unwrap().len();
        let last = target.extension().unwrap() == "tar";
        for byte in [20, 100].into_iter().chain(last.then_some(length - 1)) {
            flip(&target, byte);
            verify(&target, &["-q"])
                .failed(1, &format!("{}: its head is not as it was written", target.display()));
            flip(&target, byte);
        }
    }
}

#[test]
fn a_file_that_is_gone_or_cut_is_named_and_what_cannot_be_opened_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("d");
    extract(&target, &[]);
    let file = |name: &str| target.join(name).with_extension("npy");
    fs::remove_file(file(NAMES[0])).unwrap();
    fs::write(file(NAMES[2]), "short").unwrap();
    let told = verify(&target, &["--json"]);
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.stderr.ends_with("finished: 2 are not as they were written\n"), "{told:?}");
    let lines: Vec<serde_json::Value> =
        told.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["key"], &lines[1]["key"]), (&NAMES[0].into(), &NAMES[2].into()));
    assert_eq!(lines[1]["output"], file(NAMES[2]).to_str().unwrap());
    assert_eq!(lines[1]["reason"], "it has 5 bytes, not 3872");
    assert_eq!((&lines[2]["summary"]["done"], &lines[2]["summary"]["failed"]), (&2.into(), &2.into()));

    let archive = directory.path().join("x.npy");
    extract(&archive, &[]);
    let bytes = fs::read(&archive).unwrap();
    fs::write(&archive, &bytes[1..]).unwrap();
    verify(&archive, &[]).failed(2, "x.npy: is damaged: it has ");
    verify(&directory.path().join("no"), &[]).failed(2, "there is no such output");
    let manifest: PathBuf = target.join("manifest.jsonl");
    flip(&manifest, fs::metadata(&manifest).unwrap().len() - 60);
    verify(&target, &[]).failed(2, "manifest.jsonl: is damaged: its line at byte");
}

#[test]
fn an_option_that_says_nothing_of_it_is_refused() {
    for (options, part) in [
        (&["a.png"][..], "--verify takes one output, and no images"),
        (&["-o", "x"], "--output does nothing beside --verify"),
        (&["--keep-extension"], "--keep-extension does nothing"),
        (&["-m", "x"], "--model does nothing"),
    ] {
        verify(Path::new("d"), options).failed(2, part);
    }
}
