//! Folders, lists and archives: nothing lost, nothing torn, nothing done twice.
#![cfg(feature = "cli")]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use safetensors::SafeTensors;
use serde_json::Value;
use support::{
    fixture,
    run::{Outcome, command, feed, run, tiny},
};

/// The good pictures of the fixtures, a few of each format, and bad ones between them.
fn folder(root: &Path) -> (Vec<String>, Vec<String>) {
    let mut good = Vec::new();
    fs::create_dir_all(root.join("sub dir/ü")).unwrap();
    let mut pictures: Vec<PathBuf> = fs::read_dir(fixture("images"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    pictures.sort();
    for (index, path) in pictures.iter().filter(|path| path.extension().is_none_or(|e| e != "md")).enumerate()
    {
        let name = path.file_name().unwrap().to_str().unwrap();
        let name = ["", "sub dir/", "sub dir/ü/"][index % 3].to_owned() + name;
        fs::copy(path, root.join(&name)).unwrap();
        good.push(name);
    }
    let jpeg = fs::read(fixture("images/jpeg-420.jpg")).unwrap();
    let bad =
        ["bad-cut.jpg", "bad-empty.png", "sub dir/bad-text.gif", "sub dir/bad-bomb.bmp"].map(str::to_owned);
    for (name, bytes) in bad.iter().zip([
        &jpeg[..jpeg.len() / 3],
        b"",
        b"no picture",
        &fs::read(fixture("images/bad/bomb.bmp")).unwrap(),
    ]) {
        fs::write(root.join(name), bytes).unwrap();
    }
    fs::write(root.join("notes.txt"), "no picture, and nobody says so").unwrap();
    (good, bad.to_vec())
}

/// Every file below a directory with its bytes; hidden ones too.
fn contents(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = walkdir::WalkDir::new(root).into_iter().map(|entry| entry.unwrap());
    files
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| {
            let name = entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// The binary on a folder, its outputs below `out`.
fn extract(photos: &Path, out: &Path, target: &str, more: &[&str]) -> Command {
    let mut command = command();
    command.arg("--model").arg(tiny()).arg(photos).arg("-o").arg(format!("{}/{target}", out.display()));
    command.args(more).stdin(Stdio::null());
    command
}

const TARGETS: [(&str, &[&str]); 5] = [
    ("tree/", &["--keep-extension"]),
    ("x.safetensors", &[]),
    ("stack.npy", &[]),
    ("sharded.safetensors", &["--shard-size", "100KB"]),
    ("rows.npy", &["--shard-size", "100KB", "--dtype", "f16"]),
];

/// The images that a manifest speaks of: key, file, and where it lies there.
fn entries(manifest: &Path) -> Vec<(String, String, usize)> {
    let text = fs::read_to_string(manifest).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let entries = lines.filter(|line| line["entry"].is_object()).map(|line| {
        let (entry, place) = (&line["entry"], &line["entry"]["at"][0]);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&entry["key"]), text(&place["file"]), place["offset"].as_u64().unwrap() as usize)
    });
    entries.collect()
}

#[test]
fn every_good_image_is_extracted_and_every_bad_one_named_once() {
    let directory = tempfile::tempdir().unwrap();
    let (photos, out) = (directory.path().join("photos"), directory.path().join("out"));
    fs::create_dir(&out).unwrap();
    let (good, bad) = folder(&photos);
    let failures = out.join("failures.jsonl");
    let more = ["--json", "--batch-size", "3", "--keep-extension", "--failures", failures.to_str().unwrap()];
    let outcome = Outcome::from(extract(&photos, &out, "tree/", &more).output().unwrap());
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    for name in &bad {
        let lines =
            outcome.stderr.lines().filter(|line| line.starts_with("error: ") && line.contains(name.as_str()));
        assert_eq!(lines.count(), 1, "{name}: {}", outcome.stderr);
    }
    assert!(!outcome.stderr.contains("notes.txt"));

    let mut reports: Vec<Value> =
        outcome.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(reports.pop().unwrap()["summary"].is_object());
    let paths: Vec<&str> = reports.iter().map(|report| report["input"].as_str().unwrap()).collect();
    let mut sorted: Vec<PathBuf> = good.iter().chain(&bad).map(|name| photos.join(name)).collect();
    sorted.sort();
    assert_eq!(paths, sorted.iter().map(|path| path.to_str().unwrap()).collect::<Vec<_>>(), "in input order");
    let failed = reports.iter().filter(|report| report["status"] == "failed").count();
    assert_eq!((failed, reports.len()), (bad.len(), good.len() + bad.len()));
    let records = fs::read_to_string(failures).unwrap();
    assert_eq!(records.lines().count(), bad.len());
    for record in records.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        assert!(record["input"].is_string() && record["stage"] == "decode" || record["stage"] == "read");
        assert!(!record["reason"].as_str().unwrap().is_empty());
    }

    let files = contents(&out.join("tree")).len();
    assert_eq!(files, good.len() + 1, "a file an image, and the manifest");
    for name in good.iter().step_by(3) {
        let alone = run([photos.join(name).to_str().unwrap(), "-o", "-"]);
        assert_eq!(alone.stdout, fs::read(out.join(format!("tree/{name}.npy"))).unwrap(), "{name}");
    }
}

#[test]
fn all_layouts_hold_the_same_features() {
    let directory = tempfile::tempdir().unwrap();
    let (photos, out) = (directory.path().join("photos"), directory.path().to_owned());
    let (good, _) = folder(&photos);
    for (target, more) in TARGETS {
        let outcome = Outcome::from(extract(&photos, &out, target, more).output().unwrap());
        assert_eq!(outcome.code, Some(1), "{target}: {}", outcome.stderr);
    }
    let one = |name: &str| fs::read(out.join(format!("tree/{name}.npy"))).unwrap()[128..].to_vec();

    let stack = fs::read(out.join("stack.npy")).unwrap();
    assert!(String::from_utf8_lossy(&stack[..128]).contains(&format!("({}, 26, 36)", good.len())));
    let rows = entries(&out.join("stack.manifest.jsonl"));
    assert_eq!(rows.len(), good.len());
    let size = 26 * 36 * 4;
    for (row, (key, file, offset)) in rows.into_iter().enumerate() {
        assert_eq!((file.as_str(), offset), ("stack.npy", row * size));
        assert_eq!(stack[128 + offset..][..size], one(&key), "{key}");
    }

    let archive = fs::read(out.join("x.safetensors")).unwrap();
    let archive = SafeTensors::deserialize(&archive).unwrap();
    assert_eq!(archive.len(), good.len());
    for (name, tensor) in archive.iter() {
        assert_eq!((tensor.shape(), tensor.data()), (&[1, 26, 36][..], &one(name)[..]), "{name}");
    }

    let shards = entries(&out.join("sharded.manifest.jsonl"));
    assert_eq!(shards.len(), good.len());
    let names: std::collections::BTreeSet<String> = shards.iter().map(|(_, file, _)| file.clone()).collect();
    assert!(names.len() > 3 && names.first().unwrap() == "sharded-00000.safetensors", "{names:?}");
    for (key, file, _) in shards {
        let bytes = fs::read(out.join(&file)).unwrap();
        assert!(bytes.len() <= 100_000, "{file}: {}", bytes.len());
        assert_eq!(SafeTensors::deserialize(&bytes).unwrap().tensor(&key).unwrap().data(), one(&key));
    }
    let rows = entries(&out.join("rows.manifest.jsonl"));
    assert!(rows.len() == good.len() && rows.iter().all(|(_, file, _)| file.starts_with("rows-0000")));
}

/// The same, but for what manifests say: a killed run says that it began.
fn outputs(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let bytes = |(name, bytes): (String, Vec<u8>)| match name.ends_with("manifest.jsonl") {
        true => (name, Vec::new()),
        false => (name, bytes),
    };
    contents(root).into_iter().map(bytes).collect()
}

/// Kills a run at many moments, repeats it each time, and compares with one that was left alone.
fn killed_and_repeated(signal: &str) {
    let directory = tempfile::tempdir().unwrap();
    let photos = directory.path().join("photos");
    folder(&photos);
    for (target, more) in TARGETS {
        let (calm, rough) = (directory.path().join("calm"), directory.path().join("rough"));
        for out in [&calm, &rough] {
            let _ = fs::remove_dir_all(out);
            fs::create_dir(out).unwrap();
        }
        assert_eq!(extract(&photos, &calm, target, more).output().unwrap().status.code(), Some(1));
        let mut cut_short = 0;
        for attempt in 0..12u64 {
            let mut child = extract(&photos, &rough, target, more)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_millis(20 + 17 * attempt));
            let _ = Command::new("kill").arg(signal).arg(child.id().to_string()).status();
            let code = child.wait().unwrap().code();
            let expected = if signal == "-KILL" { None } else { Some(130) };
            cut_short += u32::from(code == expected);
            // On a busy machine the signal may come before the run listens for it.
            assert!([expected, Some(1), None].contains(&code), "{target}: {code:?}");
        }
        assert!(cut_short > 0, "{target}: no run was slow enough to be cut short");
        let last = Outcome::from(extract(&photos, &rough, target, more).output().unwrap());
        assert_eq!(last.code, Some(1), "{target}: {}", last.stderr);
        let (calm, rough) = (outputs(&calm), outputs(&rough));
        assert_eq!(calm.keys().collect::<Vec<_>>(), rough.keys().collect::<Vec<_>>(), "{target}");
        assert!(calm == rough, "{target}: other bytes");
    }
}

