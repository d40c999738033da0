//! Nothing that is read is written over, nor anything that is another's.

mod support;

use std::{fs, path::Path, process::Stdio};

use support::{
    fixture,
    run::{Outcome, command, feed, run, tiny},
};

fn picture() -> String {
    fixture("images/png-rgb-8.png").to_str().unwrap().to_owned()
}

#[test]
fn an_output_over_an_input_is_refused_and_the_picture_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let bytes = fs::read(picture()).unwrap();
    let input = path("in.png");
    fs::write(&input, &bytes).unwrap();
    fs::write(path("other.png"), &bytes).unwrap();
    let folder = directory.path().to_str().unwrap().to_owned();
    let mut all: Vec<Vec<&str>> = vec![
        vec![&input, "--heatmap", &input],
        vec![&input, "--pca", &input],
        vec![&input, "-o", &input, "--format", "npy"],
        vec![&input, "--failures", &input],
        vec![&folder, "--failures", &input],
    ];
    let link = path("link.png");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&input, &link).unwrap();
        all.push(vec![&input, "--heatmap", &link]);
        all.push(vec![&link, "--heatmap", &input]);
    }
    for arguments in &all {
        run(arguments).failed(2, "which is an input");
        assert_eq!(fs::read(&input).unwrap(), bytes, "{arguments:?}");
    }
    drop(link);
}

#[test]
fn an_output_over_a_listed_input_is_refused_too() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let bytes = fs::read(picture()).unwrap();
    for name in ["first.png", "in.png", "last.png"] {
        fs::write(at(name), &bytes).unwrap();
    }
    fs::hard_link(at("in.png"), at("hard.npy")).unwrap();
    let mut outputs = vec![at("hard.npy")];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(at("in.png"), at("soft.npy")).unwrap();
        outputs.push(at("soft.npy"));
    }
    let names = [at("first.png"), at("in.png"), at("last.png")];
    fs::write(at("lines"), names.join("\n")).unwrap();
    fs::write(at("nuls"), names.join("\0")).unwrap();
    for (list, more) in [("lines", &[][..]), ("nuls", &["-0"])] {
        let list = at(list);
        for output in &outputs {
            for overwrite in [&[][..], &["--overwrite"]] {
                let arguments = [&["--files-from", &list, "-q", "-o", output], more, overwrite].concat();
                let refused = run(&arguments);
                assert_eq!(refused.code, Some(2), "{arguments:?}: {refused:?}");
                assert_eq!(fs::read(at("in.png")).unwrap(), bytes, "{arguments:?}");
                assert_eq!(fs::read(output).unwrap(), bytes, "{arguments:?}");
                if !overwrite.is_empty() {
                    refused.failed(2, "which is an input");
                }
            }
        }
        let failures = [&["--files-from", &list, "-q", "--failures", &names[1]], more].concat();
        run(&failures).failed(2, "is no list of failures");
        // Each picture would be drawn over itself.
        let root = at("");
        let relative: Vec<&str> =
            vec!["--files-from", "-", "--heatmap", "./", "--overwrite", "-q", "-o", "out/"];
        let mut command = command();
        let drawn = feed(command.current_dir(&root).arg("-m").arg(tiny()).args(&relative), b"in.png\n");
        drawn.failed(2, "which is an input");
        assert_eq!(fs::read(&names[1]).unwrap(), bytes);
    }
}

#[test]
fn tars_are_not_repeated_over_themselves() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir(at("in")).unwrap();
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_path_with_name(picture(), "a.png").unwrap();
    let bytes = builder.into_inner().unwrap();
    fs::write(at("in/a.tar"), &bytes).unwrap();
    fs::write(at("list"), "in/a.tar\n").unwrap();
    for arguments in [
        &["in", "-o", "in/", "--overwrite"][..],
        &["in/a.tar", "-o", "./", "--overwrite"],
        &["--files-from", "list", "-o", "./", "--format", "tar", "--overwrite"],
        &["in/a.tar", "-o", "in/a.tar", "--overwrite"],
        &["--files-from", "list", "-o", "in/a.tar", "--overwrite"],
    ] {
        let mut command = command();
        let refused = command.current_dir(directory.path()).arg("-q").arg("-m").arg(tiny()).args(arguments);
        Outcome::from(refused.output().unwrap()).failed(2, "which is an input");
        assert!(fs::read(at("in/a.tar")).unwrap() == bytes, "{arguments:?}");
    }
    // Nor is a set removed that is to be read.
    fs::rename(at("in/a.tar"), at("in/x-000000.tar")).unwrap();
    let target = at("in/x.tar");
    let set = ["-o", &target, "--shard-size", "60KB", "--overwrite", "-q"];
    for input in [&[at("in").as_str()][..], &[&at("in/x-000000.tar")]] {
        run([input, &set].concat()).failed(2, "which is an input");
        assert!(fs::read(at("in/x-000000.tar")).unwrap() == bytes);
    }
}

