//! What programs read of a run: the summary of `--json`, and `--progress json`.
#![cfg(feature = "cli")]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use support::{
    fixture,
    run::{Outcome, command, run, tiny},
};

/// Three good pictures and a broken one.
fn photos(root: &Path) -> PathBuf {
    let photos = root.join("photos");
    fs::create_dir(&photos).unwrap();
    for name in ["jpeg-420.jpg", "png-rgb-8.png", "bmp-24.bmp"] {
        fs::copy(fixture("images").join(name), photos.join(name)).unwrap();
    }
    fs::write(photos.join("broken.png"), "").unwrap();
    photos
}

fn objects(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect()
}

/// The summary without its times, which are checked to agree.
fn counts(object: &Value) -> Value {
    let mut summary = object["summary"].clone();
    assert_eq!(object.as_object().unwrap().len(), 1, "{object}");
    let facts = summary.as_object_mut().unwrap();
    let seconds = facts.remove("seconds").unwrap().as_f64().unwrap();
    let rate = facts.remove("images_per_second").unwrap().as_f64().unwrap();
    let done = facts["done"].as_f64().unwrap();
    // Both are rounded to thousandths.
    assert!((rate * seconds - done).abs() <= 0.01 + 0.001 * (rate + seconds), "{object}");
    summary
}

#[test]
fn json_of_several_images_ends_with_a_summary() {
    let directory = tempfile::tempdir().unwrap();
    let photos = photos(directory.path());
    let out = directory.path().join("out/");
    for (done, skipped) in [(3, 0), (0, 3)] {
        let outcome = run(["--json", "-q", photos.to_str().unwrap(), "-o", out.to_str().unwrap()]);
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
        let objects = objects(outcome.text());
        let (last, images) = objects.split_last().unwrap();
        assert!(images.len() == 4 && images.iter().all(|image| image["input"].is_string()));
        let expected = json!({ "ended": "complete", "done": done, "skipped": skipped, "failed": 1 });
        assert_eq!(counts(last), expected);
    }
    let cut = run(["--json", "--fail-fast", photos.to_str().unwrap()]);
    assert_eq!(counts(objects(cut.text()).last().unwrap())["ended"], "too_many_failures");
    let one = run(["--json", photos.join("jpeg-420.jpg").to_str().unwrap()]).done();
    assert_eq!(objects(one.text()).len(), 1, "one image has its own record");
}

#[test]
fn all_that_a_program_is_told_is_json() {
    let directory = tempfile::tempdir().unwrap();
    let photos = photos(directory.path());
    let empty = directory.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let out = directory.path().join("out/");
    let words = ["--progress", "json", "--random-weights", "--model"].map(PathBuf::from);
    let paths = [tiny(), photos, empty, "-o".into(), out];
    let outcome = Outcome::from(command().args(words.iter().chain(&paths)).output().unwrap());
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    let objects = objects(&outcome.stderr);
    let of = |kind: &str| objects.iter().filter_map(|object| object.get(kind)).collect::<Vec<_>>();
    assert_eq!(of("progress")[0]["total"], 4);
    assert_eq!(of("progress")[0]["done"], 0);
    let warnings = of("warning");
    assert!(warnings[0]["path"].as_str().unwrap().ends_with("empty"), "{warnings:?}");
    assert!(warnings[1]["message"].as_str().unwrap().starts_with("random weights"), "{warnings:?}");
    let errors = of("error");
    assert_eq!(errors.len(), 1);
    assert!(errors[0]["path"].as_str().unwrap().ends_with("broken.png"));
    let expected = json!({ "ended": "complete", "done": 3, "skipped": 0, "failed": 1 });
    assert_eq!(counts(objects.last().unwrap()), expected);

    let refused = run(["--progress", "json", "x.png", "-o", "x.bin"]);
    let objects = self::objects(&refused.stderr);
    assert_eq!(refused.code, Some(2));
    assert!(objects[0]["error"]["message"].as_str().unwrap().contains("is not supported"), "{objects:?}");
    assert!(objects[0]["error"]["hint"].as_str().unwrap().contains(".npy"), "{objects:?}");
}

#[test]
fn wrong_usage_is_an_error_record_too() {
    for words in [
        &["--progress", "json", "x.png", "--ofline", "y.png"][..],
        &["--progress=json"],
        &["x.png", "--layer", "x", "--progress", "json"],
        &["x.png", "-0", "--progress", "json"],
    ] {
        let refused = run(words);
        assert_eq!((refused.code, refused.text()), (Some(2), ""), "{refused:?}");
        let objects = objects(&refused.stderr);
        assert_eq!(objects.len(), 1, "{objects:?}");
        let message = objects[0]["error"]["message"].as_str().unwrap();
        assert!(!message.contains('\n') && !message.starts_with("error"), "{message}");
    }
    let refused = run(["--progress", "json", "x.png", "--ofline", "y.png"]);
    assert!(objects(&refused.stderr)[0]["error"]["hint"].as_str().unwrap().contains("--offline"));
}

