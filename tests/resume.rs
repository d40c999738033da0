//! What an earlier run left: who may add to it, and what of it counts.
#![cfg(feature = "cli")]

mod support;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use safetensors::SafeTensors;
use support::{
    fixture,
    run::{Outcome, command, run, tar, tiny},
};

fn pictures() -> [PathBuf; 2] {
    ["jpeg-420.jpg", "png-rgb-8.png"].map(|name| fixture("images").join(name))
}

/// The arguments that put both pictures into a target.
fn arguments(target: &Path) -> Vec<PathBuf> {
    let options = ["-q", "-o"].map(PathBuf::from);
    pictures().into_iter().chain(options).chain([target.to_owned()]).collect()
}

const TARGETS: [&str; 3] = ["tree/", "x.safetensors", "y.npy"];

#[test]
fn other_settings_are_refused_in_a_dry_run_too() {
    let directory = tempfile::tempdir().unwrap();
    for target in TARGETS {
        let arguments = arguments(&directory.path().join(target));
        run(&arguments).done();
        for (more, difference) in [
            (&["--dtype", "f16"][..], "dtype f32, not f16"),
            (&["--dtype", "f16", "--dry-run"], "dtype f32, not f16"),
            (&["--matmul-precision", "medium"], "matmul_precision highest, not medium"),
            (&["--processor", "torchvision"], "processor_backend pil, not torchvision"),
        ] {
            let more = more.iter().map(PathBuf::from);
            run(arguments.iter().cloned().chain(more)).failed(2, &format!("made with {difference}"));
        }
    }
}

#[test]
fn the_same_checkpoint_may_be_named_by_another_path() {
    let directory = tempfile::tempdir().unwrap();
    for target in TARGETS {
        let arguments = arguments(&directory.path().join(target));
        let by = |model: &Path, from: &Path| {
            Outcome::from(
                command().current_dir(from).arg("--model").arg(model).args(&arguments).output().unwrap(),
            )
        };
        by(Path::new("vision"), &fixture("checkpoints")).done();
        by(&tiny(), directory.path()).done();
        by(&fixture("checkpoints/vision-gelu"), directory.path()).failed(2, "made by another model: ");
    }
}

