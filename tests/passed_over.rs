//! What is passed over is told of.

mod support;

use std::{fs, path::Path, process::Stdio};

use serde_json::Value;
use support::{
    fixture,
    run::{Outcome, command, feed, tar, tiny},
};

const HEIC: &[u8] = b"\0\0\0\x18ftypheic\0\0\0\0heicmif1";

fn run(directory: &Path, words: &[&str]) -> Outcome {
    let mut command = command();
    let command = command.current_dir(directory).arg("-m").arg(tiny()).args(words);
    command.stdin(Stdio::null()).output().unwrap().into()
}

fn summary(outcome: &Outcome) -> Value {
    let last: Value = serde_json::from_str(outcome.text().lines().last().unwrap()).unwrap();
    last["summary"].clone()
}

fn picture() -> Vec<u8> {
    fs::read(fixture("images/png-rgb-8.png")).unwrap()
}

#[test]
fn pictures_that_are_not_read_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir_all(at("phone/sub")).unwrap();
    for (name, bytes) in [
        ("a.png", &picture()[..]),
        ("b.HEIC", HEIC),
        ("sub/c.heic", b""),
        ("sub/without-a-name", HEIC),
        ("d.jxl", b"x"),
        ("e.tar.xz", b"x"),
        ("f.txt", b"text"),
    ] {
        fs::write(at("phone").join(name), bytes).unwrap();
    }
    fs::write(at("phone/t.tar"), tar(&[("1.png", &picture()), ("2.heic", HEIC), ("2.txt", b"x")])).unwrap();
    let told = "warning: 6 files of formats that are not read: 4 .heic, 1 .jxl, 1 .tar.xz";
    let whole = run(directory.path(), &["phone", "--json", "-o", "x.npy"]);
    assert_eq!(whole.code, Some(0), "{whole:?}");
    assert!(whole.stderr.contains(told), "{whole:?}");
    let summary = summary(&whole);
    assert_eq!((&summary["done"], &summary["failed"]), (&2.into(), &0.into()), "{whole:?}");
    let expected = serde_json::json!({ "heic": 4, "jxl": 1, "tar.xz": 1 });
    assert_eq!(summary["not_read"], expected);
    // Of tars it is known once they are read.
    let plan = run(directory.path(), &["phone", "--dry-run", "--json", "-o", "y.npy"]).done();
    let plan: Value = serde_json::from_str(plan.text()).unwrap();
    assert_eq!(plan["not_read"], serde_json::json!({ "heic": 3, "jxl": 1, "tar.xz": 1 }));

    fs::remove_file(at("phone/a.png")).unwrap();
    fs::remove_file(at("phone/t.tar")).unwrap();
    let none = "there are no images in the inputs, but 3 .heic, 1 .jxl, 1 .tar.xz, which are not read";
    run(directory.path(), &["phone", "-o", "z.npy"]).failed(2, none);
}

#[test]
fn an_image_that_is_named_twice_is_told_of() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["a.png", "b.png"] {
        fs::write(directory.path().join(name), picture()).unwrap();
    }
    fs::write(directory.path().join("list"), "a.png\nb.png\n./a.png\na.png\n").unwrap();
    let told = "warning: 2 images are named more than once, and taken once";
    for words in
        [&["--files-from", "list", "-o", "x.npy"][..], &["a.png", "b.png", "a.png", "a.png", "-o", "y.npy"]]
    {
        let outcome = run(directory.path(), &[words, &["--json"]].concat());
        assert_eq!((outcome.code, &summary(&outcome)["done"]), (Some(0), &2.into()), "{outcome:?}");
        assert!(outcome.stderr.contains(told), "{outcome:?}");
    }
}

#[test]
fn a_tar_behind_a_tar_is_told_of() {
    let one = tar(&[("a.png", &picture())]);
    let both = [&one[..], &one].concat();
    for (bytes, is_told) in [(&one, false), (&both, true)] {
        let mut command = command();
        let outcome = feed(command.arg("-m").arg(tiny()).arg("-"), bytes);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        assert_eq!(outcome.stderr.contains("another tar follows its end"), is_told, "{outcome:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_link_to_what_never_ends_is_not_opened() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.png"), picture()).unwrap();
    std::os::unix::fs::symlink("/proc/kmsg", directory.path().join("log")).unwrap();
    let outcome = run(Path::new("/"), &[directory.path().to_str().unwrap(), "-q"]).done();
    assert_eq!(outcome.text().lines().count(), 1);
}
