//! A finished archive takes more images: none is done again, and whatever happens, the old archive or the new one is whole.
#![cfg(feature = "cli")]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use safetensors::SafeTensors;
use serde_json::Value;
use support::{
    fixture,
    run::{Outcome, command, feed, tiny},
};

const OLD: [&str; 5] = ["jpeg-420.jpg", "png-rgb-8.png", "gif-plain.gif", "bmp-24.bmp", "png-palette-8.png"];
const NEW: [&str; 3] = ["jpeg-grey.jpg", "gif-grey.gif", "bmp-8.bmp"];
/// So many that they fill several shards.
const OLD_TOO: [&str; 22] = [
    "pnm-p1.pbm",
    "pnm-p2-100.pgm",
    "pnm-p2-1000.pgm",
    "pnm-p2-255.pgm",
    "pnm-p2-65535.pgm",
    "pnm-p3-100.ppm",
    "pnm-p3-1000.ppm",
    "pnm-p3-255.ppm",
    "pnm-p3-65535.ppm",
    "pnm-p4.pbm",
    "pnm-p5-100.pgm",
    "pnm-p5-1000.pgm",
    "pnm-p5-255.pgm",
    "pnm-p5-65535.pgm",
    "pnm-p6-100.ppm",
    "pnm-p6-1000.ppm",
    "gif-1x1.gif",
    "gif-animated-offset.gif",
    "gif-animated.gif",
    "gif-first-frame-offset-transparent.gif",
    "gif-first-frame-offset.gif",
    "gif-frame-beyond-screen.gif",
];
const MORE: [&str; 22] = [
    "png-grey-1-interlaced.png",
    "png-grey-1-trns.png",
    "png-grey-1.png",
    "png-grey-16-dark.png",
    "png-grey-16-interlaced.png",
    "png-grey-16-trns.png",
    "png-grey-16.png",
    "png-grey-2-interlaced.png",
    "png-grey-2-trns.png",
    "png-grey-2.png",
    "png-grey-4-interlaced.png",
    "png-grey-4-trns.png",
    "png-grey-4.png",
    "png-grey-8-interlaced.png",
    "png-grey-8-trns.png",
    "png-grey-8.png",
    "tiff-grey-lzw.tiff",
    "tiff-grey.tiff",
    "tiff-rgb-deflate.tiff",
    "tiff-rgb-lzw-predictor.tiff",
    "tiff-rgb-lzw.tiff",
    "tiff-rgb-packbits.tiff",
];

/// Targets, each with its options. A feature is 3,744 bytes, so that some shards hold a few.
const TARGETS: [(&str, &[&str]); 8] = [
    ("x.npy", &[]),
    ("x.npy", &["--shard-size", "60KB"]),
    ("x.npy", &["--dtype", "f16"]),
    ("x.safetensors", &[]),
    ("x.safetensors", &["--shard-size", "60KB"]),
    ("x.safetensors", &["--tensor", "last_hidden_state", "--tensor", "pooler_output"]),
    ("x.tar", &[]),
    ("x.tar", &["--shard-size", "40KB"]),
];

/// The binary on some pictures of the fixtures, by their names.
fn extract(out: &Path, target: &str, options: &[&str], names: &[&str]) -> Command {
    let mut command = command();
    command.current_dir(fixture("images")).arg("-q").arg("--json").arg("-m").arg(tiny()).arg("-o");
    command.arg(out.join(target)).args(options).args(names);
    command
}

/// The statuses of a run's reports, by path.
fn statuses(outcome: &Outcome) -> BTreeMap<String, String> {
    let lines = outcome.text().lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    // The last line is the run's summary.
    let records = lines.filter(|line| line["input"].is_string());
    records.map(|line| (text(&line["input"]), text(&line["status"]))).collect()
}