/// All images are in the manifest, but something has cut the end of the last one from the file that grows.
#[test]
fn an_image_that_is_not_whole_on_disk_is_made_again() {
    for name in ["x.safetensors", "y.npy", "z.tar"] {
        let directory = tempfile::tempdir().unwrap();
        let (whole, torn) = (directory.path().join("whole"), directory.path().join("torn"));
        [&whole, &torn].into_iter().for_each(|path| fs::create_dir(path).unwrap());
        let names = ["jpeg-420.jpg", "png-rgb-8.png"];
        let extract = |target: &Path| {
            let mut command = command();
            command.current_dir(fixture("images")).arg("--model").arg(tiny()).args(["-q", "-o"]);
            command.arg(target.join(name));
            command
        };
        Outcome::from(extract(&whole).args(names).output().unwrap()).done();

        // A list that does not end keeps the file open.
        let mut child = extract(&torn).args(["--files-from", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        let mut list = child.stdin.take().unwrap();
        writeln!(list, "{}", names.join("\n")).unwrap();
        let manifest = torn.join(name).with_extension("manifest.jsonl");
        let entries = || fs::read_to_string(&manifest).unwrap_or_default().matches("{\"entry\":").count();
        while entries() < 2 {
            assert!(child.try_wait().unwrap().is_none(), "it ended early");
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!torn.join(name).exists(), "it has its name when it is whole");
        let partial = torn.join(format!(".{name}.partial"));
        let partial = fs::File::options().write(true).open(partial).unwrap();
        partial.set_len(partial.metadata().unwrap().len() - 1).unwrap();

        Outcome::from(
            extract(&torn)
                .args(["--files-from", "-"])
                .args([] as [&str; 0])
                .stdin(Stdio::null())
                .output()
                .unwrap(),
        )
        .done();
        let mut again = extract(&torn);
        let again = again.args(names).arg("--json").output().unwrap();
        assert_eq!(
            String::from_utf8(again.stdout).unwrap().matches("\"status\":\"done\"").count(),
            1,
            "{name}"
        );
        let read = |root: &Path| fs::read(root.join(name)).unwrap();
        match name {
            "x.safetensors" => {
                let (whole, torn) = (read(&whole), read(&torn));
                let tensors = |bytes: &[u8]| {
                    let archive = SafeTensors::deserialize(bytes).unwrap();
                    names.map(|name| archive.tensor(name).map(|tensor| tensor.data().to_vec()).unwrap())
                };
                assert_eq!(tensors(&torn), tensors(&whole));
            }
            _ => assert!(read(&whole) == read(&torn), "{name}"),
        }
        assert_eq!(fs::read_dir(&torn).unwrap().count(), 2, "{name}: nothing else is left");
    }
}

#[test]
fn an_image_that_is_named_alone_does_not_replace_the_output_of_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir_all(at("photos/sub")).unwrap();
    for (name, at_name) in [("chelsea.png", "photos/a.b.png"), ("png-rgb-8.png", "photos/sub/c.png")] {
        fs::copy(fixture("images").join(name), at(at_name)).unwrap();
    }
    let both = ["--tensor", "hidden_states", "--tensor", "pooler_output"];
    run([&at("photos"), "-o", &at("out/"), "-q"]).done();
    run([&at("photos"), "-o", &at("drawn/"), "--draw", "pca", "-q"]).done();
    run([at("photos"), "-o".into(), at("all/"), "-q".into()].into_iter().chain(both.map(str::to_owned)))
        .done();
    let one = at("photos/sub/c.png");
    fs::write(at("drawn/sub/c.npy"), "of somebody else, beside a picture").unwrap();
    for (options, file) in [
        (&[][..], "out/a.b.npy"),
        (&[], "out/sub/c.npy"),
        (&[], "all/sub/c.hidden_states.2.npy"),
        (&["--draw", "norm"], "drawn/a.b.png"),
        (&["--draw", "pca"], "drawn/sub/c.png"),
    ] {
        let (path, before) = (at(file), fs::read(at(file)).unwrap());
        let words = [&[one.as_str(), "-o", path.as_str()], options].concat();
        let refused = run(&words).failed(2, "is an output of another run");
        assert!(refused.stderr.contains("hint: --overwrite starts over"), "{refused:?}");
        assert!(fs::read(&path).unwrap() == before);
        run([&words[..], &["--overwrite", "-q"]].concat()).done();
    }
    // Of several tensors each has its file.
    run([one.clone(), "-o".into(), at("all/sub/c.npy")].into_iter().chain(both.map(str::to_owned)))
        .failed(2, "c.hidden_states.0.npy: is an output of another run");
    // What the manifest does not speak of is replaced, as anywhere.
    for _ in 0..2 {
        run([&one, "-o", &at("out/c.npy"), "-q"]).done();
        run([&one, "-o", &at("alone.npy"), "-q"]).done();
    }
    // A missing one is the directory's to make, which would believe another's.
    fs::remove_file(at("out/sub/c.npy")).unwrap();
    for dry in [&["--dry-run"][..], &[]] {
        let arguments = [one.clone(), "-o".into(), at("out/sub/c.npy")].into_iter();
        run(arguments.chain(dry.iter().map(|&option| option.to_owned())))
            .failed(2, "is an output of another run");
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("out/sub/c.npy", at("link.npy")).unwrap();
        run([&one, "-o", &at("link.npy")]).failed(2, "link.npy: is an output of another run");
    }
    // Where images are named with their extension, a name without one is free.
    run([&at("photos"), "-o", &at("kept/"), "--keep-extension", "-q"]).done();
    (0..2).for_each(|_| drop(run([&one, "-o", &at("kept/sub/c.npy"), "-q"]).done()));
}

#[test]
fn what_failed_in_a_repeated_tar_is_tried_and_told_of_again() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir(at("in")).unwrap();
    let [a, b] = pictures().map(|path| fs::read(path).unwrap());
    let broken: &[u8] = b"no picture";
    let extract = |more: &[&str]| {
        let arguments = [&at("in"), "-o", &at("out/"), "--failures", &at("failures"), "--json"];
        let outcome = run(arguments.iter().chain(more));
        let count = |status: &str| outcome.text().matches(&format!("\"status\":\"{status}\"")).count();
        let failures = fs::read_to_string(at("failures")).unwrap().lines().count();
        (outcome.code, [count("done"), count("skipped"), count("failed")], failures)
    };
    let held = || {
        let names = fs::read_dir(at("out")).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        (fs::read(at("out/x.tar")).unwrap(), names)
    };
    fs::write(at("in/x.tar"), tar(&[("a.jpg", &a), ("b.png", &b), ("x.jpg", broken), ("y.jpg", broken)]))
        .unwrap();

    // The run that is cut short just before the end of the tar has told of one, the next tells of both.
    assert_eq!(extract(&["--fail-fast"]), (Some(1), [2, 0, 1], 1));
    assert_eq!(extract(&[]), (Some(1), [0, 2, 2], 2));
    let before = held();
    assert_eq!(before.1, ["manifest.jsonl", "x.tar"]);
    assert_eq!(extract(&[]), (Some(1), [0, 2, 2], 2));
    assert_eq!(held(), before);

    // One that can be read by now is added, and cut short again on the way.
    fs::write(at("in/x.tar"), tar(&[("a.jpg", &a), ("b.png", &b), ("x.jpg", &b), ("y.jpg", broken)]))
        .unwrap();
    assert_eq!(extract(&["--fail-fast"]), (Some(1), [1, 2, 1], 1));
    assert_eq!(held().0, before.0);
    assert_eq!(extract(&[]), (Some(1), [0, 3, 1], 1));
    fs::write(at("in/x.tar"), tar(&[("a.jpg", &a), ("b.png", &b), ("x.jpg", &b), ("y.jpg", &a)])).unwrap();
    assert_eq!(extract(&[]), (Some(0), [1, 3, 0], 0));
    let (bytes, names) = held();
    assert_eq!(names, ["manifest.jsonl", "x.tar"]);
    assert_eq!(extract(&[]), (Some(0), [0, 1, 0], 0));

    // Which is what one run gives.
    fs::remove_dir_all(at("out")).unwrap();
    assert_eq!(extract(&[]), (Some(0), [4, 0, 0], 0));
    assert_eq!(held().0, bytes);
}

#[test]
fn what_is_finished_of_a_damaged_tar_stays_where_less_can_be_read_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let [a, b] = pictures().map(|path| fs::read(path).unwrap());
    let extract = |output: &str| {
        let mut command = command();
        let command = command.current_dir(directory.path()).arg("-q").arg("-m").arg(tiny());
        Outcome::from(command.args(["in.tar", "-o", output]).output().unwrap()).code
    };
    let whole = tar(&[("a.jpg", &a), ("b.png", &b), ("c.png", &b)]);
    fs::write(at("in.tar"), &whole[..whole.len() - 1500]).unwrap();
    assert_eq!(extract("out/"), Some(1));
    let before = fs::read(at("out/in.tar")).unwrap();
    // As a run leaves it that is killed after its first sample.
    fs::write(at("in.tar"), tar(&[("a.jpg", &a)])).unwrap();
    assert_eq!(extract("less/"), Some(0));
    fs::copy(at("less/in.tar"), at("out/.in.tar.partial")).unwrap();
    fs::write(at("in.tar"), "").unwrap();
    assert_eq!(extract("out/"), Some(1));
    assert!(fs::read(at("out/in.tar")).unwrap() == before);
}
