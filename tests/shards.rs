//! Tars in, tars out, and a job that is split.
#![cfg(feature = "cli")]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::Path,
    process::{Child, Stdio},
};

use support::{
    fixture,
    run::{Outcome, command, feed, run, tiny},
};
use tar::{Archive, Builder, EntryType, Header};

const PICTURES: [&str; 6] = [
    "jpeg-420.jpg",
    "png-rgb-8.png",
    "jpeg-gray.jpg",
    "gif-interlaced.gif",
    "bmp-24.bmp",
    "png-palette-4.png",
];

fn pictures() -> Vec<(String, Vec<u8>)> {
    let images = fixture("images");
    let found: Vec<_> = PICTURES.iter().filter(|name| images.join(name).exists()).collect();
    assert!(found.len() >= 4, "{found:?}");
    found.into_iter().map(|name| ((*name).to_owned(), fs::read(images.join(name)).unwrap())).collect()
}

/// A shard of samples: each picture under a number, with a caption and an empty `json`.
fn shard(first: usize, count: usize) -> Vec<u8> {
    let pictures = pictures();
    let mut members = Vec::new();
    for number in first..first + count {
        let (name, bytes) = &pictures[number % pictures.len()];
        let extension = name.rsplit('.').next().unwrap();
        members.push((format!("{number:06}.{extension}"), bytes.clone()));
        members.push((format!("{number:06}.txt"), format!("picture {number}").into_bytes()));
        members.push((format!("{number:06}.json"), b"{}".to_vec()));
    }
    pack(&members)
}

fn pack(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        // The builder refuses what an attacker would write.
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, bytes.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// The members of a tar, in order.
fn members(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = Archive::new(bytes);
    let files = archive.entries().unwrap().map(Result::unwrap);
    files
        .filter(|entry| entry.header().entry_type() == EntryType::Regular)
        .map(|mut entry| {
            assert_eq!((entry.header().mode().unwrap(), entry.header().mtime().unwrap()), (0o644, 0));
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().to_str().unwrap().to_owned(), content)
        })
        .collect()
}

fn names(bytes: &[u8]) -> Vec<String> {
    members(bytes).into_iter().map(|(name, _)| name).collect()
}

/// All files below a directory, hidden ones and ledgers of parts too.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root).into_iter().map(Result::unwrap) {
        if entry.file_type().is_file() {
            let name = entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            found.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    found
}

/// The same, but for what manifests say: a killed run says that it began.
fn outputs(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let bytes = |(name, bytes): (String, Vec<u8>)| match name.ends_with(".jsonl") {
        true => (name, Vec::new()),
        false => (name, bytes),
    };
    files(root).into_iter().map(bytes).collect()
}