/// Every image's tensors as an archive's readers get them, by the image's name (and the tensor's, where there are several).
fn tensors(out: &Path) -> BTreeMap<String, Vec<u8>> {
    let files: Vec<PathBuf> = fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path()).collect();
    let ends = |end: &str| {
        files.iter().filter(move |file| file.to_str().unwrap().ends_with(end)).cloned().collect::<Vec<_>>()
    };
    let mut found = BTreeMap::new();
    for file in ends(".safetensors") {
        let bytes = fs::read(&file).unwrap();
        let archive = SafeTensors::deserialize(&bytes).unwrap();
        for (name, tensor) in archive.iter() {
            assert!(found.insert(name.to_owned(), tensor.data().to_vec()).is_none(), "{name} is there once");
        }
    }
    for (key, file, offset, length) in entries(out).into_iter().filter(|(_, file, ..)| file.ends_with(".npy"))
    {
        let bytes = fs::read(out.join(file)).unwrap_or_default();
        // What is added is in the file when that is whole.
        if let Some(data) = bytes.get(128 + offset..128 + offset + length) {
            assert!(found.insert(key, data.to_vec()).is_none());
        }
    }
    for file in ends(".tar") {
        let mut archive = tar::Archive::new(fs::File::open(&file).unwrap());
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            if name.ends_with(".npy") {
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
                assert!(found.insert(name, bytes).is_none());
            }
        }
    }
    found
}

/// The images that manifests speak of: key, file, and where it lies there.
fn entries(out: &Path) -> Vec<(String, String, usize, usize)> {
    let files = fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path());
    let manifests = files.filter(|file| file.to_str().unwrap().ends_with("manifest.jsonl"));
    let lines = manifests.flat_map(|file| {
        let text = fs::read_to_string(file).unwrap();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    });
    let lines = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    let entries = lines.filter(|line| line["entry"].is_object()).map(|line| {
        let (entry, place) = (&line["entry"], &line["entry"]["at"][0]);
        let number = |name: &str| place[name].as_u64().unwrap() as usize;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&entry["key"]), text(&place["file"]), number("offset"), number("length"))
    });
    entries.collect()
}

/// Hidden files, which are of an unfinished run.
fn hidden(out: &Path) -> usize {
    let names = fs::read_dir(out).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_str().unwrap().starts_with('.')).count()
}

#[test]
fn a_dry_run_says_how_much_will_be_written() {
    let long = "n".repeat(180);
    for (target, options) in TARGETS {
        let directory = tempfile::tempdir().unwrap();
        let (photos, out) = (directory.path().join("photos"), directory.path().join("out"));
        fs::create_dir_all(photos.join(&long)).unwrap();
        fs::create_dir(&out).unwrap();
        let extract = |more: &[&str]| {
            let mut command = command();
            command.current_dir(directory.path()).arg("photos").args(["-q", "-m"]).arg(tiny()).args(options);
            let output = command.arg("-o").arg(out.join(target)).args(more).output().unwrap();
            Outcome::from(output).done()
        };
        let bytes = || -> u64 {
            let files = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
            files.sum()
        };
        let mut before = 0;
        for round in 0..2 {
            for number in 0..20 {
                let name = photos.join(&long).join(format!("{round}-{number:03}.png"));
                fs::copy(fixture("images/png-rgb-8.png"), name).unwrap();
            }
            let plan = extract(&["--dry-run", "--json"]);
            let plan: Value = serde_json::from_str(plan.text()).unwrap();
            let planned = plan["bytes"].as_u64().unwrap();
            extract(&[]);
            // What a single file holds is copied when it takes more, and its manifest goes on.
            let is_set = options.contains(&"--shard-size");
            let manifest: u64 = fs::metadata(out.join("x.manifest.jsonl")).unwrap().len();
            let copied = if round == 1 && !is_set { before - manifest * 9 / 20 } else { 0 };
            let written = bytes() - before + copied;
            let difference = planned.abs_diff(written) as f64 / written as f64;
            assert!(
                difference < 0.02,
                "{target} {options:?}: {planned} planned, {written} written in round {round}"
            );
            before = bytes();
            let nothing: Value = serde_json::from_str(extract(&["--dry-run", "--json"]).text()).unwrap();
            assert_eq!(nothing["bytes"], 0);
        }
    }
}