#[cfg(unix)]
#[test]
fn a_killed_run_goes_on_and_ends_as_if_it_had_not_been() {
    killed_and_repeated("-KILL");
}

#[cfg(unix)]
#[test]
fn a_terminated_run_ends_in_order() {
    killed_and_repeated("-TERM");
}

#[cfg(unix)]
#[test]
fn a_full_disk_ends_with_whole_outputs_and_the_run_can_be_repeated() {
    let directory = tempfile::tempdir().unwrap();
    let photos = directory.path().join("photos");
    folder(&photos);
    for (target, more) in [("x.safetensors", &[][..]), ("x.npy", &[]), ("tree/", &["--keep-extension"])] {
        let out = directory.path().join("out");
        let calm = directory.path().join("calm");
        for out in [&calm, &out] {
            let _ = fs::remove_dir_all(out);
            fs::create_dir(out).unwrap();
        }
        extract(&photos, &calm, target, more).output().unwrap();
        // A limit on the size of files stands in for a full disk.
        let limited = extract(&photos, &out, target, more);
        let mut shell = Command::new("sh");
        // One file of a directory is small, so its limit is smaller still.
        let blocks = if target == "tree/" { 6 } else { 200 };
        shell.arg("-c").arg(format!("ulimit -f {blocks}; exec \"$0\" \"$@\""));
        shell.arg(limited.get_program()).args(limited.get_args());
        let outcome = Outcome::from(shell.output().unwrap());
        assert_eq!(outcome.code, Some(2), "{target}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("cannot be written"), "{target}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("\nhint: raise the limit"), "{target}: {}", outcome.stderr);
        if target == "tree/" {
            let arrays = contents(&out.join(target)).into_iter().filter(|(name, _)| name.ends_with(".npy"));
            assert!(arrays.map(|(_, bytes)| bytes.len()).all(|length| length == 128 + 26 * 36 * 4));
        } else {
            assert!(!out.join(target).exists(), "{target}: torn");
        }
        let repeated = Outcome::from(extract(&photos, &out, target, more).output().unwrap());
        assert_eq!(repeated.code, Some(1), "{target}: {}", repeated.stderr);
        let kept = repeated.stderr.contains("complete before");
        assert!(kept || target == "tree/", "{target}: {}", repeated.stderr);
        assert!(outputs(&out) == outputs(&calm), "{target}: other bytes");
    }
}

