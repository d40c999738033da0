//! Options that would say nothing, and what is said of those that are a way out.
#![cfg(feature = "cli")]

mod support;

use std::{fs, path::Path};

use support::{
    fixture,
    run::{Outcome, command, run, tiny},
};

fn picture() -> String {
    fixture("images/png-rgb-8.png").to_str().unwrap().to_owned()
}

/// Runs with a checkpoint of the fixtures' `images`, where `line` names files.
fn with(line: &str, directory: &Path) -> Outcome {
    let mut command = command();
    command.current_dir(directory).arg("--model").arg(tiny()).args(line.split(' '));
    command.output().unwrap().into()
}

#[test]
fn an_option_that_would_say_nothing_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    fs::create_dir(at.join("photos")).unwrap();
    for name in ["a.png", "photos/b.png"] {
        fs::copy(picture(), at.join(name)).unwrap();
    }
    for (line, part) in [
        ("-0 a.png", "--null is how --files-from ends its paths"),
        ("photos --image-key jpg", "--image-key chooses among the images of a tar's samples"),
        ("a.png nosuch.png --image-key jpg", "--image-key chooses among the images of a tar's samples"),
        ("a.png --keep txt", "--keep carries members over from tar to tar"),
        ("photos -o x.tar --keep txt", "--keep carries members over from tar to tar, and no tar comes in"),
        ("a.png -q --progress always", "--progress always and --quiet contradict each other"),
        ("a.png --cache-dir x", "--cache-dir is where models of the hub are kept"),
        ("a.png --tensor pixel_values --matmul-precision high", "--matmul-precision affects the tower alone"),
        ("a.png --failures -", "--failures - names no file"),
        ("a.png --overwrite", "--overwrite replaces files"),
        ("a.png --tokens cls --draw pca -o x.png", "--draw draws patches"),
    ] {
        let refused = with(line, at).failed(2, part);
        assert!(refused.stderr.contains("\nhint: "), "{line}: {refused:?}");
    }
    let refused = with("a.png --tokens cls --draw pca -o x.png", at);
    assert!(refused.stderr.contains("hint: --tokens all, or patch"), "{refused:?}");
    // Where tars are among the inputs, or may be, it says something.
    fs::write(at.join("photos/c.tar"), [0; 1024]).unwrap();
    fs::write(at.join("list"), "a.png\n").unwrap();
    with("photos --image-key jpg -q", at).done();
    with("--files-from list --image-key jpg -q", at).done();
    assert_eq!(fs::read_dir(at).unwrap().count(), 3);
}

#[test]
fn no_pixels_are_no_limit() {
    let refused = run([&picture(), "--max-pixels", "0"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("'0' for '--max-pixels <N>'"), "{refused:?}");
}

#[test]
fn a_missing_input_is_told_by_the_part_that_takes_it_before_a_model_is_looked_for() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("photos")).unwrap();
    for name in ["photos/a.png", "photos/b.png", "c.png"] {
        fs::copy(picture(), directory.path().join(name)).unwrap();
    }
    // No model was ever looked for here, and no hub answers.
    let fresh = |line: &str| {
        let mut command = command();
        command.env("HF_HUB_CACHE", directory.path()).env("HF_ENDPOINT", "http://127.0.0.1:9");
        Outcome::from(command.current_dir(directory.path()).args(line.split(' ')).output().unwrap())
    };
    fresh("nosuch.png --part 0/2 -q").failed(1, "error: nosuch.png: No such file");
    fresh("nosuch.png --part 0/2 -q --dry-run --failures f").failed(1, "error: nosuch.png: No such file");
    assert!(!directory.path().join("f").exists(), "a dry run writes nothing");
    fresh("c.png nosuch.png --part 1/2 -q").failed(1, "error: nosuch.png: No such file");
    fresh("c.png nosuch.png --part 0/2").failed(2, "127.0.0.1");
    fresh("--files-from nosuch.txt --part 0/2").failed(2, "error: nosuch.txt: No such file");
    // Its place is after those of a directory.
    for (part, is_told) in [("0/3", false), ("1/3", false), ("2/3", true)] {
        let outcome = fresh(&format!("photos nosuch.png c.png --part {part}"));
        assert_eq!(outcome.stderr.contains("nosuch.png"), is_told, "{part}: {outcome:?}");
        assert_eq!(outcome.code, Some(if is_told { 1 } else { 2 }), "{part}: {outcome:?}");
    }
    let told = |part: &str| {
        let line = format!("c.png nosuch.png --part {part} -q --json");
        let outcome = with(&line, directory.path());
        (
            outcome.code,
            outcome.text().lines().filter(|line| line.contains("\"input\":\"nosuch.png\"")).count(),
        )
    };
    assert_eq!([told("0/2"), told("1/2")], [(Some(0), 0), (Some(1), 1)]);
}