/// A directory with shards of ten samples each.
fn shards(root: &Path, count: usize) {
    fs::create_dir_all(root.join("sub")).unwrap();
    for number in 0..count {
        let name = if number % 2 == 0 { format!("{number:05}.tar") } else { format!("sub/{number:05}.tar") };
        fs::write(root.join(name), shard(10 * number, 10)).unwrap();
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_directory_repeats_its_shards_with_what_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let (input, output) = (directory.path().join("in"), directory.path().join("out"));
    shards(&input, 3);
    fs::write(input.join("00000.parquet"), "beside").unwrap();
    run([&text(&input), "-o", &text(&output), "--keep", "txt", "-q"]).done();
    let found = files(&output);
    let expected = ["00000.tar", "00002.tar", "manifest.jsonl", "sub/00001.tar"];
    assert_eq!(found.keys().collect::<Vec<_>>(), expected);
    let members = members(&found["sub/00001.tar"]);
    assert_eq!(members.len(), 30);
    let name = |place: usize| members[place].0.as_str();
    assert_eq!([name(0), name(1), name(2)], ["000010.npy", "000010.txt", "000010.features.json"]);
    assert_eq!(members[1].1, b"picture 10");
    let facts: serde_json::Value = serde_json::from_slice(&members[2].1).unwrap();
    assert_eq!(facts["shape"], serde_json::json!([1, 26, 36]));
    assert!(facts.get("seconds").is_none() && facts.get("output").is_none());

    // The same features as of the file itself.
    let (name, bytes) = &pictures()[10 % pictures().len()];
    let alone = directory.path().join(name);
    fs::write(&alone, bytes).unwrap();
    assert_eq!(run([&text(&alone), "-o", "-"]).done().stdout, members[0].1);

    // Listed tars are repeated where that is asked for, as a list is not read before the run.
    let list = directory.path().join("list");
    fs::write(&list, format!("{}\n{}\n", text(&input.join("00000.tar")), text(&input.join("sub/00001.tar"))))
        .unwrap();
    let listed = directory.path().join("listed");
    run(["--files-from", &text(&list), "-o", &text(&listed), "--format", "tar", "--keep", "txt", "-q"])
        .done();
    let tars: Vec<_> = files(&listed).into_iter().filter(|(name, _)| name.ends_with(".tar")).collect();
    assert_eq!((tars.len(), names(&tars[1].1)), (2, names(&found["sub/00001.tar"])));

    // It exists, so it is done; and done again it is the same.
    let again = run([&text(&input), "-o", &text(&output), "--keep", "txt", "--json"]);
    assert_eq!(again.code, Some(0));
    assert_eq!(again.text().lines().filter(|line| line.contains("\"status\":\"skipped\"")).count(), 3);
    run([&text(&input), "-o", &text(&output), "--keep", "txt", "-q", "--overwrite"]).done();
    assert_eq!(files(&output), found);
    run([&text(&input), "-o", &text(&output), "--layer", "-2"]).failed(2, "made with layer -1, not -2");
}

#[test]
fn a_tar_on_standard_input_is_told_by_its_content() {
    let bytes = shard(0, 4);
    let mut packed = Vec::new();
    flate2::read::GzEncoder::new(&bytes[..], flate2::Compression::fast()).read_to_end(&mut packed).unwrap();
    let piped = |bytes: &[u8], more: &[&str]| {
        feed(command().arg("-m").arg(tiny()).args(["-", "-o", "-", "-q"]).args(more), bytes).done().stdout
    };
    let found = piped(&bytes, &[]);
    assert_eq!(names(&found).len(), 8);
    assert_eq!(piped(&packed, &[]), found);
    let several = names(&piped(&bytes, &["--tensor", "pooler_output", "--tensor", "last_hidden_state"]));
    let first = ["000000.pooler_output.npy", "000000.last_hidden_state.npy", "000000.features.json"];
    assert_eq!(several[..3], first);
    // One array after the other, where that is asked for.
    let arrays = piped(&bytes, &["--format", "npy"]);
    assert!(arrays.starts_with(b"\x93NUMPY"));
}

#[test]
fn one_tar_takes_images_from_anywhere() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&directory.path().join(name));
    fs::write(at("a.tar"), shard(0, 4)).unwrap();
    let picture = text(&fixture("images/png-rgb-8.png"));
    run([&at("a.tar"), &picture, "-o", &at("x.tar"), "-q"]).done();
    let found = names(&fs::read(at("x.tar")).unwrap());
    assert_eq!(found.len(), 10);
    assert!(found[0] == "000000.npy" && found[8].ends_with("images/png-rgb-8.npy"), "{found:?}");
    // Every other destination takes them too.
    run([&at("a.tar"), "-o", &at("z.safetensors"), "-q"]).done();
    run([&at("a.tar"), "-o", &at("tree/"), "--format", "npy", "-q"]).done();
    let tree = files(&directory.path().join("tree"));
    assert_eq!(tree.keys().filter(|name| name.ends_with("/000003.npy")).count(), 1, "{:?}", tree.keys());
    // In files of a limited size; a sample never spans two.
    run([&at("a.tar"), "-o", &at("y.tar"), "--shard-size", "14KB", "-q"]).done();
    let parts: Vec<_> = (0..).map_while(|index| fs::read(at(&format!("y-{index:05}.tar"))).ok()).collect();
    assert!((2..=4).contains(&parts.len()));
    assert!(parts.iter().all(|part| part.len() <= 14_000));
    let both: Vec<String> = parts.iter().flat_map(|part| names(part)).collect();
    assert_eq!(both, names(&fs::read(at("x.tar")).unwrap())[..8]);
}

#[test]
fn what_was_written_among_the_inputs_is_none_of_them() {
    for output in [&["-o", "all.tar"][..], &["-o", "all.tar", "--shard-size", "20KB"], &["-o", "features/"]] {
        let directory = tempfile::tempdir().unwrap();
        shards(directory.path(), 2);
        let again = || {
            let mut command = command();
            command.current_dir(directory.path()).args([".", "-q", "-m"]).arg(tiny()).args(output);
            Outcome::from(command.output().unwrap()).done();
            files(directory.path())
        };
        let first = again();
        assert!(first.len() > 2, "{output:?}: {:?}", first.keys());
        assert!(again() == first, "{output:?}");
    }
}