#[test]
fn what_is_complete_is_skipped_and_other_settings_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let photos = directory.path().join("photos");
    let (good, _) = folder(&photos);
    for (target, more) in TARGETS {
        let again = |extra: &[&str]| {
            let more = [more, extra].concat();
            Outcome::from(extract(&photos, directory.path(), target, &more).output().unwrap())
        };
        again(&[]);
        let before = contents(directory.path());
        let outcome = again(&[]);
        assert_eq!(outcome.code, Some(1));
        assert!(
            outcome.stderr.contains(&format!("0 done, {} complete before", good.len())),
            "{}",
            outcome.stderr
        );
        let refused = again(&["--tokens", "cls"]);
        assert_eq!(refused.code, Some(2), "{target}: {}", refused.stderr);
        assert!(refused.stderr.contains("made with tokens all, not cls"), "{target}: {}", refused.stderr);
        assert!(contents(directory.path()) == before, "{target}: a refused run changed something");
        let anew = again(&["--tokens", "cls", "--overwrite"]);
        assert!(anew.stderr.contains(&format!("{} done, 4 failed", good.len())), "{target}: {}", anew.stderr);
        assert!(contents(directory.path()) != before);
    }
}

/// A list of the pictures in a folder, for `--files-from`.
fn listed(photos: &Path, out: &Path, target: &str, more: &[&str]) -> Outcome {
    let mut list = Vec::new();
    for name in contents(photos).keys() {
        list.extend(photos.join(name).to_str().unwrap().bytes().chain([b'\n']));
    }
    let mut command = command();
    command.arg("--model").arg(tiny()).args(["--files-from", "-", "-o"]);
    feed(command.arg(format!("{}/{target}", out.display())).args(more), &list)
}

