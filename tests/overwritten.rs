//! Nothing that is read is written over, nor anything that is another's.
#![cfg(feature = "cli")]

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
        vec![&input, "--draw", "norm", "-o", &input],
        vec![&input, "--failures", &input],
        vec![&folder, "--failures", &input],
    ];
    let link = path("link.png");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&input, &link).unwrap();
        all.push(vec![&input, "--draw", "norm", "-o", &link]);
        all.push(vec![&link, "--draw", "norm", "-o", &input]);
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
        let relative = ["--files-from", "-", "--draw", "norm", "-o", "./", "--overwrite", "-q"];
        let mut command = command();
        let drawn = feed(command.current_dir(&root).arg("-m").arg(tiny()).args(relative), b"in.png\n");
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
    fs::rename(at("in/a.tar"), at("in/x-00000.tar")).unwrap();
    let target = at("in/x.tar");
    let set = ["-o", &target, "--shard-size", "60KB", "--overwrite", "-q"];
    for input in [&[at("in").as_str()][..], &[&at("in/x-00000.tar")]] {
        run([input, &set].concat()).failed(2, "which is an input");
        assert!(fs::read(at("in/x-00000.tar")).unwrap() == bytes);
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
    fs::write(at("victim"), "precious").unwrap();
    let long = "n".repeat(100);
    for (link, output, inputs) in [
        (".x.npy.partial", "x.npy", "in/a.png"),
        (".y.tar.partial", "y.tar", "in"),
        (".s.npy.partial", "s.npy", "in"),
        (".s.manifest.jsonl.partial", "s.npy", "in"),
        (".s.manifest.jsonl.lock", "s.npy", "in"),
        ("out/.manifest.jsonl.staged/0", "out/", "in"),
        ("out/.manifest.jsonl.partial", "out/", "in"),
        (&format!(".{long}.npy.partial"), &format!("{long}.npy"), "in"),
    ] {
        let plant = |made: &dyn Fn()| {
            fs::create_dir_all(Path::new(&at(link)).parent().unwrap()).unwrap();
            made();
            run(["-q", &at(inputs), "-o", &at(output), "--overwrite"]).done();
            assert!(!Path::new(&at(link)).is_symlink() && !Path::new(&at(link)).exists(), "{link}");
        };
        // It is removed, and nothing is written through it.
        plant(&|| symlink(at("victim"), at(link)).unwrap());
        assert_eq!(fs::read(at("victim")).unwrap(), b"precious", "{link}");
        // Another name of a file is given up for a file of its own.
        plant(&|| fs::hard_link(at("in/b.png"), at(link)).unwrap());
        assert!(fs::read(at("in/b.png")).unwrap() == image, "{link}");
    }
    // A manifest that has another name, as a backup made of links gives it, is written on as a file of its own.
    fs::hard_link(at("s.manifest.jsonl"), at("backup")).unwrap();
    let before = fs::read(at("backup")).unwrap();
    fs::copy(picture(), at("in/c.png")).unwrap();
    run(["-q", &at("in"), "-o", &at("s.npy")]).done();
    assert!(fs::read(at("backup")).unwrap() == before && fs::read(at("s.manifest.jsonl")).unwrap() != before);
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
    for other in ["package.json", "list.jsonl", "s.manifest.jsonl", "tree/manifest.jsonl"] {
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
        ("new.npy", "new.manifest.jsonl"),
        ("new/", "new/manifest.jsonl"),
        ("s.npy", "s.manifest.jsonl"),
    ] {
        run(&["in", "-o", output, "--failures", failures]).failed(2, "more than one thing");
    }
    // Nor a report, though it begins with one; older failures are replaced, where the last one was cut off too.
    let report = run(&["nosuch.png", "in", "--json"]);
    fs::write(directory.path().join("report.jsonl"), report.stdout).unwrap();
    run(&["in", "--failures", "report.jsonl"]).failed(2, "is no list of failures");
    fs::write(directory.path().join("f.jsonl"), r#"{"key":"a.png","status":"fai"#).unwrap();
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
        ("x.manifest.jsonl", "x.npy", &[][..]),
        ("manifest.jsonl", "./", &[]),
        ("x-00000.safetensors", "x.safetensors", &["--shard-size", "150KB"]),
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
    fs::create_dir_all(directory.path().join("drawn")).unwrap();
    fs::copy(&list, directory.path().join("drawn/manifest.jsonl")).unwrap();
    run_in(directory.path(), &["--files-from", "drawn/manifest.jsonl", "--draw", "norm", "-o", "drawn/"])
        .failed(2, "which is an input");
    run_in(directory.path(), &["in", "--draw", "pca", "-o", "drawn/", "--failures", "drawn/manifest.jsonl"])
        .failed(2, "more than one thing");
    assert_eq!(fs::read(directory.path().join("drawn/manifest.jsonl")).unwrap(), fs::read(&list).unwrap());
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
    fs::copy(tiny().join("model.safetensors"), at("w-00000.safetensors")).unwrap();
    let shards = ["in", "-o", "w.safetensors", "--shard-size", "60KB"];
    run(&shards).failed(2, "w-00000.safetensors: exists");
    run(&[&shards[..], &["--dry-run"]].concat()).failed(2, "w-00000.safetensors: exists");
    assert!(
        fs::read(at("w-00000.safetensors")).unwrap() == fs::read(tiny().join("model.safetensors")).unwrap()
    );
    run(&[&shards[..], &["--overwrite"]].concat()).done();

    for (beside, output) in [("x.manifest.jsonl", "x.npy"), ("t/manifest.jsonl", "t/")] {
        fs::create_dir_all(at("t")).unwrap();
        fs::write(at(beside), "mine\n").unwrap();
        run(&["in", "-o", output]).failed(2, "is no manifest of clip-features");
        assert_eq!(fs::read(at(beside)).unwrap(), b"mine\n");
        // Which then starts anew as it says.
        run(&["in", "-o", output, "--overwrite"]).done();
        run(&["in", "-o", output]).done();
    }
    fs::create_dir(at("y.manifest.jsonl")).unwrap();
    run(&["in", "-o", "y.npy"]).failed(2, "y.manifest.jsonl");
    // What would be too long for the files of a set is told before the old output is removed.
    let long = format!("{}.safetensors", "n".repeat(240));
    run(&["in", "-o", &long]).done();
    run(&["in", "-o", &long, "--shard-size", "8KB", "--overwrite"]).failed(2, "cannot be written");
    assert!(at(&long).exists());
    let long = format!("{}.npy", "n".repeat(245));
    run(&["in", "-o", &long]).failed(2, "manifest.jsonl");
    assert!(!at(&long).exists());
}

#[test]
fn a_manifest_leads_nowhere_else() {
    let directory = two_images();
    let run = |arguments: &[&str]| run_in(directory.path(), arguments);
    let at = |name: &str| directory.path().join(name);
    run(&["in", "-o", "out/"]).done();
    fs::write(at("victim"), "precious").unwrap();
    fs::create_dir(at("elsewhere")).unwrap();
    fs::write(at("elsewhere/victim"), "precious").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(at("elsewhere"), at("out/link")).unwrap();
    // Lines of somebody else, with checks that are right.
    let manifest = fs::read_to_string(at("out/manifest.jsonl")).unwrap();
    let line = manifest.lines().find(|line| line.starts_with("{\"entry\"")).unwrap();
    let mut lines = manifest.clone();
    for (number, file) in ["../victim", at("victim").to_str().unwrap(), "link/victim"].iter().enumerate() {
        let body =
            line.replace("\"a.npy\"", &format!("{file:?}")).replace("\"a.png\"", &format!("\"x{number}\""));
        let body = format!("{}}}", body.rsplit_once(",\"crc32\":").unwrap().0);
        let check = crc32fast::hash(body.as_bytes());
        lines += &format!("{},\"crc32\":\"{check:08x}\"}}\n", &body[..body.len() - 1]);
    }
    fs::write(at("out/manifest.jsonl"), lines).unwrap();
    let refused = run(&["in", "-o", "out/"]).failed(2, "which is not below its directory");
    assert!(refused.stderr.contains("hint: --overwrite starts over"), "{refused:?}");
    run(&["in", "-o", "out/", "--overwrite"]).done();
    assert_eq!(fs::read(at("victim")).unwrap(), b"precious");
    assert_eq!(fs::read(at("elsewhere/victim")).unwrap(), b"precious");
}

#[test]
fn a_stack_that_lost_its_manifest_is_not_replaced() {
    let directory = two_images();
    let run = |arguments: &[&str]| run_in(directory.path(), arguments);
    let at = |name: &str| directory.path().join(name);
    run(&["in", "-o", "s.npy"]).done();
    run(&["in", "-o", "t.safetensors"]).done();
    fs::copy(at("in/a.png"), at("c.png")).unwrap();
    for name in ["s.npy", "t.safetensors"] {
        fs::remove_file(at(name).with_extension("manifest.jsonl")).unwrap();
        let bytes = fs::read(at(name)).unwrap();
        run(&["in", "-o", name]).failed(2, "beside it that lists it");
        run(&["c.png", "-o", name]).failed(2, "the manifest that speaks of them is not beside it");
        assert!(fs::read(at(name)).unwrap() == bytes);
    }
}

#[test]
fn an_output_whose_manifest_has_the_name_is_not_removed() {
    let directory = two_images();
    let run = |arguments: &[&str]| run_in(directory.path(), arguments);
    let read = |name: &str| fs::read(directory.path().join(name)).unwrap();
    run(&["in", "-o", "x.npy"]).done();
    let before = (read("x.npy"), read("x.manifest.jsonl"));
    for overwrite in [&[][..], &["--overwrite"]] {
        run(&[&["in", "-o", "x.safetensors"], overwrite].concat()).failed(2, "is that of a .npy");
        assert!((read("x.npy"), read("x.manifest.jsonl")) == before);
    }
}

#[test]
fn what_is_only_named_like_a_manifest_stays() {
    let directory = two_images();
    let run = |arguments: &[&str]| run_in(directory.path(), arguments);
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("out")).unwrap();
    fs::write(at("out/manifest.part-a-of-b.jsonl"), "mine").unwrap();
    for overwrite in [&[][..], &["--overwrite"], &[]] {
        run(&[&["in", "-o", "out/"], overwrite].concat()).done();
        assert_eq!(fs::read(at("out/manifest.part-a-of-b.jsonl")).unwrap(), b"mine");
    }
}