#[test]
fn of_several_images_in_a_sample_one_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&directory.path().join(name));
    let (_, jpeg) = &pictures()[0];
    let members = [("a.jpg", jpeg), ("a.seg.png", &pictures()[1].1), ("b.jpg", jpeg)];
    let members: Vec<_> = members.map(|(name, bytes)| (name.to_owned(), bytes.clone())).to_vec();
    fs::write(at("a.tar"), pack(&members)).unwrap();
    let refused = run([&at("a.tar"), "-o", &at("x.tar"), "-q"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("several images, jpg, seg.png: image-key"), "{}", refused.stderr);
    assert!(refused.stderr.contains("\nhint: --image-key EXT takes one\n"), "{}", refused.stderr);
    run([&at("a.tar"), "-o", &at("y.tar"), "-q", "--image-key", "seg.png,jpg"]).done();
    let facts = &self::members(&fs::read(at("y.tar")).unwrap())[1].1;
    assert!(String::from_utf8_lossy(facts).contains("a.seg.png"));
}

#[test]
fn a_damaged_shard_keeps_what_came_before_and_is_done_again() {
    let directory = tempfile::tempdir().unwrap();
    let (input, output) = (directory.path().join("in"), directory.path().join("out"));
    fs::create_dir(&input).unwrap();
    let good = shard(0, 10);
    let extract = || run([&text(&input), "-o", &text(&output), "-q"]);
    for cut in [good.len() * 2 / 3, good.len() - 1024, 700, 0] {
        fs::write(input.join("a.tar"), &good[..cut]).unwrap();
        let outcome = extract();
        assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
        let told = if cut == 0 { "a.tar: is empty" } else { "at byte" };
        assert!(outcome.stderr.contains(told) && outcome.stderr.lines().count() == 1, "{}", outcome.stderr);
        if cut > 1000 {
            assert!(!names(&fs::read(output.join("a.tar")).unwrap()).is_empty());
        }
    }
    fs::write(input.join("a.tar"), &good).unwrap();
    extract().done();
    assert_eq!(files(&output).keys().collect::<Vec<_>>(), ["a.tar", "manifest.jsonl"]);
    assert_eq!(names(&fs::read(output.join("a.tar")).unwrap()).len(), 20);
}

#[test]
fn hostile_names_stay_inside_and_doubled_keys_fail() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let picture = pictures()[0].1.clone();
    let outside = text(&at("outside.jpg"));
    let names_in = ["../../up.jpg", outside.as_str(), "a/../b.jpg", "c.txt", "up.jpg"];
    let members: Vec<_> = names_in.map(|name| (name.to_owned(), picture.clone())).to_vec();
    fs::write(at("in.tar"), pack(&members)).unwrap();
    for target in ["out.tar", "mirror/", "x.safetensors"] {
        let outcome = run([&text(&at("in.tar")), "-o", &text(&at(target)), "-q"]);
        assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("up"), "{}", outcome.stderr);
    }
    // Of two samples with one key the second fails in each run, though there is one by then.
    let again = run([&text(&at("in.tar")), "-o", &text(&at("mirror/")), "-q"]);
    assert_eq!(
        (again.code, again.stderr.matches("has a sample up already").count()),
        (Some(1), 1),
        "{again:?}"
    );
    let mut found: Vec<_> =
        fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    found.sort();
    let expected = ["in.tar", "mirror", "out.manifest.jsonl", "out.tar", "x.manifest.jsonl", "x.safetensors"];
    assert_eq!(found, expected);
    for name in names(&fs::read(at("out.tar")).unwrap()) {
        assert!(!name.starts_with('/') && !name.contains(".."), "{name}");
    }
}

/// Runs that are killed at many moments, each of which goes on where the one before was.
#[test]
fn a_killed_run_goes_on_and_gives_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let input = directory.path().join("in");
    shards(&input, 4);
    for (target, more) in [("out/", &[][..]), ("x.tar", &[]), ("y.tar", &["--shard-size", "20KB"])] {
        let start = |root: &Path| -> Child {
            let mut command = command();
            command
                .current_dir(directory.path())
                .arg("-m")
                .arg(tiny())
                .args(["in", "-q", "--keep", "txt,json", "-o"]);
            command.arg(root.join(target)).args(more).stdin(Stdio::null()).spawn().unwrap()
        };
        let root = |name: &str| {
            let root = directory.path().join(format!("{name}-{}", target.trim_end_matches('/')));
            fs::create_dir(&root).unwrap();
            root
        };
        let (whole, torn) = (root("whole"), root("torn"));
        assert!(start(&whole).wait().unwrap().success());
        for kill in 0..12 {
            let mut child = start(&torn);
            std::thread::sleep(std::time::Duration::from_millis(4 * kill));
            let _ = child.kill();
            child.wait().unwrap();
        }
        assert!(start(&torn).wait().unwrap().success());
        assert!(outputs(&torn) == outputs(&whole), "{target}: {:?}", files(&torn).keys());
    }
}