/// Three good pictures.
fn three(photos: &Path) {
    fs::create_dir(photos).unwrap();
    for name in ["chelsea.png", "jpeg-420.jpg", "png-rgb-8.png"] {
        fs::copy(fixture("images").join(name), photos.join(name)).unwrap();
    }
}

#[test]
fn overwriting_makes_every_output_anew_from_a_list_too() {
    let directory = tempfile::tempdir().unwrap();
    let photos = directory.path().join("photos");
    three(&photos);
    listed(&photos, directory.path(), "out/", &["-q"]).done();
    let anew = listed(&photos, directory.path(), "out/", &["--overwrite", "--dtype", "f16"]);
    assert!(anew.stderr.contains("3 done in"), "{}", anew.stderr);
    let halves = contents(&directory.path().join("out"));
    let arrays: Vec<_> = halves.iter().filter(|(name, _)| name.ends_with(".npy")).collect();
    assert_eq!(arrays.len(), 3);
    assert!(arrays.iter().all(|(_, bytes)| bytes.len() == 128 + 26 * 36 * 2));
}

#[test]
fn outputs_of_overwritten_settings_do_not_count_as_complete() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    three(&at("a"));
    fs::create_dir(at("b")).unwrap();
    fs::copy(fixture("images/png-rgba-8.png"), at("b/other.png")).unwrap();
    extract(&at("a"), directory.path(), "out/", &["-q"]).output().unwrap();
    extract(&at("b"), directory.path(), "out/", &["-q", "--overwrite", "--dtype", "f16"]).output().unwrap();
    // What the old manifest lists is gone with it.
    assert_eq!(contents(&at("out")).into_keys().collect::<Vec<_>>(), ["manifest.jsonl", "other.npy"]);
    let mixed =
        Outcome::from(extract(&at("a"), directory.path(), "out/", &["--dtype", "f16"]).output().unwrap());
    assert!(mixed.stderr.contains("finished: 3 done in"), "{}", mixed.stderr);
}

#[test]
fn a_file_of_somebody_else_is_one_images_failure_in_a_list() {
    let directory = tempfile::tempdir().unwrap();
    let photos = directory.path().join("photos");
    three(&photos);
    let inner = directory.path().join("out").join(photos.strip_prefix("/").unwrap());
    fs::create_dir_all(&inner).unwrap();
    fs::write(inner.join("chelsea.npy"), "junk").unwrap();
    let outcome = listed(&photos, directory.path(), "out/", &[]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("2 done, 1 failed"), "{}", outcome.stderr);
    assert_eq!(fs::read(inner.join("chelsea.npy")).unwrap(), b"junk");
}