#[test]
fn a_finished_archive_takes_more_and_does_nothing_again() {
    for (target, options) in TARGETS {
        let directory = tempfile::tempdir().unwrap();
        let (out, whole) = (directory.path().join("out"), directory.path().join("whole"));
        [&out, &whole].into_iter().for_each(|path| fs::create_dir(path).unwrap());
        let run = |out: &Path, names: &[&str]| {
            let outcome = Outcome::from(extract(out, target, options, names).output().unwrap());
            statuses(&outcome.done())
        };
        let all = [&OLD[..], &NEW].concat();
        run(&whole, &all);
        run(&out, &OLD);
        let old = tensors(&out);
        // Old ones among the new, and then the new ones alone.
        let first = run(&out, &[&OLD[1..3], &NEW[..2]].concat());
        for name in &OLD[1..3] {
            assert_eq!(first[*name], "skipped", "{target} {options:?}");
        }
        for name in &NEW[..2] {
            assert_eq!(first[*name], "done", "{target} {options:?}");
        }
        run(&out, &NEW[1..]);
        let found = tensors(&out);
        assert!(found == tensors(&whole), "{target} {options:?}");
        assert!(old.iter().all(|(name, bytes)| found[name] == *bytes));
        assert_eq!(hidden(&out), 0);
        // What an undisturbed run would have written, where no image was left out between.
        assert_eq!(run(&out, &all).values().filter(|status| *status == "skipped").count(), all.len());
        let files = |directory: &Path| {
            let mut names: Vec<_> =
                fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        // A set goes on with another file.
        if !options.contains(&"--shard-size") {
            assert_eq!(files(&out), files(&whole), "{target} {options:?}");
        }
    }
}

#[test]
fn a_target_in_the_working_directory_stays_when_it_is_added_to() {
    for (target, options) in TARGETS {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path();
        let run = |more: &[&str], names: &[&str]| {
            let mut command = command();
            command.current_dir(out).args(["-q", "-o", target, "-m"]).arg(tiny()).args(options).args(more);
            command.args(names.iter().map(|name| fixture("images").join(name)));
            let output = command.output().unwrap();
            assert!(output.status.success(), "{target} {options:?} {more:?}: {output:?}");
            assert_eq!(hidden(out), 0);
            tensors(out)
        };
        let old = run(&[], &[&OLD[..], &OLD_TOO].concat());
        let both = run(&[], &[&OLD[..], &OLD_TOO, &NEW].concat());
        assert!(both.len() > old.len() && old.iter().all(|(name, tensor)| both[name] == *tensor), "{target}");
        let one = run(&[], &[MORE[0]]);
        assert!(one.len() > both.len() && both.keys().all(|name| one.contains_key(name)), "{target}");
        assert_eq!(run(&["--overwrite"], &OLD).len(), old.len() / (OLD.len() + OLD_TOO.len()) * OLD.len());
    }
}

#[test]
fn other_settings_add_nothing() {
    for target in ["x.npy", "x.safetensors", "x.tar"] {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path();
        Outcome::from(extract(out, target, &[], &OLD).output().unwrap()).done();
        let before = tensors(out);
        let refused = extract(out, target, &["--matmul-precision", "medium"], &NEW).output().unwrap();
        Outcome::from(refused).failed(2, "made with matmul_precision highest, not medium");
        assert!(tensors(out) == before && hidden(out) == 0);
    }
}

#[test]
fn a_killed_addition_leaves_the_old_archive_and_goes_on() {
    for (target, options) in TARGETS {
        let directory = tempfile::tempdir().unwrap();
        let (out, whole) = (directory.path().join("out"), directory.path().join("whole"));
        [&out, &whole].into_iter().for_each(|path| fs::create_dir(path).unwrap());
        let all = [&OLD[..], &NEW].concat();
        Outcome::from(extract(&whole, target, options, &all).output().unwrap()).done();
        let new = tensors(&whole);
        Outcome::from(extract(&out, target, options, &OLD).output().unwrap()).done();
        let old = tensors(&out);
        let started = Instant::now();
        let undisturbed = extract(&whole, target, options, &["--overwrite"]).args(&all).output().unwrap();
        assert!(undisturbed.status.success());
        let undisturbed = started.elapsed();
        for moment in 1..=10u32 {
            let mut child =
                extract(&out, target, options, &NEW).stdout(std::process::Stdio::null()).spawn().unwrap();
            thread::sleep(undisturbed * moment / 8);
            child.kill().unwrap();
            child.wait().unwrap();
            // Each image that is there is whole, and no old one is lost.
            let found = tensors(&out);
            assert!(
                old.iter().all(|(name, bytes)| found.get(name) == Some(bytes)),
                "{target} {options:?} at {moment}"
            );
            assert!(found.iter().all(|(name, bytes)| new[name] == *bytes));
            thread::sleep(Duration::from_millis(5));
        }
        let last = Outcome::from(extract(&out, target, options, &NEW).output().unwrap()).done();
        assert_eq!(statuses(&last).len(), NEW.len());
        assert!(tensors(&out) == new, "{target} {options:?}");
        assert_eq!(hidden(&out), 0, "{target} {options:?}");
    }
}

#[test]
fn one_image_that_is_named_alone_is_added_too() {
    for target in ["x.npy", "x.safetensors", "x.tar"] {
        let directory = tempfile::tempdir().unwrap();
        let (listed, alone) = (directory.path().join("listed"), directory.path().join("alone"));
        for (out, list) in [(&listed, true), (&alone, false)] {
            fs::create_dir(out).unwrap();
            let run = |options: &[&str], names: &[&str]| {
                Outcome::from(extract(out, target, options, names).output().unwrap())
            };
            run(&[], &OLD).done();
            let before = tensors(out);
            run(&["--dtype", "f16"], &NEW[..1]).failed(2, "made with dtype f32, not f16");
            assert!(tensors(out) == before);
            for name in &NEW[..2] {
                match list {
                    true => {
                        let mut listed = extract(out, target, &["--files-from", "-"], &[]);
                        feed(&mut listed, name.as_bytes()).done();
                    }
                    false => drop(run(&[], &[name]).done()),
                }
            }
        }
        assert_eq!(tensors(&alone).len(), OLD.len() + 2, "{target}");
        assert!(tensors(&listed) == tensors(&alone), "{target}");
        // Started anew, it is the only one of what is a stack or an archive still.
        Outcome::from(extract(&alone, target, &["--overwrite"], &NEW[..1]).output().unwrap()).done();
        Outcome::from(extract(&alone, target, &[], &NEW[1..2]).output().unwrap()).done();
        let two = directory.path().join("two");
        fs::create_dir(&two).unwrap();
        Outcome::from(extract(&two, target, &[], &NEW[..2]).output().unwrap()).done();
        assert!(tensors(&alone) == tensors(&two), "{target}");
    }
}

#[test]
fn an_archive_that_is_cut_short_is_not_complete() {
    for (options, file) in [(&[][..], "x.safetensors"), (&["--shard-size", "60KB"], "x-00000.")] {
        let directory = tempfile::tempdir().unwrap();
        let names = [&OLD[..], &OLD_TOO].concat();
        Outcome::from(extract(directory.path(), "x.safetensors", options, &names).output().unwrap()).done();
        let mut files = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
        let path = files.find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(file)).unwrap();
        let length = path.metadata().unwrap().len();
        fs::File::options().write(true).open(&path).unwrap().set_len(length - 100).unwrap();
        let again =
            Outcome::from(extract(directory.path(), "x.safetensors", options, &names).output().unwrap());
        again.failed(2, "is damaged");
        assert_eq!(path.metadata().unwrap().len(), length - 100);
    }
}

#[test]
fn a_limit_holds_for_listed_images_too() {
    let directory = tempfile::tempdir().unwrap();
    let mut command =
        extract(directory.path(), "x.safetensors", &["--shard-size", "60KB", "--files-from", "-"], &[]);
    feed(&mut command, [&OLD[..], &OLD_TOO].concat().join("\n").as_bytes()).done();
    let files: Vec<u64> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().extension() == Some("safetensors".as_ref()))
        .map(|entry| entry.metadata().unwrap().len())
        .collect();
    assert!(files.len() < 8 && files.iter().all(|&length| length <= 60_000), "{files:?}");
}