#[test]
fn what_a_part_is_writing_is_not_removed() {
    let directory = two_images();
    let run = |arguments: &[&str]| run_in(directory.path(), arguments);
    let at = |name: &str| directory.path().join(name);
    run(&["in", "-o", "out/", "--part", "0/2"]).done();
    run(&["in", "-o", "out/", "--part", "1/2"]).done();
    // Whichever of them it is, nothing is removed of any.
    for part in ["0", "1"] {
        let lock = fs::File::create(at(&format!("out/.manifest.part-{part}-of-2.jsonl.lock"))).unwrap();
        lock.lock().unwrap();
        run(&["in", "-o", "out/", "--overwrite"]).failed(2, "another process is writing it");
        assert!(at("out/a.npy").exists() && at("out/b.npy").exists());
        // Closing is not enough: a process that another test is just starting still has the file open.
        lock.unlock().unwrap();
    }
    run(&["in", "-o", "out/", "--overwrite"]).done();
    assert!(!at("out/manifest.part-0-of-2.jsonl").exists());
}

#[test]
fn tars_of_the_other_parts_are_no_inputs() {
    let directory = two_images();
    let run = |part: &str, words: &[&str]| {
        let words = [&["in", "-o", "in/x.tar", "--json", "--part", part], words].concat();
        let outcome = run_in(directory.path(), &words).done();
        outcome.text().lines().filter(|line| line.contains("\"input\":")).count()
    };
    assert_eq!((run("0/2", &[]), run("1/2", &[])), (1, 1));
    assert_eq!((run("0/2", &[]), run("1/2", &["--overwrite"])), (1, 1));
}

