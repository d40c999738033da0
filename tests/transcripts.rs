//! What the command says, word for word: transcripts in `tests/transcripts`, of a line `$ clip-features …` and what follows it.
//!
//! `CLIP_FEATURES_TRANSCRIPTS=write cargo test --test transcripts` writes them anew; the difference is for the eyes of a review.
#![cfg(all(feature = "cli", target_os = "linux"))] // elsewhere the system's own words are others

mod support;

use std::{env, fs, path::Path, process::Stdio};

use support::{fixture, run::command};

/// A directory with what the transcripts speak of.
fn world() -> tempfile::TempDir {
    let world = tempfile::tempdir().unwrap();
    let at = |path: &str| world.path().join(path);
    let picture = fs::read(fixture("images/png-rgb-8.png")).unwrap();
    for directory in ["photos", "empty", "cache", "clip", "pickle", "cut", "unnamed"] {
        fs::create_dir(at(directory)).unwrap();
    }
    for name in ["cat.png", "photos/a.png", "photos/b.png"] {
        fs::write(at(name), &picture).unwrap();
    }
    fs::write(at("half.png"), &picture[..picture.len() / 2]).unwrap();
    fs::write(at("notes.txt"), "no picture\n").unwrap();
    fs::write(at("nothing.png"), "").unwrap();
    fs::write(at("list"), "cat.png\nnosuch.png\n").unwrap();
    fs::write(at("photos.tar"), support::run::tar(&[("1.png", &picture), ("1.txt", b"one")])).unwrap();
    for file in fs::read_dir(fixture("checkpoints/vision")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), at("clip").join(file.file_name())).unwrap();
    }
    let weights = fs::read(at("clip/model.safetensors")).unwrap();
    for (directory, name, bytes) in [
        ("pickle", "pytorch_model.bin", &b"PK"[..]),
        ("cut", "model.safetensors", &weights[..weights.len() / 2]),
    ] {
        for config in ["config.json", "preprocessor_config.json"] {
            fs::copy(at("clip").join(config), at(directory).join(config)).unwrap();
        }
        fs::write(at(directory).join(name), bytes).unwrap();
    }
    fs::write(at("unnamed/config.json"), r#"{"model_type": "bert"}"#).unwrap();
    world
}

/// What a line of a transcript says: both streams, each as it would stand in a terminal, and how it ended.
fn said(line: &str, world: &Path) -> String {
    let mut words = line.split(' ');
    assert_eq!(words.next(), Some("clip-features"), "{line}");
    let mut command = command();
    command.args(words).current_dir(world).stdin(Stdio::null());
    command.env("HF_HUB_CACHE", world.join("cache")).env("HF_ENDPOINT", "http://127.0.0.1:9");
    for name in ["COLUMNS", "HF_TOKEN", "HF_HOME", "HF_HUB_OFFLINE"] {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).replace(world.to_str().unwrap(), "WORLD");
        text.lines().map(|line| steady(line) + "\n").collect::<String>()
    };
    let exit = match output.status.code().unwrap() {
        0 => String::new(),
        code => format!("[exit code {code}]\n"),
    };
    text(&output.stdout) + &text(&output.stderr) + &exit
}

/// A line without what differs from run to run: how long it took, and what the disk has left.
fn steady(line: &str) -> String {
    if let Some((before, _)) = line.split_once("; ").filter(|_| line.ends_with(" free")) {
        return format!("{before}; … free");
    }
    match line.rsplit_once(" in ").filter(|_| line.ends_with(" images/s")) {
        Some((before, _)) => format!("{before} in …"),
        None => line.to_owned(),
    }
}

/// Says all lines of a transcript anew, in their order: what one leaves the next one finds.
fn compare(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(name);
    let before = fs::read_to_string(&path).unwrap();
    let world = world();
    let lines = before.lines().filter_map(|line| line.strip_prefix("$ "));
    let after: String = lines.map(|line| format!("$ {line}\n{}\n", said(line, world.path()))).collect();
    if env::var_os("CLIP_FEATURES_TRANSCRIPTS").is_some_and(|what| what == "write") {
        return fs::write(&path, after).unwrap();
    }
    for (number, (before, after)) in before.lines().zip(after.lines()).enumerate() {
        assert_eq!(before, after, "{name}, line {}", number + 1);
    }
    assert_eq!(before, after, "{name}");
}

#[test]
fn help_is_what_was_read() {
    compare("help.txt");
}

#[test]
fn a_dry_run_tells_what_it_would_do() {
    compare("dry_run.txt");
}

#[test]
fn messages_are_what_was_read() {
    compare("messages.txt");
}