#[test]
fn the_smallest_size_that_is_told_does() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("photos")).unwrap();
    for name in ["photos/a.png", "photos/b.png"] {
        fs::copy(picture(), directory.path().join(name)).unwrap();
    }
    for name in ["x.safetensors", "y.npy", "z.tar"] {
        let refused =
            with(&format!("photos -o {name} --shard-size 1KB"), directory.path()).failed(2, "shard-size");
        let least: u64 = refused.stderr.trim_end().rsplit(' ').next().unwrap().parse().unwrap();
        assert!(
            refused.stderr.contains(&format!("\nhint: the smallest is --shard-size {least}\n")),
            "{refused:?}"
        );
        with(&format!("photos -o {name} --shard-size {}", least - 1), directory.path())
            .failed(2, "shard-size");
        with(&format!("photos -o {name} -q --shard-size {least}"), directory.path()).done();
    }
}

#[test]
fn a_picture_that_ends_early_is_said_to() {
    let directory = tempfile::tempdir().unwrap();
    let mut kinds = 0;
    for entry in fs::read_dir(fixture("images")).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = fs::read(&path) else { continue };
        let name = path.file_name().unwrap().to_str().unwrap();
        if !bytes.starts_with(b"II") && !bytes.starts_with(b"MM") || !run([&path]).stderr.is_empty() {
            continue;
        }
        kinds += 1;
        let cut = directory.path().join(name);
        for length in [bytes.len() - 1, bytes.len() / 2, 9] {
            fs::write(&cut, &bytes[..length]).unwrap();
            let outcome = run([&cut]);
            let words = ["failed to fill", "unexpected end", "stream did not"];
            assert!(!words.iter().any(|word| outcome.stderr.contains(word)), "{outcome:?}");
        }
    }
    assert!(kinds > 2, "{kinds}");
    fs::write(directory.path().join("x.tif"), b"II\x2a\0\x08").unwrap();
    run([directory.path().join("x.tif")]).failed(1, "x.tif: TIFF is truncated");
}

#[cfg(unix)]
#[test]
fn a_pipe_is_an_image_or_a_list_but_no_part_of_a_checkpoint() {
    use std::process::Command;
    let directory = tempfile::tempdir().unwrap();
    let make = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    for name in ["config.json", "preprocessor_config.json", "model.safetensors"] {
        let model = directory.path().join(name.replace('.', "-"));
        fs::create_dir(&model).unwrap();
        for file in ["config.json", "preprocessor_config.json", "model.safetensors"] {
            match file == name {
                true => make(&model.join(file)),
                false => drop(fs::copy(tiny().join(file), model.join(file)).unwrap()),
            }
        }
        let link = directory.path().join("link");
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&model, &link).unwrap();
        let part = format!("link/{name}: is no regular file");
        let refused = command().arg("--model").arg(&link).arg(picture()).output().unwrap();
        Outcome::from(refused).failed(2, &part);
    }
    let (image, list) = (directory.path().join("image"), directory.path().join("list"));
    for (pipe, bytes) in [(&image, fs::read(picture()).unwrap()), (&list, picture().into_bytes())] {
        make(pipe);
        let pipe = pipe.clone();
        std::thread::spawn(move || fs::write(pipe, bytes).unwrap());
    }
    run([&image]).done();
    run([Path::new("--files-from"), &list, Path::new("-q")]).done();
}
