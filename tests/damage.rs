//! What was written is damaged, cut or gone: it is refused by name or made again, never called complete, and nothing is there twice.

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

/// So many that they fill eight shards of 20 KB, and one is left for the last.
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

const SET: [&str; 2] = ["--shard-size", "20KB"];

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

/// The pictures in the tars of a directory, each as often as it is there, sorted.
fn samples(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for (name, bytes) in files(root) {
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
    let flipped = |at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 4;
        bytes
    };
    // The second sample's first header, behind the settings and the first sample.
    let headers: Vec<usize> =
        (0..bytes.len()).step_by(512).filter(|at| bytes[*at..].get(257..262) == Some(b"ustar")).collect();
    vec![
        ("cut by 700 bytes", cut(700)),
        ("without the mark of its end", cut(1024)),
        ("with half of the mark", cut(512)),
        ("without its last byte", cut(1)),
        ("cut in the middle", cut(bytes.len() / 2)),
        ("with a flipped name", flipped(headers[3] + 2)),
        ("with a flipped size", flipped(headers[4] + 128)),
        ("with something behind it", [bytes, b"and more"].concat()),
    ]
}

#[test]
fn a_damaged_tar_is_named_and_its_images_are_made_again_once_it_is_removed() {
    for (options, shard) in [(&SET[..], "x-000001.tar"), (&SET, "x-000004.tar"), (&[], "x.tar")] {
        let directory = tempfile::tempdir().unwrap();
        let (out, target) = (directory.path(), directory.path().join("x.tar"));
        run(&target, options, &NAMES).done();
        let whole = files(out);
        assert!(
            options.is_empty() == (whole.len() == 1) && (options.is_empty() || whole.len() > 5),
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
            assert!(files(out) == whole, "{what}: {:?}", files(out).keys());
        }
    }
}