#[test]
fn a_stack_that_is_not_what_its_index_says_is_not_complete() {
    let directory = tempfile::tempdir().unwrap();
    let photos = directory.path().join("photos");
    three(&photos);
    let again = |target: &str, more: &[&str]| {
        Outcome::from(extract(&photos, directory.path(), target, more).output().unwrap())
    };
    again("x.npy", &["-q"]).done();
    let target = directory.path().join("x.npy");
    fs::write(&target, "replaced").unwrap();
    again("x.npy", &[]).failed(2, &format!("error: {}: is damaged: it has 8 bytes, and", target.display()));
    again("x.npy", &["-q", "--overwrite"]).done();

    again("s.npy", &["-q", "--shard-size", "40000"]).done();
    again("s.npy", &["-q", "--shard-size", "40000"]).done();
}

#[test]
fn another_config_is_another_model() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    three(&at("photos"));
    fs::create_dir(at("model")).unwrap();
    for file in fs::read_dir(tiny()).unwrap().map(|entry| entry.unwrap().path()) {
        fs::copy(&file, at("model").join(file.file_name().unwrap())).unwrap();
    }
    let extract = || {
        let mut command = command();
        command.arg("-m").arg(at("model")).arg(at("photos")).args(["-q", "-o"]).arg(at("out/"));
        Outcome::from(command.output().unwrap())
    };
    extract().done();
    let config = fs::read_to_string(at("model/config.json")).unwrap();
    assert!(config.contains("\"quick_gelu\""));
    fs::write(at("model/config.json"), config.replace("\"quick_gelu\"", "\"gelu\"")).unwrap();
    extract().failed(2, "made with another config");
}

#[test]
fn weights_that_do_not_load_leave_the_target_alone() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    three(&at("photos"));
    fs::create_dir(at("deep")).unwrap();
    for file in fs::read_dir(tiny()).unwrap().map(|entry| entry.unwrap().path()) {
        fs::copy(&file, at("deep").join(file.file_name().unwrap())).unwrap();
    }
    let config = fs::read_to_string(at("deep/config.json")).unwrap();
    let config = config.replace("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4");
    fs::write(at("deep/config.json"), config).unwrap();
    extract(&at("photos"), directory.path(), "out/", &["-q"]).output().unwrap();
    let before = contents(&at("out"));
    let mut command = command();
    command.arg("-m").arg(at("deep")).arg(at("photos")).args(["--overwrite", "-o"]).arg(at("out/"));
    Outcome::from(command.output().unwrap()).failed(2, "is missing");
    assert!(contents(&at("out")) == before);
}

#[test]
fn a_long_name_costs_only_its_own_image() {
    let directory = tempfile::tempdir().unwrap();
    let photos = directory.path().join("photos");
    three(&photos);
    let picture = fixture("images/png-rgb-8.png");
    fs::copy(&picture, photos.join("l".repeat(251) + ".jpg")).unwrap();
    fs::copy(&picture, photos.join("m".repeat(255))).unwrap();
    let outcome = Outcome::from(extract(&photos, directory.path(), "out/", &[]).output().unwrap());
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("4 done, 1 failed"), "{}", outcome.stderr);
}

#[test]
fn what_one_kind_of_run_left_does_not_block_another() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    three(&at("photos"));
    fs::write(at(".q.npy.partial"), "half").unwrap();
    Outcome::from(extract(&at("photos"), directory.path(), "q.npy", &["-q"]).output().unwrap()).done();
}

#[test]
fn two_images_for_one_output_are_refused_before_any_work() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    fs::copy(fixture("images/jpeg-420.jpg"), at("cat.jpg")).unwrap();
    fs::copy(fixture("images/png-rgb-8.png"), at("cat.png")).unwrap();
    let out = at("out/");
    let outcome = run([at("cat.jpg"), at("cat.png"), "-o".into(), out.clone()]);
    outcome.failed(2, "cat.jpg and").failed(2, "would both be written to").failed(2, "--keep-extension");
    assert!(!Path::new(&out).exists());
    run([at("cat.jpg"), at("cat.png"), "-o".into(), out.clone(), "--keep-extension".into(), "-q".into()])
        .done();
    let names: Vec<String> = contents(Path::new(&out)).into_keys().collect();
    assert!(
        names.iter().any(|name| name.ends_with("cat.jpg.npy"))
            && names.iter().any(|name| name.ends_with("cat.png.npy"))
    );
}

