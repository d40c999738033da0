//! A finished archive takes more images: none is done again, and whatever happens, the old archive or the new one is whole.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use clip_features::output::readable_size;
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
    let records = lines.filter(|line| line["path"].is_string());
    records.map(|line| (text(&line["path"]), text(&line["status"]))).collect()
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
    for index in ends(".index.jsonl") {
        let rows: Vec<Value> = fs::read_to_string(&index)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        for row in &rows {
            let file = row["shard"].as_str().map_or_else(|| out.join("x.npy"), |shard| out.join(shard));
            let bytes = fs::read(&file).unwrap();
            let here = rows.iter().filter(|other| other["shard"] == row["shard"]).count();
            let header = String::from_utf8_lossy(&bytes[..128]).into_owned();
            // A kill between two renames leaves the old index, which is right of the new stack.
            let rows = header.split_once("'shape': (").unwrap().1.split(',').next().unwrap();
            let rows: usize = rows.parse().unwrap();
            assert!(rows >= here, "{header}");
            let size = (bytes.len() - 128) / rows;
            let number = row["row"].as_u64().unwrap() as usize;
            let data = bytes[128 + number * size..][..size].to_vec();
            assert!(found.insert(row["path"].as_str().unwrap().to_owned(), data).is_none());
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

/// Hidden files, which are of an unfinished run.
fn hidden(out: &Path) -> usize {
    let names = fs::read_dir(out).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_str().unwrap().starts_with('.')).count()
}

#[test]
fn the_space_that_is_needed_counts_the_copy() {
    for (target, options) in TARGETS {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path();
        assert!(extract(out, target, options, &OLD).output().unwrap().status.success());
        let end = &target[1..];
        let mut files: Vec<PathBuf> = fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|file| file.to_str().unwrap().ends_with(end));
        files.sort();
        // Those before the last are linked, and what a tar of limited size takes goes into a new file.
        let copied = match target == "x.tar" && !options.is_empty() {
            true => 0,
            false => files.last().unwrap().metadata().unwrap().len(),
        };
        for (names, is_added) in [([&OLD[..], &NEW].concat(), true), (OLD.to_vec(), false)] {
            let mut dry = command();
            dry.current_dir(fixture("images")).arg("--dry-run").arg("-m").arg(tiny()).arg("-o");
            dry.arg(out.join(target)).args(options).args(&names);
            let dry = String::from_utf8(dry.output().unwrap().stdout).unwrap();
            let line = dry.lines().find(|line| line.contains("bytes an image")).expect("a line of the space");
            let (needed, rest) = line.split_once(" needed, ").unwrap();
            let image: u64 = rest.split_once(" bytes an image").unwrap().0.parse().unwrap();
            // A tar has all in itself; others have a journal and lines in an index or a header.
            let names: usize = NEW.iter().map(|name| name.len()).sum();
            let expected = 3 * image + copied;
            let beside = if target == "x.tar" { 0..=0 } else { 2 * names as u64..=1000 };
            let is_right = |beside: u64| needed.ends_with(&format!(" {}", readable_size(expected + beside)));
            match is_added {
                true => assert!(
                    beside.clone().any(is_right),
                    "{target} {options:?}: {line}, not {expected} + {beside:?}"
                ),
                false => assert!(needed.ends_with(&format!(" {}", readable_size(0))), "{line}"),
            }
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
        // A set of tars begins another one.
        if target != "x.tar" || options.is_empty() {
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
        Outcome::from(refused).failed(2, "holds outputs of other settings");
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
fn a_kill_while_files_get_their_names_leaves_none_of_the_old_ones() {
    for target in ["x.npy", "x.safetensors"] {
        let options = ["--shard-size", "60KB"];
        let directory = tempfile::tempdir().unwrap();
        let names = |out: &Path| -> BTreeSet<PathBuf> {
            fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path()).collect()
        };
        let files = |names: BTreeSet<PathBuf>| -> BTreeSet<_> {
            names.into_iter().map(|path| path.file_name().unwrap().to_owned()).collect()
        };
        let whole = directory.path().join("whole");
        fs::create_dir(&whole).unwrap();
        Outcome::from(extract(&whole, target, &options, &[&OLD[..], &OLD_TOO].concat()).output().unwrap())
            .done();
        let begun = names(&whole);
        Outcome::from(extract(&whole, target, &options, &MORE).output().unwrap()).done();
        let undisturbed = files(names(&whole));
        assert!(begun.len() > 2, "{begun:?}: more than one shard");
        for moment in 0..8u32 {
            let out = directory.path().join(format!("out-{moment}"));
            fs::create_dir(&out).unwrap();
            Outcome::from(extract(&out, target, &options, &[&OLD[..], &OLD_TOO].concat()).output().unwrap())
                .done();
            let old = names(&out);
            let mut child =
                extract(&out, target, &options, &MORE).stdout(std::process::Stdio::null()).spawn().unwrap();
            let is_new = |path: &PathBuf| path.to_str().unwrap().contains("-of-") && !old.contains(path);
            while child.try_wait().unwrap().is_none() && !names(&out).iter().any(is_new) {}
            thread::sleep(Duration::from_micros(u64::from(moment) * 300));
            let _ = child.kill();
            child.wait().unwrap();
            Outcome::from(extract(&out, target, &options, &MORE).output().unwrap()).done();
            assert_eq!(files(names(&out)), undisturbed, "{target} at {moment}");
        }
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
            run(&["--dtype", "f16"], &NEW[..1]).failed(2, "holds outputs of other settings");
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
    for (options, file) in [(&[][..], "x.safetensors"), (&["--shard-size", "60KB"], "x-00001-of-")] {
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
