//! What an earlier run left: who may add to it, and what of it counts.

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
    run::{Outcome, command, run, tiny},
};

fn pictures() -> [PathBuf; 2] {
    ["jpeg-420.jpg", "png-rgb-8.png"].map(|name| fixture("images").join(name))
}

/// The arguments that put both pictures into a target.
fn arguments(target: &Path) -> Vec<PathBuf> {
    let options = ["-q", "-o"].map(PathBuf::from);
    pictures().into_iter().chain(options).chain([target.to_owned()]).collect()
}

const TARGETS: [&str; 3] = ["tree/", "x.safetensors", "x.npy"];

#[test]
fn other_settings_are_refused_in_a_dry_run_too() {
    let directory = tempfile::tempdir().unwrap();
    for target in TARGETS {
        let arguments = arguments(&directory.path().join(target));
        run(&arguments).done();
        for (more, difference) in [
            (&["--dtype", "f16"][..], r#"dtype is "f32", not "f16""#),
            (&["--dtype", "f16", "--dry-run"], r#"dtype is "f32", not "f16""#),
            (&["--matmul-precision", "medium"], r#"matmul_precision is "highest", not "medium""#),
            (&["--processor", "torchvision"], r#"processor_backend is "pil", not "torchvision""#),
        ] {
            let more = more.iter().map(PathBuf::from);
            run(arguments.iter().cloned().chain(more))
                .failed(2, &format!("holds outputs of other settings: {difference}"));
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
        by(&fixture("checkpoints/vision-gelu"), directory.path()).failed(2, "other settings");
    }
}

/// All images are in the journal of an archive, but a power loss has kept the end of the last one from the disk.
#[test]
fn an_image_that_is_not_whole_on_disk_is_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let (whole, torn) = (directory.path().join("whole.safetensors"), directory.path().join("x.safetensors"));
    let names = ["jpeg-420.jpg", "png-rgb-8.png"];
    let extract = |target: &Path| {
        let mut command = command();
        command.current_dir(fixture("images")).arg("--model").arg(tiny()).args(["-q", "-o"]).arg(target);
        command
    };
    Outcome::from(extract(&whole).args(names).output().unwrap()).done();

    // A list that does not end keeps the archive open.
    let mut child = extract(&torn).args(["--files-from", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut list = child.stdin.take().unwrap();
    writeln!(list, "{}", names.join("\n")).unwrap();
    let parts = directory.path().join(".x.safetensors.parts");
    let journal = || fs::read_to_string(parts.join("journal.jsonl")).unwrap_or_default();
    while journal().lines().count() < 3 {
        assert!(child.try_wait().unwrap().is_none(), "it ended early");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let files = fs::read_dir(&parts).unwrap().map(|entry| entry.unwrap().path());
    let shard = files.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let shard = fs::File::options().write(true).open(shard).unwrap();
    shard.set_len(shard.metadata().unwrap().len() - 1).unwrap();

    Outcome::from(extract(&torn).args(names).output().unwrap()).done();
    let (whole, torn) = (fs::read(whole).unwrap(), fs::read(torn).unwrap());
    let tensors = |bytes: &[u8]| {
        let archive = SafeTensors::deserialize(bytes).unwrap();
        names.map(|name| {
            archive.tensor(name).map(|tensor| (tensor.shape().to_vec(), tensor.data().to_vec())).unwrap()
        })
    };
    assert_eq!(tensors(&torn), tensors(&whole));
}
