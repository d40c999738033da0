//! What was written is damaged, cut or gone: it is refused by name or made again, never called complete, and nothing is there twice.
#![cfg(feature = "cli")]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use support::{
    fixture,
    run::{Outcome, command, feed, tiny},
};

/// So many that they fill eight shards of 16 KB, and one is left for the last.
const NAMES: [&str; 17] = [
    "jpeg-420.jpg",
    "png-rgb-8.png",
    "gif-plain.gif",
    "bmp-24.bmp",
    "png-palette-8.png",
    "jpeg-grey.jpg",
    "gif-grey.gif",
    "bmp-8.bmp",
    "pnm-p1.pbm",
    "pnm-p2-100.pgm",
    "pnm-p3-100.ppm",
    "pnm-p4.pbm",
    "pnm-p6-100.ppm",
    "gif-1x1.gif",
    "png-grey-1.png",
    "tiff-grey.tiff",
    "tiff-rgb-lzw.tiff",
];

const SET: [&str; 2] = ["--shard-size", "16KB"];

fn extract(target: &Path, options: &[&str], names: &[&str]) -> Command {
    let mut command = command();
    command.current_dir(fixture("images")).args(["-q", "-m"]).arg(tiny()).arg("-o").arg(target);
    command.args(options).args(names);
    command
}

fn run(target: &Path, options: &[&str], names: &[&str]) -> Outcome {
    extract(target, options, names).output().unwrap().into()
}

/// All files of a directory, hidden ones too.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.file_name().unwrap().into(), fs::read(&path).unwrap())).collect()
}

/// The same, but for what manifests say, which go on.
fn outputs(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = files(root);
    found.iter_mut().filter(|(name, _)| is_manifest(name)).for_each(|(_, bytes)| bytes.clear());
    found
}

fn is_manifest(name: &Path) -> bool {
    name.to_str().unwrap().ends_with("manifest.jsonl")
}

/// The pictures in the tars of a directory, each as often as it is there, sorted.
fn samples(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for (name, bytes) in files(root).into_iter().filter(|(name, _)| !is_manifest(name)) {
        let mut archive = tar::Archive::new(bytes.as_slice());
        for entry in archive.entries().unwrap() {
            let name = entry.unwrap_or_else(|error| panic!("{name:?}: {error}")).path().unwrap().into_owned();
            found.extend(name.to_str().unwrap().strip_suffix(".features.json").map(str::to_owned));
        }
    }
    found.sort();
    found
}

/// A tar's bytes after each kind of damage, by its name.
fn damaged(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let cut = |end: usize| bytes[..bytes.len() - end].to_vec();
    vec![
        ("cut by 700 bytes", cut(700)),
        ("without the mark of its end", cut(1024)),
        ("with half of the mark", cut(512)),
        ("without its last byte", cut(1)),
        ("cut in the middle", cut(bytes.len() / 2)),
        ("with something behind it", [bytes, b"and more"].concat()),
    ]
}

#[test]
fn a_damaged_tar_is_named_and_its_images_are_made_again_once_it_is_removed() {
    for (options, shard) in [(&SET[..], "x-00001.tar"), (&SET, "x-00004.tar"), (&[], "x.tar")] {
        let directory = tempfile::tempdir().unwrap();
        let (out, target) = (directory.path(), directory.path().join("x.tar"));
        run(&target, options, &NAMES).done();
        let whole = outputs(out);
        assert!(
            options.is_empty() == (whole.len() == 2) && (options.is_empty() || whole.len() > 6),
            "{:?}",
            whole.keys()
        );
        let shard = out.join(shard);
        for (what, bytes) in damaged(&fs::read(&shard).unwrap()) {
            fs::write(&shard, &bytes).unwrap();
            let before = files(out);
            // The same images, or others that are to be added.
            for names in [&NAMES[..], &["jpeg-444.jpg", "gif-plain.gif"]] {
                let refused = run(&target, options, names);
                assert!(refused.stderr.contains("hint: remove it"), "{what}: {refused:?}");
                refused.failed(2, &format!("error: {}: is damaged: ", shard.display()));
                assert!(files(out) == before, "{what}");
            }
            fs::remove_file(&shard).unwrap();
            run(&target, options, &NAMES).done();
            assert!(outputs(out) == whole, "{what}: {:?}", files(out).keys());
        }
    }
}