#[test]
fn quiet_leaves_errors_alone() {
    let directory = tempfile::tempdir().unwrap();
    let photos = photos(directory.path());
    let quiet = run(["-q", "--progress", "json", photos.to_str().unwrap()]);
    let objects = objects(&quiet.stderr);
    assert_eq!(quiet.code, Some(1));
    assert!(objects.len() == 1 && objects[0]["error"].is_object(), "{objects:?}");
    run(["-q", "--progress", "always", photos.to_str().unwrap()]).failed(2, "--quiet contradict each other");
}

#[cfg(target_os = "linux")]
#[test]
fn the_summary_is_last_whatever_ended_the_run() {
    let directory = tempfile::tempdir().unwrap();
    let photos = photos(directory.path());
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ends = |more: &[&str], stdout: std::process::Stdio| {
        let mut command = command();
        command.arg("--model").arg(tiny()).arg(&photos).args(["--progress", "json"]).args(more);
        let child = command.stdout(stdout).stderr(std::process::Stdio::piped()).spawn().unwrap();
        let outcome = Outcome::from(child.wait_with_output().unwrap());
        let objects = objects(&outcome.stderr);
        let error = objects.iter().rposition(|object| object.get("error").is_some());
        assert!(error < Some(objects.len() - 1), "{objects:?}");
        (outcome.code, objects.last().unwrap()["summary"]["ended"].as_str().unwrap().to_owned())
    };
    let error = (Some(2), "error".to_owned());
    assert_eq!(ends(&[], full().into()), error);
    assert_eq!(ends(&["--json"], full().into()), error);
    assert_eq!(ends(&["-o", "-"], full().into()), error);
    assert_eq!(ends(&["--failures", "/dev/full"], std::process::Stdio::null()), error);
    let unread = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer
    };
    for all_there_is in [&[][..], &["--json"], &["-o", "-"]] {
        assert_eq!(ends(all_there_is, unread().into()), (Some(0), "reader_gone".to_owned()));
    }
    // What is written to a file was asked for too.
    let file = directory.path().join("a.npy");
    let path = file.to_str().unwrap();
    assert_eq!(ends(&["--json", "-o", path], unread().into()), (Some(1), "complete".to_owned()));
    assert!(file.exists());
    let (drawn, path) = (directory.path().join("drawn"), directory.path().join("drawn/"));
    assert_eq!(
        ends(&["--draw", "pca", "-o", path.to_str().unwrap()], unread().into()),
        (Some(1), "complete".to_owned())
    );
    let drawn = fs::read_dir(drawn).unwrap().map(|entry| entry.unwrap().path());
    assert_eq!(drawn.filter(|path| path.extension().is_some_and(|end| end == "png")).count(), 3);
}

/// A run whose list stays open after its first image, which gets a signal; gives how it ended, once the list is closed where the
/// signal does not end it.
#[cfg(unix)]
fn signalled(command: &mut std::process::Command, signal: &str, ends: bool) -> (Option<i32>, String, String) {
    use std::{
        io::{BufRead, BufReader, Read, Write},
        process::{Command, Stdio},
    };
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    let mut list = child.stdin.take().unwrap();
    writeln!(list, "{}", fixture("images/jpeg-420.jpg").display()).unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert!(line.contains("\"done\""), "{line}");
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    let list = ends.then_some(list);
    let (mut rest, mut stderr) = (String::new(), String::new());
    stdout.read_to_string(&mut rest).unwrap();
    drop(list);
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    (child.wait().unwrap().code(), rest, stderr)
}

#[cfg(unix)]
const LISTED: [&str; 5] = ["--files-from", "-", "--json", "--progress", "json"];

#[cfg(unix)]
#[test]
fn an_interrupted_run_has_its_summary_too() {
    for signal in ["-INT", "-TERM"] {
        let (code, rest, stderr) = signalled(command().arg("--model").arg(tiny()).args(LISTED), signal, true);
        assert_eq!(code, Some(130));
        let expected = json!({ "ended": "interrupted", "done": 1, "skipped": 0, "failed": 0 });
        for text in [rest, stderr] {
            assert_eq!(counts(objects(&text).last().unwrap()), expected, "{text}");
        }
    }
}

/// By a shell, as a test may itself be run where the signal is ignored.
#[cfg(target_os = "linux")]
#[test]
fn a_terminal_that_closes_interrupts_unless_it_is_to_be_ignored() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let is_ignored = status
        .lines()
        .any(|line| line.starts_with("SigIgn:") && line.ends_with(['1', '3', '5', '7', '9', 'b', 'd', 'f']));
    for (ignore, ended) in [("trap '' HUP; ", "complete"), ("", "interrupted")] {
        if ignore.is_empty() && is_ignored {
            continue; // and no shell undoes that
        }
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &format!("{ignore}exec \"$0\" \"$@\"")]).arg(env!("CARGO_BIN_EXE_clip-features"));
        let command = shell.arg("--model").arg(tiny()).args(LISTED);
        let (code, rest, stderr) = signalled(command, "-HUP", ended == "interrupted");
        assert_eq!(code, Some(if ended == "complete" { 0 } else { 130 }), "{rest}{stderr}");
        assert!(rest.contains(&format!("\"ended\":\"{ended}\"")), "{rest}");
    }
}