#[test]
fn the_models_own_files_are_not_written_over() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir(at("ckpt")).unwrap();
    let names: Vec<String> = fs::read_dir(tiny())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for name in &names {
        fs::copy(tiny().join(name), at(&format!("ckpt/{name}"))).unwrap();
    }
    fs::write(at("model.png"), fs::read(picture()).unwrap()).unwrap();
    fs::hard_link(at("ckpt/model.safetensors"), at("hard.safetensors")).unwrap();
    fs::write(at("list"), at("model.png")).unwrap();
    let (model, file, picture) = (at("ckpt"), at("ckpt/model.safetensors"), at("model.png"));
    let (config, hard, list, folder) =
        (at("ckpt/config.json"), at("hard.safetensors"), at("list"), at("ckpt/"));
    let weights = fs::read(&file).unwrap();
    for model in [&model, &file] {
        for arguments in [
            &[&picture, "-o", &file][..],
            &[&picture, "-o", &file, "--overwrite"],
            &[&picture, &self::picture(), "-o", &file, "--overwrite"],
            &[&picture, "-o", &hard],
            &[&picture, "--failures", &config],
            &["--files-from", &list, "-o", &file, "--overwrite"],
        ] {
            let mut command = command();
            let refused = command.arg("-q").arg("-m").arg(model).args(arguments).output().unwrap();
            Outcome::from(refused).failed(2, "is a file of the model");
            assert!(fs::read(&file).unwrap() == weights, "{arguments:?}");
        }
    }
    // Nor by an image of that name.
    let mut command = command();
    let command = command.arg("-q").arg("-m").arg(&model).arg(directory.path());
    let refused = command.args(["--format", "safetensors", "--overwrite", "-o", &folder]).output().unwrap();
    Outcome::from(refused).failed(2, "is a file of the model");
    assert!(fs::read(&file).unwrap() == weights);
}

#[cfg(unix)]
#[test]
fn what_a_temporary_name_leads_to_stays() {
    use std::os::unix::fs::symlink;
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir(at("in")).unwrap();
    fs::copy(picture(), at("in/a.png")).unwrap();
    fs::copy(picture(), at("in/b.png")).unwrap();
    let image = fs::read(picture()).unwrap();
    fs::create_dir(at("out")).unwrap();
    fs::create_dir(at(".s.npy.parts")).unwrap();
    fs::create_dir(at(".t.npy.parts")).unwrap();
    fs::write(at("victim"), "precious").unwrap();
    for (link, output, inputs) in [
        (".x.npy.partial", "x.npy", "in/a.png"),
        (".x.tar.partial", "x.tar", "in"),
        (".x.tar.probe", "x.tar", "in"),
        ("out/.a.npy.partial", "out/", "in"),
        (".s.npy.parts/journal.jsonl", "s.npy", "in"),
        (".t.npy.parts/shard-00001", "t.npy", "in"),
    ] {
        symlink(at("victim"), at(link)).unwrap();
        run(["-q", &at(inputs), "-o", &at(output)]).failed(2, "is in the way");
        fs::remove_file(at(link)).unwrap();
        assert_eq!(fs::read(at("victim")).unwrap(), b"precious", "{link}");

        // Another name of a file is given up for a file of its own.
        fs::hard_link(at("in/b.png"), at(link)).unwrap();
        run(["-q", &at(inputs), "-o", &at(output)]).done();
        assert!(fs::read(at("in/b.png")).unwrap() == image, "{link}");
    }
    fs::create_dir(at("elsewhere")).unwrap();
    fs::write(at("elsewhere/journal.jsonl"), "precious").unwrap();
    symlink(at("elsewhere"), at(".d.npy.parts")).unwrap();
    run(["-q", &at("in"), "-o", &at("d.npy")]).failed(2, "is in the way");
    assert_eq!(fs::read(at("elsewhere/journal.jsonl")).unwrap(), b"precious");
}

