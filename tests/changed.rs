//! Pictures that were replaced under their names.
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
    run::{Outcome, command, tiny},
};

/// Runs in a directory, on the images in `in`.
fn extract(directory: &Path, output: &str, more: &[&str]) -> Outcome {
    let mut command = command();
    let command = command.current_dir(directory).arg("-m").arg(tiny()).args(["in", "--json", "-o", output]);
    command.args(more).output().unwrap().into()
}

/// What became of the images, and the summary.
fn ends(outcome: &Outcome) -> (Vec<String>, Value) {
    let mut lines: Vec<Value> =
        outcome.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = lines.pop().unwrap()["summary"].clone();
    (lines.iter().map(|line| line["status"].as_str().unwrap().to_owned()).collect(), summary)
}

fn set_time(path: &Path, seconds_ago: u64) {
    let file = fs::File::options().append(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(seconds_ago)).unwrap();
}

#[test]
fn other_bytes_under_a_name_are_told_of_and_made_again_where_that_is_asked_for() {
    for (output, features) in
        [("out/", "out/b.npy"), ("x.npy", "x.npy"), ("y.safetensors", "y.safetensors"), ("z.tar", "z.tar")]
    {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("in")).unwrap();
        for (name, from) in
            [("a.png", "png-rgb-8.png"), ("b.png", "png-palette-8.png"), ("c.png", "png-grey-8.png")]
        {
            fs::copy(fixture("images").join(from), at("in").join(name)).unwrap();
        }
        extract(directory.path(), output, &["-q"]).done();
        let before = fs::read(at(features)).unwrap();

        // The same bytes at another time are the same image.
        set_time(&at("in/a.png"), 1000);
        let (statuses, _) = ends(&extract(directory.path(), output, &["-q"]).done());
        assert_eq!(statuses, ["skipped", "skipped", "skipped"], "{output}");
        // The other time is known now, so that they are not read again.
        let bytes = fs::read(at("in/a.png")).unwrap();
        let time = fs::metadata(at("in/a.png")).unwrap().modified().unwrap();
        fs::write(at("in/a.png"), vec![0; bytes.len()]).unwrap();
        fs::File::options().append(true).open(at("in/a.png")).unwrap().set_modified(time).unwrap();
        let (statuses, _) = ends(&extract(directory.path(), output, &["-q"]).done());
        assert_eq!(statuses, ["skipped", "skipped", "skipped"], "{output}");
        fs::write(at("in/a.png"), bytes).unwrap();
        fs::File::options().append(true).open(at("in/a.png")).unwrap().set_modified(time).unwrap();

        // Other bytes are not, at the same size and another time too.
        let mut bytes = fs::read(at("in/b.png")).unwrap();
        fs::copy(fixture("images/png-grey-4.png"), at("in/b.png")).unwrap();
        let changed = extract(directory.path(), output, &[]);
        let (statuses, summary) = ends(&changed);
        assert_eq!(statuses, ["skipped", "changed", "skipped"], "{output}");
        assert_eq!((changed.code, &summary["changed"]), (Some(0), &1.into()), "{output}: {changed:?}");
        let how = if output == "out/" { "--update" } else { "--overwrite" };
        let told = format!("1 images have changed since their features were made, which stay\nhint: {how}");
        assert!(changed.stderr.contains(&told), "{output}: {changed:?}");
        assert!(fs::read(at(features)).unwrap() == before, "{output}");

        if output == "out/" {
            let (statuses, _) = ends(&extract(directory.path(), output, &["-q", "--update"]).done());
            assert_eq!(statuses, ["skipped", "done", "skipped"]);
            assert!(fs::read(at(features)).unwrap() != before);
            let (statuses, _) = ends(&extract(directory.path(), output, &["-q"]).done());
            assert_eq!(statuses, ["skipped", "skipped", "skipped"]);
            // Back again, by the same way, to the same bytes.
            let end = bytes.len() - 1;
            bytes.truncate(end + 1);
            fs::write(at("in/b.png"), &bytes).unwrap();
            extract(directory.path(), output, &["-q", "--update"]).done();
            assert!(fs::read(at(features)).unwrap() == before);
        } else {
            extract(directory.path(), output, &["-q", "--update"])
                .failed(2, "--update makes changed images of a directory again");
        }
    }
}

#[test]
fn a_tar_of_another_time_is_read_again_and_its_samples_are_compared() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("in")).unwrap();
    let pack = |names: &[(&str, &str)]| {
        let mut builder = tar::Builder::new(fs::File::create(at("in/s.tar")).unwrap());
        for (name, from) in names {
            builder.append_path_with_name(fixture("images").join(from), name).unwrap();
        }
        builder.finish().unwrap();
    };
    pack(&[("a.png", "png-rgb-8.png"), ("b.png", "png-palette-8.png")]);
    extract(directory.path(), "out/", &["-q"]).done();
    let before = fs::read(at("out/s.tar")).unwrap();
    let (statuses, _) = ends(&extract(directory.path(), "out/", &["-q"]).done());
    assert_eq!(statuses, ["skipped"], "the tar as a whole");
    set_time(&at("in/s.tar"), 1000);
    for expected in [&["skipped", "skipped"][..], &["skipped"]] {
        assert_eq!(ends(&extract(directory.path(), "out/", &["-q"]).done()).0, expected);
    }
    pack(&[("a.png", "png-rgb-8.png"), ("b.png", "png-grey-4.png"), ("c.png", "png-grey-8.png")]);
    let (statuses, _) = ends(&extract(directory.path(), "out/", &["-q"]).done());
    assert_eq!(statuses, ["skipped", "changed", "done"]);
    assert!(
        fs::read(at("out/s.tar")).unwrap().starts_with(&before[..before.len() - 1024]),
        "what is there stays"
    );
}