#[test]
fn parts_at_once_hold_together_what_one_run_holds() {
    let directory = tempfile::tempdir().unwrap();
    let input = directory.path().join("in");
    shards(&input, 5);
    let images = directory.path().join("images");
    fs::create_dir(&images).unwrap();
    for place in 0..14 {
        let (name, bytes) = &pictures()[place % pictures().len()];
        fs::write(images.join(format!("{place}-{name}")), bytes).unwrap();
    }
    for (source, target) in
        [(&input, "mirror/"), (&images, "tree/"), (&images, "x.safetensors"), (&images, "x.tar")]
    {
        let root = |name: &str| {
            let root = directory.path().join(format!("{name}-{}", target.trim_end_matches('/')));
            let _ = fs::create_dir(&root);
            root
        };
        let arguments = |root: &Path, part: Option<usize>| -> Vec<String> {
            let mut words = vec![
                text(source),
                "-o".into(),
                text(&root.join(target)),
                "-q".into(),
                "--keep-extension".into(),
            ];
            if target.contains("x.s") || target.contains("mirror") {
                words.pop();
            }
            words.extend(part.into_iter().flat_map(|part| ["--part".into(), format!("{part}/3")]));
            words
        };
        run(arguments(&root("whole"), None)).done();
        let parts = root("parts");
        let missing = |expected: &str| {
            let plan =
                run(arguments(&parts, Some(1)).into_iter().chain(["--dry-run".into(), "--json".into()]));
            let plan: serde_json::Value = serde_json::from_str(plan.done().text()).unwrap();
            assert_eq!(plan["missing"], expected, "{target}");
        };
        missing("0-2");
        if target == "tree/" || target == "x.safetensors" {
            // A thousand of them cost one look.
            let mut words = arguments(&parts, None);
            words.extend(["--part", "7/1000", "--dry-run", "--json"].map(String::from));
            let plan: serde_json::Value = serde_json::from_str(run(words).done().text()).unwrap();
            assert_eq!((&plan["parts"], &plan["missing"]), (&1000.into(), &"0-999".into()), "{target}");
        }
        let start = |part: usize| {
            let words = arguments(&parts, Some(part));
            command()
                .arg("-m")
                .arg(tiny())
                .args(words)
                .stderr(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let first = start(1);
        Outcome::from(first.wait_with_output().unwrap()).done();
        missing("0,2");
        let children: Vec<Child> = (0..3).map(start).collect();
        for child in children {
            Outcome::from(child.wait_with_output().unwrap()).done();
        }
        missing("");
        let (whole, found) = (files(&root("whole")), files(&parts));
        match target {
            "mirror/" | "tree/" => {
                let outputs = |files: &BTreeMap<String, Vec<u8>>| -> BTreeMap<String, Vec<u8>> {
                    files.clone().into_iter().filter(|(name, _)| !name.ends_with(".jsonl")).collect()
                };
                assert!(outputs(&found) == outputs(&whole), "{target}");
                if target == "mirror/" {
                    continue;
                }
                // An undivided run knows the parts' outputs as its own.
                let again = run(arguments(&parts, None).into_iter().chain(["--json".into()])).done();
                assert!(again.text().lines().all(|line| line.contains("skipped")));
            }
            "x.tar" => {
                let all = |files: &BTreeMap<String, Vec<u8>>| -> BTreeMap<String, Vec<u8>> {
                    files
                        .iter()
                        .filter(|(name, _)| name.ends_with(".tar"))
                        .flat_map(|(_, tar)| members(tar))
                        .collect()
                };
                assert_eq!(found.keys().next().unwrap(), "x.part-0-of-3.manifest.jsonl");
                assert_eq!(all(&found), all(&whole));
            }
            _ => assert_eq!(found.len(), 6, "files and manifests"),
        }
    }
    let refused =
        [text(&images), "-o".into(), text(&directory.path().join("tree")), "--part".into(), "0/2".into()];
    run(refused.into_iter().chain(["--overwrite".into()])).failed(2, "cannot start over a directory");
}

#[test]
fn what_means_nothing_is_refused() {
    let picture = text(&fixture("images/png-rgb-8.png"));
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&directory.path().join(name));
    run([&picture, "-o", &at("x.npy"), "--keep", "txt"]).failed(2, "--keep carries members over");
    run([&picture, "-o", &at("x.npy"), "--part", "0/2"]).failed(2, "--part splits the work");
    run([&picture, "-o", &at("x/"), "--format", "tar"]).failed(2, "needs tar inputs");
    run([&picture, "-o", &at("x.tar"), "--format", "npy"]).failed(2, "contradicts");
    run([&picture, "-o", &at("x.tar"), "--dtype", "bf16"]).failed(2, "no bfloat16");
    assert!(run([&picture, "--part", "2/2"]).stderr.contains("is no part"));
    assert_eq!(run([at("nosuch.tar"), "-o".into(), at("x.tar"), "-q".into()]).code, Some(1));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}