/// Runs in a directory, in which all paths are.
fn run_in(directory: &Path, arguments: &[&str]) -> Outcome {
    let mut command = command();
    let command = command.current_dir(directory).arg("-q").arg("-m").arg(tiny()).args(arguments);
    command.stdin(Stdio::null()).output().unwrap().into()
}

/// A directory `in` of two images, and what tells whether a file is as it was written.
fn two_images() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("in")).unwrap();
    for name in ["in/a.png", "in/b.png"] {
        fs::copy(picture(), directory.path().join(name)).unwrap();
    }
    directory
}

#[test]
fn failures_replace_nothing_but_failures() {
    let directory = two_images();
    let run = |arguments: &[&str]| run_in(directory.path(), arguments);
    let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
    run(&["in", "-o", "s.npy"]).done();
    run(&["in", "-o", "tree/"]).done();
    let records = "{\"path\": \"a.png\", \"caption\": \"a cat\"}\n";
    for (name, text) in [("package.json", "{\n \"name\": \"x\"\n}\n"), ("list.jsonl", records)] {
        fs::write(directory.path().join(name), text).unwrap();
    }
    for other in ["package.json", "list.jsonl", "s.index.jsonl", "tree/manifest.jsonl"] {
        let before = read(other);
        run(&["in/a.png", "--failures", other]).failed(2, "is no list of failures");
        // Before a model is looked for, beside what is said of the image.
        let refused = run(&["nosuch.png", "--failures", other]);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains("is no list of failures"), "{refused:?}");
        assert_eq!(read(other), before, "{other}");
    }
    fs::create_dir(directory.path().join("new")).unwrap();
    for (output, failures) in [
        ("new.npy", "new.npy"),
        ("new.npy", "new.index.jsonl"),
        ("new.npy", "new.manifest.json"),
        ("new/", "new/manifest.jsonl"),
        ("s.npy", "s.index.jsonl"),
    ] {
        run(&["in", "-o", output, "--failures", failures]).failed(2, "more than one thing");
    }
    // Nor a report, though it begins with one; older failures are replaced, where the last one was cut off too.
    let report = run(&["nosuch.png", "in", "--json"]);
    fs::write(directory.path().join("report.jsonl"), report.stdout).unwrap();
    run(&["in", "--failures", "report.jsonl"]).failed(2, "is no list of failures");
    fs::write(directory.path().join("f.jsonl"), r#"{"path":"a.png","status":"fai"#).unwrap();
    run(&["in", "nosuch.png", "--failures", "f.jsonl"]).failed(1, "nosuch.png");
    assert_eq!(read("f.jsonl").lines().count(), 1);
    run(&["in", "--failures", "f.jsonl"]).done();
    assert_eq!(read("f.jsonl"), "");
}

#[test]
fn what_lies_beside_an_output_is_not_written_over_an_input() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let bytes = fs::read(picture()).unwrap();
    for (image, output, more) in [
        ("x.manifest.json", "x.npy", &[][..]),
        ("x.index.jsonl", "x.npy", &[]),
        ("manifest.jsonl", "./", &[]),
        ("manifest.json", "./", &[]),
        ("x-00001-of-00002.safetensors", "x.safetensors", &["--shard-size", "150KB"]),
    ] {
        for name in [image, "b.png"] {
            fs::write(at(name), &bytes).unwrap();
        }
        for overwrite in [&[][..], &["--overwrite"]] {
            let arguments = [&[image, "b.png", "-o", output], more, overwrite].concat();
            run_in(directory.path(), &arguments).failed(2, "which is an input");
            assert!(fs::read(at(image)).unwrap() == bytes, "{arguments:?}");
        }
        fs::remove_file(at(image)).unwrap();
    }
}