#[test]
fn outputs_named_otherwise_are_other_outputs() {
    let directory = two_images();
    let run = |arguments: &[&str]| run_in(directory.path(), arguments);
    run(&["in", "-o", "out/"]).done();
    run(&["in", "-o", "out/", "--keep-extension"]).failed(2, "named without their images' extensions");
    run(&["in", "-o", "out/", "--keep-extension", "--overwrite"]).done();
    assert!(!directory.path().join("out/a.npy").exists() && directory.path().join("out/a.png.npy").exists());
    run(&["in", "-o", "out/"]).failed(2, "named with their images' extensions");
}

#[test]
fn only_what_was_written_here_is_removed() {
    let directory = two_images();
    let run = |arguments: &[&str]| run_in(directory.path(), arguments);
    let at = |name: &str| directory.path().join(name);
    for (output, beside) in [("out/", ".out.parts/deep/mine"), ("x.npy", ".x.npy.parts/deep/mine")] {
        fs::create_dir_all(at(beside).parent().unwrap()).unwrap();
        fs::write(at(beside), "mine").unwrap();
        for _ in 0..2 {
            run(&["in", "-o", output, "--overwrite"]).done();
            assert_eq!(fs::read(at(beside)).unwrap(), b"mine");
        }
    }
    // A manifest that cannot be read says nothing of what there is.
    #[cfg(unix)]
    {
        fs::rename(at("x.manifest.jsonl"), at("kept")).unwrap();
        std::os::unix::fs::symlink("x.manifest.jsonl", at("x.manifest.jsonl")).unwrap();
        run(&["in", "-o", "x.npy", "--shard-size", "60KB", "--overwrite"])
            .failed(2, "x.manifest.jsonl: cannot be");
        assert!(at("x.npy").exists() && !at("x-00000.npy").exists());
    }
}