#[test]
fn a_set_with_gaps_is_filled() {
    let directory = tempfile::tempdir().unwrap();
    let (out, target) = (directory.path(), directory.path().join("x.tar"));
    run(&target, &SET, &NAMES).done();
    let whole = outputs(out);
    let all = samples(out);
    assert_eq!(all.len(), NAMES.len());
    for removed in [&[0][..], &[1], &[1, 2], &[0, 2, 4], &[8], &[0, 1, 2, 3, 4, 5, 6, 7, 8]] {
        for number in removed {
            fs::remove_file(out.join(format!("x-{number:05}.tar"))).unwrap();
        }
        run(&target, &SET, &NAMES).done();
        assert!(outputs(out) == whole, "{removed:?}: {:?}", files(out).keys());
        // Others than were there go into the gaps too.
        if removed.len() == 2 {
            fs::remove_file(out.join("x-00001.tar")).unwrap();
            run(&target, &SET, &["png-grey-2.png", "png-grey-4.png"]).done();
            run(&target, &SET, &NAMES).done();
            let found = samples(out);
            assert!(found.len() == all.len() + 2 && all.iter().all(|name| found.contains(name)), "{found:?}");
            run(&target, &[&SET[..], &["--overwrite"]].concat(), &NAMES).done();
            assert!(outputs(out) == whole);
        }
    }
}