#[test]
fn a_list_and_redirected_input_are_not_written_over() {
    let directory = two_images();
    let list = directory.path().join("list.npy");
    fs::write(&list, "in/a.png\nin/b.png\n").unwrap();
    let mut arguments = vec!["--files-from", "list.npy", "-o", "list.npy", "--overwrite"];
    run_in(directory.path(), &arguments).failed(2, "list.npy, which is an input");
    for drawn in ["--heatmap", "--pca"] {
        fs::create_dir_all(directory.path().join("drawn")).unwrap();
        fs::copy(&list, directory.path().join("drawn/manifest.jsonl")).unwrap();
        run_in(directory.path(), &["--files-from", "drawn/manifest.jsonl", drawn, "drawn/"])
            .failed(2, "which is an input");
        run_in(directory.path(), &["in", drawn, "drawn/", "--failures", "drawn/manifest.jsonl"])
            .failed(2, "more than one thing");
        assert_eq!(
            fs::read(directory.path().join("drawn/manifest.jsonl")).unwrap(),
            fs::read(&list).unwrap()
        );
    }
    if cfg!(target_os = "linux") {
        arguments[1] = "-";
        let mut command = command();
        let command = command.current_dir(directory.path()).arg("-q").arg("-m").arg(tiny()).args(arguments);
        let output = command.stdin(fs::File::open(&list).unwrap()).output().unwrap();
        Outcome::from(output).failed(2, "which is an input");
    }
    assert_eq!(fs::read(&list).unwrap(), b"in/a.png\nin/b.png\n");
}

#[test]
fn what_lies_beside_an_archive_and_is_anothers_stays() {
    let directory = two_images();
    let run = |arguments: &[&str]| run_in(directory.path(), arguments);
    let at = |name: &str| directory.path().join(name);
    fs::copy(tiny().join("model.safetensors"), at("w-00001-of-00002.safetensors")).unwrap();
    let shards = ["in", "-o", "w.safetensors", "--shard-size", "60KB"];
    run(&shards).failed(2, "w-00001-of-00002.safetensors: exists");
    run(&[&shards[..], &["--dry-run"]].concat()).failed(2, "w-00001-of-00002.safetensors: exists");
    assert!(
        fs::read(at("w-00001-of-00002.safetensors")).unwrap()
            == fs::read(tiny().join("model.safetensors")).unwrap()
    );
    run(&[&shards[..], &["--overwrite"]].concat()).done();

    for (beside, output) in
        [("x.manifest.json", "x.npy"), ("x.index.jsonl", "x.npy"), ("t/manifest.json", "t/")]
    {
        fs::create_dir_all(at("t")).unwrap();
        fs::write(at(beside), "mine\n").unwrap();
        run(&["in", "-o", output]).failed(2, "of ours");
        assert_eq!(fs::read(at(beside)).unwrap(), b"mine\n");
        // Which then starts anew as it says.
        run(&["in", "-o", output, "--overwrite"]).done();
        run(&["in", "-o", output]).done();
    }
    for beside in ["y.manifest.json", "y.index.jsonl"] {
        fs::create_dir(at(beside)).unwrap();
        run(&["in", "-o", "y.npy"]).failed(2, "is a directory");
        fs::remove_dir(at(beside)).unwrap();
    }
    let long = format!("{}.npy", "n".repeat(245));
    run(&["in", "-o", &long]).failed(2, "index.jsonl: cannot be written");
    assert!(!at(&long).exists());
}

#[test]
fn a_stack_that_lost_its_index_is_not_replaced() {
    let directory = two_images();
    let run = |arguments: &[&str]| run_in(directory.path(), arguments);
    let at = |name: &str| directory.path().join(name);
    run(&["in", "-o", "s.npy"]).done();
    let rows = fs::read(at("s.npy")).unwrap();
    fs::copy(at("in/a.png"), at("c.png")).unwrap();
    let refused = |reason: &str| {
        for input in ["in", "c.png"] {
            run(&[input, "-o", "s.npy"]).failed(2, reason);
            assert!(fs::read(at("s.npy")).unwrap() == rows, "{input}");
        }
    };
    fs::write(at("s.index.jsonl"), "").unwrap();
    refused("is not the stack that its index speaks of");
    fs::remove_file(at("s.index.jsonl")).unwrap();
    refused("s.index.jsonl: is missing");
}
