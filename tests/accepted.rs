//! Images that fail by their own bytes, and are accepted.
#![cfg(feature = "cli")]

mod support;

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use serde_json::Value;
use support::{
    fixture,
    run::{Outcome, command, tar, tiny},
};

fn picture() -> Vec<u8> {
    fs::read(fixture("images/png-rgb-8.png")).unwrap()
}

/// Runs with these arguments, and `--json`; gives the summary too.
fn run(directory: &Path, line: &str) -> (Outcome, Value) {
    let mut command = command();
    let command =
        command.current_dir(directory).arg("-m").arg(tiny()).arg("--json").args(line.split_whitespace());
    let outcome = Outcome::from(command.output().unwrap());
    let last = outcome.text().lines().last().unwrap_or("null");
    let summary = serde_json::from_str::<Value>(last).unwrap()["summary"].clone();
    (outcome, summary)
}

fn counts(summary: &Value) -> [u64; 4] {
    ["done", "skipped", "failed", "accepted"].map(|name| summary[name].as_u64().unwrap_or(0))
}

/// A photograph, and one of each kind that fails by its own bytes.
fn photos(directory: &Path) {
    fs::create_dir(directory.join("photos")).unwrap();
    let cut = &picture()[..60];
    let mut larger = picture();
    larger.truncate(29);
    larger[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
    let check = crc32fast::hash(&larger[12..29]).to_be_bytes();
    let bomb = [&larger[..], &check, b"\0\0\0\0IDAT\x35\xaf\x06\x1e"].concat();
    for (name, bytes) in [
        ("a.png", &picture()[..]),
        ("damaged.png", cut),
        ("empty.png", b""),
        ("large.png", &bomb),
        ("text.jpg", b"a text"),
        ("unread.png", b"8BPS\0\x01 a picture of another program"),
    ] {
        fs::write(directory.join("photos").join(name), bytes).unwrap();
    }
}

#[test]
fn what_is_wrong_with_its_bytes_is_a_fact() {
    let directory = tempfile::tempdir().unwrap();
    photos(directory.path());
    let (outcome, summary) = run(directory.path(), "photos missing.png -o out/");
    assert_eq!((outcome.code, counts(&summary)), (Some(1), [1, 0, 6, 0]), "{outcome:?}");
    let expected = [
        ("damaged.png", Some("damaged")),
        ("empty.png", Some("no_image")),
        ("large.png", Some("too_large")),
        ("text.jpg", Some("no_image")),
        ("unread.png", Some("not_supported")),
        ("missing.png", None),
    ];
    let lines =
        |text: &str| -> Vec<Value> { text.lines().map(|line| serde_json::from_str(line).unwrap()).collect() };
    let report = lines(outcome.text());
    let manifest = lines(&fs::read_to_string(directory.path().join("out/manifest.jsonl")).unwrap());
    for (name, defect) in expected {
        let reported = report.iter().find(|record| record["key"] == name).unwrap();
        assert_eq!(reported.get("defect").and_then(Value::as_str), defect, "{reported}");
        let kept = manifest.iter().find(|line| line["failed"]["key"] == name).unwrap();
        assert_eq!(kept["failed"].get("defect").and_then(Value::as_str), defect, "{kept}");
    }
}

#[test]
fn what_is_accepted_is_done_until_it_changes() {
    for output in ["out/", "x.safetensors", "x.npy"] {
        let directory = tempfile::tempdir().unwrap();
        photos(directory.path());
        let run = |line: &str| {
            let (outcome, summary) = run(directory.path(), &format!("photos -o {output} {line}"));
            (outcome.code, counts(&summary), outcome)
        };
        let (code, counted, outcome) = run("--accept-failures --fail-fast");
        assert_eq!((code, counted), (Some(0), [1, 0, 0, 5]), "{outcome:?}");
        assert!(outcome.stderr.contains("warning: photos/text.jpg: not an image"), "{outcome:?}");
        assert!(outcome.stderr.contains("1 done, 5 accepted failures in"), "{outcome:?}");
        let dry = |line: &str| {
            let mut command = command();
            let words = ["photos", "-o", output, "--dry-run", "--json"].into_iter();
            let words = words.chain(line.split(' ').filter(|word| !word.is_empty()));
            let command = command.current_dir(directory.path()).arg("-m").arg(tiny()).args(words);
            let facts: Value =
                serde_json::from_slice(&Outcome::from(command.output().unwrap()).done().stdout).unwrap();
            (facts["remaining"].as_u64().unwrap(), facts["missing"].as_str().unwrap().to_owned())
        };
        // Nobody reads them again, and nothing is left to be done.
        let (code, counted, outcome) = run("--accept-failures");
        assert_eq!((code, counted), (Some(0), [0, 1, 0, 5]), "{outcome:?}");
        assert!(!outcome.stderr.contains("text.jpg"), "{outcome:?}");
        assert_eq!(dry("--accept-failures"), (0, String::new()));
        // They are failures where nobody accepts them.
        assert_eq!(dry(""), (5, "0".into()));
        assert_eq!(dry("--accept-failures --retry-failures"), (5, "0".into()));
        let (code, counted, outcome) = run("--accept-failures --retry-failures");
        assert_eq!((code, counted), (Some(0), [0, 1, 0, 5]), "{outcome:?}");
        assert!(outcome.stderr.contains("warning: photos/text.jpg: not an image"), "{outcome:?}");
        // The same bytes with another time fail as they did, and are not decoded again.
        let damaged = directory.path().join("photos/damaged.png");
        let later = SystemTime::now() + Duration::from_secs(10);
        fs::File::options().write(true).open(&damaged).unwrap().set_modified(later).unwrap();
        let (code, counted, outcome) = run("--accept-failures");
        assert_eq!((code, counted), (Some(0), [0, 1, 0, 5]), "{outcome:?}");
        assert!(!outcome.stderr.contains("damaged.png"), "{outcome:?}");
        // Other bytes are another image.
        fs::write(&damaged, picture()).unwrap();
        let (code, counted, outcome) = run("--accept-failures");
        assert_eq!((code, counted), (Some(0), [1, 1, 0, 4]), "{outcome:?}");
        let (code, counted, outcome) = run("");
        assert_eq!((code, counted), (Some(1), [0, 2, 4, 0]), "{outcome:?}");
    }
}

#[test]
fn what_could_not_be_read_is_not_accepted() {
    let directory = tempfile::tempdir().unwrap();
    photos(directory.path());
    for _ in 0..2 {
        let (outcome, summary) = run(directory.path(), "photos missing.png -o out/ --accept-failures");
        assert_eq!((outcome.code, summary["failed"].as_u64()), (Some(1), Some(1)), "{outcome:?}");
        assert_eq!(summary["accepted"], 5, "{outcome:?}");
    }
}

#[test]
fn a_part_is_complete_when_the_rest_is_accepted() {
    let directory = tempfile::tempdir().unwrap();
    photos(directory.path());
    let missing = |line: &str| {
        let (outcome, _) = run(directory.path(), &format!("photos -o out/ --part 0/2 --dry-run {line}"));
        serde_json::from_str::<Value>(outcome.text()).unwrap()["missing"].as_str().unwrap().to_owned()
    };
    for part in ["0/2", "1/2"] {
        run(directory.path(), &format!("photos -o out/ --part {part}"));
    }
    assert_eq!([missing(""), missing("--accept-failures")], ["0-1", ""]);
}

#[test]
fn a_tar_is_done_when_its_failures_are_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let good = tar(&[("a.png", &picture()), ("b.png", b"a text")]);
    fs::create_dir(directory.path().join("tars")).unwrap();
    for (name, bytes) in [
        ("1.tar", &good[..]),
        ("2.tar", &good[..good.len() - 1024]),
        ("3.tar", b"no tar at all"),
        ("4.tar", &tar(&[("c.png", &picture())])),
    ] {
        fs::write(directory.path().join("tars").join(name), bytes).unwrap();
    }
    // Images and damaged tars, then tars.
    let first = run(directory.path(), "tars -o out/ --accept-failures");
    assert_eq!((first.0.code, counts(&first.1)), (Some(0), [3, 0, 0, 4]), "{first:?}");
    let again = run(directory.path(), "tars -o out/ --accept-failures");
    assert_eq!((again.0.code, counts(&again.1)), (Some(0), [0, 4, 0, 0]), "{again:?}");
    let strict = run(directory.path(), "tars -o out/");
    assert_eq!((strict.0.code, counts(&strict.1)), (Some(1), [0, 3, 4, 0]), "{strict:?}");
    // Into one file all tars are read each time, and what failed is not decoded again.
    for done in [[3, 0, 0, 4], [0, 3, 0, 4]] {
        let one = run(directory.path(), "tars -o x.npy --accept-failures");
        assert_eq!((one.0.code, counts(&one.1)), (Some(0), done), "{one:?}");
    }
}