/// Waits for a running child to come so far.
fn wait_for(child: &mut std::process::Child, is_so_far: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so_far() {
        assert!(child.try_wait().unwrap().is_none(), "it ended early");
        assert!(started.elapsed() < Duration::from_secs(60), "it does not come so far");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn what_a_kill_left_in_a_set_goes_on_wherever_files_were_removed() {
    let directory = tempfile::tempdir().unwrap();
    let (out, target) = (directory.path(), directory.path().join("x.tar"));
    // A list that does not end keeps the fifth file growing.
    let mut child = extract(&target, &[&SET[..], &["--files-from", "-"]].concat(), &[])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut list = child.stdin.take().unwrap();
    writeln!(list, "{}", NAMES[..10].join("\n")).unwrap();
    wait_for(&mut child, || out.join("x-00003.tar").exists() && out.join(".x-00004.tar.partial").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    fs::remove_file(out.join("x-00000.tar")).unwrap();
    run(&target, &SET, &NAMES).done();
    let mut expected: Vec<String> =
        NAMES.iter().map(|name| name.split('.').next().unwrap().to_owned()).collect();
    expected.sort();
    assert_eq!(samples(out), expected);
    assert!(
        files(out).keys().all(|name| !name.to_str().unwrap().starts_with('.')),
        "{:?}",
        files(out).keys()
    );
    // Of a file that is finished too, as from a backup, nothing that was begun counts.
    let part = fs::read(out.join("x-00001.tar")).unwrap();
    fs::write(out.join(".x-00001.tar.partial"), &part[..part.len() - 1024]).unwrap();
    run(&target, &SET, &NAMES).done();
    assert_eq!(samples(out), expected);
    assert!(!out.join(".x-00001.tar.partial").exists());
}

#[test]
fn a_set_that_is_overwritten_is_not_mixed_with_the_old_one() {
    let directory = tempfile::tempdir().unwrap();
    let (out, target) = (directory.path(), directory.path().join("x.tar"));
    run(&target, &SET, &NAMES).done();
    // Killed after its first files: the same command, which goes on, adds to no file of the old set.
    let options = [&SET[..], &["--overwrite", "--files-from", "-"]].concat();
    let mut child = extract(&target, &options, &[]).stdin(Stdio::piped()).spawn().unwrap();
    let mut list = child.stdin.take().unwrap();
    writeln!(list, "{}", NAMES[10..16].join("\n")).unwrap();
    let old = fs::read(out.join("x-00000.tar")).unwrap();
    wait_for(&mut child, || fs::read(out.join("x-00000.tar")).is_ok_and(|bytes| bytes != old));
    child.kill().unwrap();
    child.wait().unwrap();
    run(&target, &SET, &NAMES[10..]).done();
    let mut expected: Vec<String> =
        NAMES[10..].iter().map(|name| name.split('.').next().unwrap().to_owned()).collect();
    expected.sort();
    assert_eq!(samples(out), expected);
}

#[test]
fn a_cut_tar_of_a_directory_of_tars_is_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let (input, out) = (directory.path().join("in"), directory.path().join("out"));
    fs::create_dir(&input).unwrap();
    for (tar, names) in [("a.tar.gz", &NAMES[..5]), ("b.tar", &NAMES[5..10])] {
        let mut builder = tar::Builder::new(Vec::new());
        for name in names {
            builder.append_path_with_name(fixture("images").join(name), name).unwrap();
        }
        let bytes = builder.into_inner().unwrap();
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&bytes).unwrap();
        let bytes = if tar.ends_with(".gz") { packed.finish().unwrap() } else { bytes };
        fs::write(input.join(tar), bytes).unwrap();
    }
    // A shard without images has an output too.
    fs::write(input.join("c.tar"), [0; 1024]).unwrap();
    let run = || run(&out, &["--json"], &[input.to_str().unwrap()]);
    assert_eq!(run().code, Some(0));
    let whole = outputs(&out);
    for name in ["a.tar", "b.tar", "c.tar"] {
        let bytes = &whole[Path::new(name)];
        for cut in [1, 512, 700, 1024, 1536, bytes.len() / 2, bytes.len()] {
            if cut > bytes.len() {
                continue;
            }
            fs::write(out.join(name), &bytes[..bytes.len() - cut]).unwrap();
            let outcome = run();
            assert_eq!(outcome.code, Some(0));
            let count = |status: &str| outcome.text().matches(&format!("\"status\":\"{status}\"")).count();
            assert_eq!(count("done"), if name == "c.tar" { 0 } else { 5 }, "{name} cut by {cut}");
            assert_eq!(count("skipped"), 2, "the others are passed over whole");
            assert!(outputs(&out) == whole, "{name} cut by {cut}: {:?}", files(&out).keys());
        }
    }
}

#[test]
fn a_cut_file_of_a_directory_is_made_again() {
    let tensors = ["--tensor", "pixel_values", "--tensor", "last_hidden_state"];
    for (options, file) in [
        (&["--format", "npy"][..], "png-rgb-8.npy"),
        (&["--format", "npy", "--dtype", "f16"], "png-rgb-8.npy"),
        (&["--format", "safetensors"], "png-rgb-8.safetensors"),
        (&[&["--format", "npy"], &tensors[..]].concat(), "png-rgb-8.last_hidden_state.npy"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("out/");
        run(&out, options, &NAMES[..3]).done();
        let whole = outputs(&out);
        let path = out.join(file);
        let bytes = &whole[Path::new(file)];
        for length in [0, 7, 100, 128, bytes.len() / 2, bytes.len() - 1] {
            fs::write(&path, &bytes[..length]).unwrap();
            let mut again = command();
            again.current_dir(fixture("images")).arg("-m").arg(tiny()).arg("-o").arg(&out);
            let again: Outcome = again.args(options).args(&NAMES[..3]).output().unwrap().into();
            assert_eq!(again.code, Some(0), "{again:?}");
            let told = format!("warning: png-rgb-8.png: {} was cut, and is made again\n", path.display());
            assert!(again.stderr.starts_with(&told), "{file} of {length} bytes: {again:?}");
            assert!(
                again.stderr.contains("1 done, 2 complete before"),
                "{file} of {length} bytes: {again:?}"
            );
            assert!(outputs(&out) == whole, "{file} of {length} bytes");
        }
        // So is what is longer, or another's: the manifest says that the name is an image's.
        for other in [&[bytes, &b"and more"[..]].concat()[..], b"a note of somebody else's"] {
            fs::write(&path, other).unwrap();
            run(&out, options, &NAMES[..3]);
            assert!(outputs(&out) == whole);
        }
    }
}

#[test]
fn an_emptied_file_is_damaged_or_made_again() {
    for (target, options, file) in [
        ("x.tar", &[][..], "x.tar"),
        ("x.tar", &SET, "x-00001.tar"),
        ("x.safetensors", &[], "x.safetensors"),
        ("x.safetensors", &["--shard-size", "60KB"], "x-00001.safetensors"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let (out, target) = (directory.path(), directory.path().join(target));
        run(&target, options, &NAMES).done();
        let whole = files(out);
        fs::write(out.join(file), "").unwrap();
        let refused = run(&target, options, &NAMES).failed(2, &format!("{file}: is damaged: "));
        assert!(refused.stderr.contains("hint: remove it"), "{refused:?}");
        fs::remove_file(out.join(file)).unwrap();
        run(&target, options, &NAMES).done();
        assert_eq!(files(out).len(), whole.len(), "{file}");
    }
}

#[test]
fn a_removed_shard_of_named_tensors_is_made_again() {
    let options = ["--shard-size", "60KB"];
    let directory = tempfile::tempdir().unwrap();
    let (out, target) = (directory.path(), directory.path().join("x.safetensors"));
    run(&target, &options, &NAMES).done();
    let keys = |out: &Path| -> Vec<String> {
        let mut keys = Vec::new();
        for bytes in files(out).iter().filter(|(name, _)| name.extension() == Some("safetensors".as_ref())) {
            let archive = safetensors::SafeTensors::deserialize(bytes.1).unwrap();
            keys.extend(archive.names().into_iter().map(str::to_owned));
        }
        keys.sort();
        keys
    };
    let whole = keys(out);
    assert!(whole.len() == NAMES.len() && files(out).len() > 2, "{:?}", files(out).keys());
    let shard = |out: &Path| {
        files(out).into_keys().find(|name| name.to_str().unwrap().starts_with("x-00001.")).unwrap()
    };
    let path = out.join(shard(out));
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 100]).unwrap();
    run(&target, &options, &NAMES).failed(2, "is damaged: ");
    fs::remove_file(path).unwrap();
    run(&target, &options, &NAMES).done();
    assert_eq!(keys(out), whole);
}

#[test]
fn a_lost_manifest_is_told_as_such() {
    for (target, options, first) in [
        ("x.npy", &[][..], "x.npy"),
        ("x.npy", &["--shard-size", "60KB"], "x-00000.npy"),
        ("x.safetensors", &[], "x.safetensors"),
        ("x.safetensors", &["--shard-size", "60KB"], "x-00000.safetensors"),
        ("x.tar", &[], "x.tar"),
        ("x.tar", &SET, "x-00000.tar"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let (out, target) = (directory.path(), directory.path().join(target));
        run(&target, options, &NAMES).done();
        let (whole, manifest) = (files(out), out.join("x.manifest.jsonl"));
        let bytes = fs::read(&manifest).unwrap();
        fs::remove_file(&manifest).unwrap();
        let before = files(out);
        for names in [&NAMES[..], &["png-grey-2.png", "png-grey-4.png"]] {
            let refused = run(&target, options, names);
            assert!(refused.stderr.contains("\nhint: --overwrite starts over"), "{refused:?}");
            let told = format!("{first}: exists, and there is no x.manifest.jsonl beside it");
            refused.failed(2, &told);
            assert!(files(out) == before);
        }
        fs::write(&manifest, bytes).unwrap();
        run(&target, options, &NAMES).done();
        assert!(files(out) == whole);
    }
}

#[test]
fn a_tar_without_images_is_told_of() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("ends.tar"), [0; 10240]).unwrap();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&[0; 1024]).unwrap();
    fs::write(at("ends-too.tar.gz"), packed.finish().unwrap()).unwrap();
    fs::write(at("nothing.tar"), "").unwrap();
    for (input, code, told) in [
        ("ends.tar", 0, "warning: ends.tar: holds no images"),
        ("ends-too.tar.gz", 0, "warning: ends-too.tar.gz: holds no images"),
        ("nothing.tar", 1, "error: nothing.tar: is empty"),
    ] {
        for target in ["x.tar", "y.npy", "z.safetensors", "mirror/"] {
            let mut command = command();
            command.current_dir(directory.path()).arg("-m").arg(tiny()).args(["-o", target, input]);
            let outcome = Outcome::from(command.output().unwrap());
            assert_eq!(outcome.code, Some(code), "{input} {target}: {outcome:?}");
            assert_eq!(outcome.stderr.matches(told).count(), 1, "{input} {target}: {outcome:?}");
        }
    }
    let piped = feed(command().arg("-m").arg(tiny()).args(["-o", "-", "-"]).current_dir(at("")), &[]);
    assert_eq!(piped.code, Some(1), "{piped:?}");
}

#[test]
fn a_refused_run_leaves_the_manifest_of_a_directory_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("out/");
    let again = || run(&target, &["--format", "npy"], &NAMES[..5]);
    let manifest = target.join("manifest.jsonl");
    again().done();
    let lines = fs::read(&manifest).unwrap();

    fs::remove_file(&manifest).unwrap();
    again().failed(2, ".npy: exists, and the manifest does not list it");
    assert!(!manifest.exists());
    let mut garbled = lines.clone();
    garbled[0] = b'#';
    for other in [&garbled[..], b"{\xff", b"", b"[1]\n"] {
        fs::write(&manifest, other).unwrap();
        again().failed(
            2,
            &format!("error: {}: exists, and is no manifest of clip-features", manifest.display()),
        );
        assert!(fs::read(&manifest).unwrap() == other);
    }
    let newer = String::from_utf8(lines.clone()).unwrap().replace("{\"version\":1,", "{\"version\":2,");
    fs::write(&manifest, newer).unwrap();
    again()
        .failed(2, "was written by a newer version of clip-features: its format is 2, and 1 is known here");
    fs::write(&manifest, &lines).unwrap();
    again().done();
    assert!(fs::read(&manifest).unwrap() == lines);
}