#[test]
fn what_is_in_the_way_of_a_set_is_told_before_the_work_and_only_then() {
    let directory = two_images();
    let run = |arguments: &[&str]| run_in(directory.path(), arguments);
    let at = |name: &str| directory.path().join(name);
    let set = |more: &[&str]| run(&[&["in", "-o", "x.npy", "--shard-size", "4KB"], more].concat());
    fs::create_dir(at("x-00001.npy")).unwrap();
    for overwrite in [&[][..], &["--overwrite"], &["--dry-run"]] {
        set(overwrite).failed(2, "x-00001.npy: is a directory");
        assert!(!at("x.manifest.jsonl").exists());
    }
    fs::remove_dir(at("x-00001.npy")).unwrap();
    set(&[]).done();
    // What is complete stands in nobody's way.
    fs::write(at("x-00002.npy"), "mine").unwrap();
    set(&[]).done();
    fs::copy(picture(), at("in/c.png")).unwrap();
    set(&[]).failed(2, "x-00002.npy: exists");
    assert_eq!(fs::read(at("x-00002.npy")).unwrap(), b"mine");
}

#[test]
fn images_of_two_parts_are_not_written_to_one_place() {
    let directory = two_images();
    let run = |arguments: &[&str]| run_in(directory.path(), arguments);
    fs::copy(directory.path().join("in/a.png"), directory.path().join("in/a.jpg")).unwrap();
    for part in ["0/2", "1/2"] {
        run(&["in", "-o", "out/", "--part", part]).failed(2, "would both be written to");
    }
}

#[test]
fn one_images_file_replaces_what_the_same_command_made_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (npy, archive) = (at("x.npy"), at("x.safetensors"));
    let picture = picture();
    for target in [&npy, &archive] {
        for _ in 0..2 {
            run([&picture, "-q", "-o", target]).done();
        }
        let ours = fs::read(target).unwrap();
        let refused = |line: &str, part: &str| {
            let words = [&picture, "-q", "-o", target.as_str()].into_iter().chain(line.split_terminator(' '));
            let refused = run(words).failed(2, part);
            assert!(refused.stderr.contains("\nhint: --overwrite"), "{refused:?}");
        };
        refused(
            "--dtype f16",
            if target == &npy {
                "no array of last_hidden_state [1, 26, 36] f16"
            } else {
                "made with dtype f32, not f16"
            },
        );
        refused(
            "--tokens patch",
            if target == &npy { "[1, 25, 36] f32" } else { "made with tokens all, not patch" },
        );
        if target == &archive {
            refused("--fit squash", "made with fit auto, not squash");
        }
        assert_eq!(fs::read(target).unwrap(), ours);
        run([&picture, "-q", "-o", target, "--tokens", "patch", "--overwrite"]).done();
        assert_ne!(fs::read(target).unwrap(), ours);
        for text in ["a text", "PK\u{3}\u{4} and so on, longer than eight bytes"] {
            fs::write(target, text).unwrap();
            refused("", if target == &npy { "is no array of" } else { "is no .safetensors of one image" });
            assert_eq!(fs::read_to_string(target).unwrap(), text);
        }
        // mktemp makes such files.
        fs::write(target, "").unwrap();
        run([&picture, "-q", "-o", target]).done();
        assert_eq!(fs::read(target).unwrap(), ours);
    }
    // Several tensors have a file each.
    let both = ["--tensor", "pixel_values", "--tensor", "pooler_output"];
    let several = at("y.npy");
    let words = || [picture.as_str(), "-q", "-o", &several].into_iter().chain(both);
    run(words()).done();
    run(words()).done();
    fs::write(at("y.pooler_output.npy"), "a text").unwrap();
    run(words()).failed(2, "y.pooler_output.npy: exists, and is no array of pooler_output [1, 36] f32");
}