#[test]
fn a_list_is_answered_line_by_line_while_its_producer_stays_open() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = command();
    command
        .arg("--model")
        .arg(tiny())
        .args(["--files-from", "-", "-0", "--json", "-o"])
        .arg(directory.path().join("out/"));
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut list = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    for name in ["jpeg-420.jpg", "nowhere.jpg", "png-rgb-8.png"] {
        let path = fixture("images").join(name);
        list.write_all(path.to_str().unwrap().as_bytes()).unwrap();
        list.write_all(b"\0").unwrap();
        let answer: Value = serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap();
        assert_eq!(answer["input"], path.to_str().unwrap());
        assert_eq!(answer["status"], if name == "nowhere.jpg" { "failed" } else { "done" });
    }
    drop(list);
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[cfg(unix)]
#[test]
fn names_of_any_bytes_are_safe() {
    use std::os::unix::ffi::OsStrExt;
    let directory = tempfile::tempdir().unwrap();
    let photos = directory.path().join("photos");
    fs::create_dir(&photos).unwrap();
    let odd = photos.join(std::ffi::OsStr::from_bytes(b"odd \xff\n.png"));
    fs::copy(fixture("images/png-rgb-8.png"), &odd).unwrap();
    for target in ["tree/", "x.safetensors", "y.npy"] {
        let outcome = Outcome::from(extract(&photos, directory.path(), target, &["-q"]).output().unwrap());
        assert_eq!(outcome.code, Some(0), "{target}: {}", outcome.stderr);
        let verified = command().arg("--verify").arg(directory.path().join(target)).output().unwrap();
        assert_eq!(Outcome::from(verified).code, Some(0), "{target}");
    }
    assert!(directory.path().join("tree").join(std::ffi::OsStr::from_bytes(b"odd \xff\n.npy")).exists());
    let archive = fs::read(directory.path().join("x.safetensors")).unwrap();
    assert_eq!(SafeTensors::deserialize(&archive).unwrap().names(), ["odd %FF\n.png"]);

    // A listed path cannot lead out of the output directory.
    let out = directory.path().join("deep/out");
    fs::create_dir_all(&out).unwrap();
    fs::copy(fixture("images/png-rgb-8.png"), directory.path().join("outside.png")).unwrap();
    let escape = format!("{}/../outside.png", out.parent().unwrap().display());
    let list = ["-q", "--files-from", "-", "-o"];
    feed(command().arg("--model").arg(tiny()).args(list).arg(&out), escape.as_bytes()).done();
    assert!(contents(&out).keys().any(|name| name.ends_with("outside.npy")));
    assert!(!directory.path().join("outside.npy").exists());
}

#[test]
fn a_stream_of_arrays_follows_one_another() {
    let pictures = ["jpeg-420.jpg", "png-rgb-8.png"]
        .map(|name| fixture("images").join(name).to_str().unwrap().to_owned());
    let both = run(pictures.iter().map(String::as_str).chain(["-q", "-o", "-"])).done().stdout;
    let each = pictures.map(|picture| run([picture.as_str(), "-o", "-"]).done().stdout);
    assert_eq!(both, each.concat());
}