#[test]
fn a_set_with_gaps_is_filled() {
    let directory = tempfile::tempdir().unwrap();
    let (out, target) = (directory.path(), directory.path().join("x.tar"));
    run(&target, &SET, &NAMES).done();
    let whole = files(out);
    let all = samples(out);
    assert_eq!(all.len(), NAMES.len());
    for removed in [&[0][..], &[1], &[1, 2], &[0, 2, 4], &[8], &[0, 1, 2, 3, 4, 5, 6, 7, 8]] {
        for number in removed {
            fs::remove_file(out.join(format!("x-{number:06}.tar"))).unwrap();
        }
        run(&target, &SET, &NAMES).done();
        assert!(files(out) == whole, "{removed:?}: {:?}", files(out).keys());
        // Others than were there go into the gaps too.
        if removed.len() == 2 {
            fs::remove_file(out.join("x-000001.tar")).unwrap();
            run(&target, &SET, &["png-grey-2.png", "png-grey-4.png"]).done();
            run(&target, &SET, &NAMES).done();
            let found = samples(out);
            assert!(found.len() == all.len() + 2 && all.iter().all(|name| found.contains(name)), "{found:?}");
            run(&target, &[&SET[..], &["--overwrite"]].concat(), &NAMES).done();
            assert!(files(out) == whole);
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
    wait_for(&mut child, || out.join("x-000003.tar").exists() && out.join(".x-000004.tar.partial").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    fs::remove_file(out.join("x-000000.tar")).unwrap();
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
    let part = fs::read(out.join("x-000001.tar")).unwrap();
    fs::write(out.join(".x-000001.tar.partial"), &part[..part.len() - 1024]).unwrap();
    run(&target, &SET, &NAMES).done();
    assert_eq!(samples(out), expected);
    assert!(!out.join(".x-000001.tar.partial").exists());
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
    let old = fs::read(out.join("x-000000.tar")).unwrap();
    wait_for(&mut child, || fs::read(out.join("x-000000.tar")).is_ok_and(|bytes| bytes != old));
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
    let whole = files(&out);
    for name in ["a.tar", "b.tar", "c.tar"] {
        let bytes = &whole[Path::new(name)];
        for cut in [1, 512, 700, 1024, 1536, bytes.len() / 2, bytes.len()] {
            if name == "c.tar" && cut > 1024 && cut < bytes.len() {
                continue; // it does not say any more that it is ours, and is refused as a stranger's
            }
            fs::write(out.join(name), &bytes[..bytes.len() - cut]).unwrap();
            let outcome = run();
            assert_eq!(outcome.code, Some(0));
            let count = |status: &str| outcome.text().matches(&format!("\"status\":\"{status}\"")).count();
            assert_eq!(count("done"), if name == "c.tar" { 0 } else { 5 }, "{name} cut by {cut}");
            assert_eq!(count("skipped"), 2, "the others are passed over whole");
            assert!(files(&out) == whole, "{name} cut by {cut}: {:?}", files(&out).keys());
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
        let whole = files(&out);
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
            assert!(files(&out) == whole, "{file} of {length} bytes");
        }
        // What is as long as it says, or longer, or another's, is not replaced.
        for other in [&[bytes, &b"and more"[..]].concat()[..], b"a note of somebody else's"] {
            fs::write(&path, other).unwrap();
            let before = files(&out);
            run(&out, options, &NAMES[..3]).done();
            assert!(files(&out) == before);
        }
    }
}

#[test]
fn an_emptied_file_is_damaged_or_made_again() {
    for (target, options, file) in [
        ("x.tar", &[][..], "x.tar"),
        ("x.tar", &SET, "x-000001.tar"),
        ("x.safetensors", &[], "x.safetensors"),
        ("x.safetensors", &["--shard-size", "60KB"], "x-00001-of-00002.safetensors"),
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
        files(out).into_keys().find(|name| name.to_str().unwrap().starts_with("x-00001-of")).unwrap()
    };
    let path = out.join(shard(out));
    fs::write(&path, &fs::read(&path).unwrap()[..9000]).unwrap();
    run(&target, &options, &NAMES).failed(2, "is damaged: ");
    fs::remove_file(path).unwrap();
    run(&target, &options, &NAMES).done();
    assert_eq!(keys(out), whole);
}

#[test]
fn a_lost_index_is_told_as_such() {
    for (target, options, index) in [
        ("x.npy", &[][..], "x.index.jsonl"),
        ("x.npy", &["--shard-size", "60KB"], "x.index.jsonl"),
        ("x.safetensors", &["--shard-size", "60KB"], "x.safetensors.index.json"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let (out, target) = (directory.path(), directory.path().join(target));
        run(&target, options, &NAMES).done();
        let (whole, index) = (files(out), out.join(index));
        let bytes = fs::read(&index).unwrap();
        fs::remove_file(&index).unwrap();
        let before = files(out);
        for names in [&NAMES[..], &["png-grey-2.png", "png-grey-4.png"]] {
            let refused = run(&target, options, names);
            assert_eq!(refused.stderr.matches(index.to_str().unwrap()).count(), 1, "{refused:?}");
            assert!(refused.stderr.contains("\nhint: "), "{refused:?}");
            refused.failed(2, &format!("error: {}: is missing, and ", index.display()));
            assert!(files(out) == before);
        }
        fs::write(&index, bytes).unwrap();
        run(&target, options, &NAMES).done();
        assert!(files(out) == whole);
        fs::remove_file(&index).unwrap();
        run(&target, &[options, &["--overwrite"]].concat(), &NAMES[..2]).done();
        let found = files(out);
        assert!(found.keys().all(|name| !name.to_str().unwrap().contains("-of-")), "{:?}", found.keys());
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
        for target in ["x.tar", "x.npy", "x.safetensors", "mirror/"] {
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
fn a_refused_run_leaves_the_journal_of_a_directory_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("out/");
    let again = || run(&target, &["--format", "npy"], &NAMES[..5]);
    let (journal, manifest) = (target.join("manifest.jsonl"), target.join("manifest.json"));
    let refused = "manifest.jsonl does not say that it is ours";
    again().done();
    let (lines, settings) = (fs::read(&journal).unwrap(), fs::read(&manifest).unwrap());

    fs::remove_file(&manifest).unwrap();
    again().failed(2, refused);
    assert!(fs::read(&journal).unwrap() == lines);
    fs::write(&manifest, settings).unwrap();
    again().done();

    let bytes = fs::read(&manifest).unwrap();
    fs::write(&manifest, b"{\xff").unwrap();
    again().failed(2, &format!("error: {}: is no manifest of ours: is no UTF-8 text", manifest.display()));
    fs::write(&manifest, bytes).unwrap();

    let mut garbled = lines.clone();
    garbled[0] = b'#';
    fs::write(&journal, &garbled).unwrap();
    again().failed(2, refused);
    assert!(fs::read(&journal).unwrap() == garbled);
    fs::write(&journal, &lines).unwrap();
    again().done();
}