#[test]
fn a_run_stops_at_as_many_failures_as_allowed() {
    let directory = tempfile::tempdir().unwrap();
    for index in 0..6 {
        fs::write(directory.path().join(format!("{index}.jpg")), "no picture").unwrap();
    }
    let folder = directory.path().to_str().unwrap();
    for (option, expected) in
        [(&["--fail-fast"][..], 1), (&["--max-failures", "3"], 3), (&["--max-failures", "9"], 6)]
    {
        let outcome = run([folder].into_iter().chain(option.iter().copied()));
        assert_eq!(outcome.code, Some(1));
        assert_eq!(outcome.stderr.matches("error: ").count(), expected, "{option:?}: {}", outcome.stderr);
    }
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let photos = directory.path().join("photos");
    let (good, bad) = folder(&photos);
    for target in ["tree/", "x.npy"] {
        let outcome = Outcome::from(
            extract(
                &photos,
                directory.path(),
                target,
                &["--dry-run", "--keep-extension"][..2 - usize::from(target == "x.npy")],
            )
            .output()
            .unwrap(),
        )
        .done();
        let count = good.len() + bad.len();
        assert!(
            outcome.text().contains(&format!("{count}, {count} to do; 1 other files are passed over")),
            "{}",
            outcome.text()
        );
        assert!(outcome.text().contains("3744 bytes an image"), "{}", outcome.text());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
    let nowhere = extract(&photos, directory.path(), "missing/x.npy", &["--dry-run"]).output().unwrap();
    Outcome::from(nowhere).failed(2, "the directory");
}

/// Pictures in their own shapes: a batch holds one shape at a time, and no image sees its neighbours.
#[test]
fn pictures_of_many_shapes_are_what_they_are_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (photos, out) = (directory.path().join("photos"), directory.path().join("out"));
    fs::create_dir_all(&photos).unwrap();
    fs::create_dir(&out).unwrap();
    let wide = image::open(fixture("images/coffee.png")).unwrap();
    // wide, tall and square in turn: at a shorter edge of 24, 4 × 6, 6 × 4 and 4 × 4 patches of 6 pixels
    for place in 0..9u32 {
        let picture = match place % 3 {
            0 => wide.crop_imm(0, 0, 600 - place, 400),
            1 => wide.rotate90(),
            _ => wide.crop_imm(100 + place, 0, 400, 400),
        };
        picture.save(photos.join(format!("{place}.png"))).unwrap();
    }
    let keep = ["--fit", "keep", "--image-size", "24", "--grid"];
    let run = |photos: &Path, target: &str, more: &[&str]| {
        Outcome::from(extract(photos, &out, target, &[&keep, more].concat()).output().unwrap())
    };
    let many = run(&photos, "tree/", &["--batch-size", "5", "--threads", "2", "--json"]);
    assert_eq!(many.code, Some(0), "{}", many.stderr);
    let grids = [[4, 5], [6, 4], [4, 4]];
    for (place, line) in many.text().lines().filter(|line| !line.contains("\"summary\"")).enumerate() {
        let report: Value = serde_json::from_str(line).unwrap();
        let grid = if place == 0 { [4, 6] } else { grids[place % 3] };
        assert_eq!(report["shape"], serde_json::json!([1, grid[0], grid[1], 36]), "{place}");
        let alone = format!("{place}.npy");
        let one = run(&photos.join(format!("{place}.png")), &alone, &["--threads", "1"]);
        assert_eq!(one.code, Some(0), "{}", one.stderr);
        assert_eq!(fs::read(out.join(&alone)).unwrap(), fs::read(out.join("tree").join(&alone)).unwrap());
    }
    for target in ["x.safetensors", "samples.tar"] {
        let outcome = run(&photos, target, &["--batch-size", "4"]);
        assert_eq!(outcome.code, Some(0), "{target}: {}", outcome.stderr);
    }
    let bytes = fs::read(out.join("x.safetensors")).unwrap();
    let archive = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(archive.tensor("4.png").unwrap().shape(), [1, 6, 4, 36]);

    let stack = run(&photos, "rows.npy", &[]);
    assert_eq!(stack.code, Some(1));
    assert!(stack.stderr.contains("the rows before have [4, 6, 36]; .safetensors, .tar"), "{}", stack.stderr);
    let dry = run(&photos, "y.safetensors", &["--dry-run"]);
    assert!(dry.text().contains("of the picture's size"), "{}", dry.text());
    let least = 4 * 4 * 36 * 4;
    assert!(dry.text().contains("at least"), "{}", dry.text());
    assert!(dry.text().contains(&format!("{least} bytes an image")), "{}", dry.text());
    let exact = [&["--image-size", "24x36", "--dry-run"], &keep[4..]].concat();
    let dry = Outcome::from(extract(&photos, &out, "y.safetensors", &exact).output().unwrap());
    assert!(dry.text().contains("[1, 4, 6, 36]"), "{}", dry.text());
    assert!(!dry.text().contains("at least"), "{}", dry.text());
    assert!(dry.text().contains(&format!("{} bytes an image", 4 * 6 * 36 * 4)), "{}", dry.text());
}
