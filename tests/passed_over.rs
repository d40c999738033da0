//! What is passed over is told of.
#![cfg(feature = "cli")]

mod support;

use std::{fs, path::Path, process::Stdio};

use serde_json::Value;
use support::{
    fixture,
    run::{Outcome, command, feed, tar, tiny},
};

const HEIC: &[u8] = b"\0\0\0\x18ftypheic\0\0\0\0heicmif1";

fn run(directory: &Path, words: &[&str]) -> Outcome {
    let mut command = command();
    let command = command.current_dir(directory).arg("-m").arg(tiny()).args(words);
    command.stdin(Stdio::null()).output().unwrap().into()
}

fn summary(outcome: &Outcome) -> Value {
    let last: Value = serde_json::from_str(outcome.text().lines().last().unwrap()).unwrap();
    last["summary"].clone()
}

fn picture() -> Vec<u8> {
    fs::read(fixture("images/png-rgb-8.png")).unwrap()
}

#[test]
fn pictures_that_are_not_read_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir_all(at("phone/sub")).unwrap();
    for (name, bytes) in [
        ("a.png", &picture()[..]),
        ("b.HEIC", HEIC),
        ("sub/c.heic", b""),
        ("sub/without-a-name", HEIC),
        ("d.jxl", b"x"),
        ("e.tar.xz", b"x"),
        ("f.txt", b"text"),
    ] {
        fs::write(at("phone").join(name), bytes).unwrap();
    }
    fs::write(at("phone/t.tar"), tar(&[("1.png", &picture()), ("2.heic", HEIC), ("2.txt", b"x")])).unwrap();
    let told = "warning: 6 files of formats that are not read: 4 .heic, 1 .jxl, 1 .tar.xz";
    let whole = run(directory.path(), &["phone", "--json", "-o", "x.npy"]);
    assert_eq!(whole.code, Some(0), "{whole:?}");
    assert!(whole.stderr.contains(told), "{whole:?}");
    let summary = summary(&whole);
    assert_eq!((&summary["done"], &summary["failed"]), (&2.into(), &0.into()), "{whole:?}");
    let expected = serde_json::json!({ "heic": 4, "jxl": 1, "tar.xz": 1 });
    assert_eq!(summary["not_read"], expected);
    // Of tars it is known once they are read.
    let plan = run(directory.path(), &["phone", "--dry-run", "--json", "-o", "y.npy"]).done();
    let plan: Value = serde_json::from_str(plan.text()).unwrap();
    assert_eq!(plan["not_read"], serde_json::json!({ "heic": 3, "jxl": 1, "tar.xz": 1 }));

    fs::remove_file(at("phone/a.png")).unwrap();
    fs::remove_file(at("phone/t.tar")).unwrap();
    let none = "there are no images in the inputs, but 3 .heic, 1 .jxl, 1 .tar.xz, which are not read";
    run(directory.path(), &["phone", "-o", "z.npy"]).failed(2, none);
}

#[test]
fn an_image_that_is_named_twice_is_told_of() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["a.png", "b.png"] {
        fs::write(directory.path().join(name), picture()).unwrap();
    }
    fs::write(directory.path().join("list"), "a.png\nb.png\n./a.png\na.png\n").unwrap();
    let told = "warning: 2 images are named more than once, and taken once";
    for words in
        [&["--files-from", "list", "-o", "x.npy"][..], &["a.png", "b.png", "a.png", "a.png", "-o", "y.npy"]]
    {
        let outcome = run(directory.path(), &[words, &["--json"]].concat());
        assert_eq!((outcome.code, &summary(&outcome)["done"]), (Some(0), &2.into()), "{outcome:?}");
        assert!(outcome.stderr.contains(told), "{outcome:?}");
    }
}

#[test]
fn a_tar_behind_a_tar_is_told_of() {
    let one = tar(&[("a.png", &picture())]);
    let both = [&one[..], &one].concat();
    for (bytes, is_told) in [(&one, false), (&both, true)] {
        let mut command = command();
        let outcome = feed(command.arg("-m").arg(tiny()).arg("-"), bytes);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        assert_eq!(outcome.stderr.contains("another tar follows its end"), is_told, "{outcome:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_link_to_what_never_ends_is_not_opened() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.png"), picture()).unwrap();
    std::os::unix::fs::symlink("/proc/kmsg", directory.path().join("log")).unwrap();
    let outcome = run(Path::new("/"), &[directory.path().to_str().unwrap(), "-q"]).done();
    assert_eq!(outcome.text().lines().count(), 1);
}

#[test]
fn a_picture_behind_a_picture_is_told_of() {
    let follows = |bytes: &[u8], part: &str| {
        let mut command = command();
        let outcome = feed(command.arg("-m").arg(tiny()).arg("-"), bytes);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        assert_eq!(outcome.stderr.contains("in the same file"), !part.is_empty(), "{outcome:?}");
        assert!(outcome.stderr.contains(part), "{part}: {outcome:?}");
    };
    let jpeg = fs::read(fixture("images/jpeg-420.jpg")).unwrap();
    let inside = tar(&[("a.png", &picture())]);
    for first in [&picture(), &jpeg] {
        follows(first, "");
        follows(&[&first[..], b"\n"].concat(), "");
        follows(&[first, HEIC].concat(), "");
        for second in [&picture(), &jpeg] {
            let told =
                format!("another picture follows the picture in the same file, {} bytes", second.len());
            follows(&[&first[..], second].concat(), &told);
        }
        follows(&[&first[..], &inside].concat(), "a tar follows the picture in the same file");
    }
}

/// What a camera roll has, and formats that Pillow writes: of each a name, its bytes, and whether it is read, told of, or no picture.
fn collection() -> Vec<(String, Vec<u8>, What)> {
    let read = [
        ("AVIF", "more/avif-420.avif"),
        ("BMP", "bmp-24.bmp"),
        ("DDS", "more/dds-dxt1.dds"),
        ("GIF", "gif-plain.gif"),
        ("ICO", "more/ico-png.ico"),
        ("JPEG", "jpeg-420.jpg"),
        ("PCX", "more/pcx-rgb.pcx"),
        ("PNG", "png-rgb-8.png"),
        ("PPM", "pnm-p3-100.ppm"),
        ("QOI", "more/qoi-rgb.qoi"),
        ("SGI", "more/sgi-rgb-plain.sgi"),
        ("TGA", "more/tga-rgba.tga"),
        ("TIFF", "more/tiff-cmyk.tiff"),
        ("WEBP", "webp-lossy.webp"),
        ("IMG_0001", "jpeg-exif-6.jpg"),
    ];
    let read = read.into_iter().map(|(name, file)| {
        let extension = file.rsplit_once('.').unwrap().1;
        (format!("{name}.{extension}"), fs::read(fixture("images").join(file)).unwrap(), What::Read)
    });
    let others = [
        ("JXL.jxl", &b"\xff\x0a\x18\x10\x09"[..], What::Told),
        ("ICNS.icns", b"icns\0\0\0\x08", What::Told),
        ("PDF.pdf", b"%PDF-1.4", What::Told),
        ("EPS.eps", b"%!PS-Adobe-3.0 EPSF-3.0", What::Told),
        ("IMG_0002.HEIC", HEIC, What::Told),
        ("IMG_0003.DNG", b"a camera's", What::Nothing),
        ("IMG_0004.MOV", b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", What::Nothing),
        ("IMG_0004.AAE", b"<?xml version=\"1.0\"?>", What::Nothing),
        // A picture by its name that is none, or another.
        ("IMG_0005.JPG", HEIC, What::Fails),
        ("IMG_0006.PNG", b"\x89PNG\r\n\x1a\n", What::Fails),
        ("IMG_0007.JPG", b"<html>", What::Fails),
        ("IMG_0008.JPG", b"", What::Fails),
    ];
    read.chain(others.map(|(name, bytes, what)| (name.to_owned(), bytes.to_owned(), what))).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Read,
    Told,
    Nothing,
    Fails,
}

#[test]
fn every_file_is_in_one_count_or_another() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let files = collection();
    let count = |what: What| files.iter().filter(|(.., of)| *of == what).count() as u64;
    fs::create_dir_all(at("photos/phone")).unwrap();
    for (name, bytes, _) in &files {
        let place = if name.starts_with("IMG") { "photos/phone" } else { "photos" };
        fs::write(at(place).join(name), bytes).unwrap();
    }
    let members: Vec<_> = files.iter().map(|(name, bytes, _)| (name.as_str(), bytes.as_slice())).collect();
    fs::write(at("both.tar"), tar(&members)).unwrap();
    let plan = run(directory.path(), &["photos", "--dry-run", "--json", "-o", "x.npy"]).done();
    let plan: Value = serde_json::from_str(plan.text()).unwrap();
    let [images, passed_over] = ["images", "passed_over"].map(|name| plan[name].as_u64().unwrap());
    assert_eq!(images, count(What::Read) + count(What::Fails));
    assert_eq!(passed_over, count(What::Told) + count(What::Nothing));
    assert_eq!(images + passed_over, files.len() as u64);
    let expected = serde_json::json!({ "eps": 1, "heic": 1, "icns": 1, "jxl": 1, "pdf": 1 });
    assert_eq!(plan["not_read"], expected);
    for (input, output) in [("photos", "x.npy"), ("both.tar", "y.npy")] {
        let outcome = run(directory.path(), &[input, "--json", "-o", output]);
        let summary = summary(&outcome);
        let [done, failed] = ["done", "failed"].map(|name| summary[name].as_u64().unwrap());
        assert_eq!((done, failed), (count(What::Read), count(What::Fails)), "{input}: {outcome:?}");
        assert_eq!(summary["not_read"], expected, "{input}: {outcome:?}");
        assert!(outcome.stderr.contains("IMG_0005.JPG: HEIC is not read"), "{outcome:?}");
        assert!(outcome.stderr.contains("IMG_0007.JPG: an HTML page, not an image"), "{outcome:?}");
    }
    // Of parts the first says what was met beside the images, so that the sums of all are the whole's.
    let mut sums = [0, 0, 0];
    for part in ["0/3", "1/3", "2/3"] {
        let outcome = run(directory.path(), &["photos", "--json", "-o", "out/", "--part", part]);
        let summary = summary(&outcome);
        let not_read = summary["not_read"].as_object().into_iter().flat_map(|kinds| kinds.values());
        sums[0] += summary["done"].as_u64().unwrap();
        sums[1] += summary["failed"].as_u64().unwrap();
        sums[2] += not_read.map(|count| count.as_u64().unwrap()).sum::<u64>();
    }
    assert_eq!(sums, [What::Read, What::Fails, What::Told].map(count));
}

#[test]
fn what_is_no_tar_is_told_as_what_it_is() {
    let directory = tempfile::tempdir().unwrap();
    for (bytes, told) in [
        (&b"BZh91AY&SY and so on"[..], "a bzip2 archive, not a tar, plain or packed with gzip"),
        (b"\xfd7zXZ\0 and so on", "an xz archive, not a tar"),
        (b"\x28\xb5\x2f\xfd and so on", "a Zstandard archive, not a tar"),
        (b"<!DOCTYPE html><html>", "an HTML page, not a tar"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer, not a tar"),
        (b"\x89PNG\r\n\x1a\n", "PNG, not a tar"),
    ] {
        fs::write(directory.path().join("x.tar"), bytes).unwrap();
        run(directory.path(), &["x.tar", "-q"]).failed(1, &format!("x.tar: {told}"));
    }
    fs::write(directory.path().join("x.jpg"), b"version https://git-lfs.github.com/spec/v1\noid sha256:0")
        .unwrap();
    let told = "x.jpg: a Git LFS pointer, not the image that it stands for\nhint: git lfs pull";
    run(directory.path(), &["x.jpg"]).failed(1, told);
}

#[cfg(target_os = "linux")]
#[test]
fn what_never_ends_is_refused_by_its_first_bytes() {
    // Within an address space that does not hold two gigabytes of it.
    let limited = |script: &str| -> Outcome {
        let binary = env!("CARGO_BIN_EXE_clip-features");
        let script = format!("ulimit -v 1500000; exec {script}").replace("BIN", binary);
        let mut shell = std::process::Command::new("sh");
        shell.arg("-c").arg(script).arg("sh").arg(tiny()).stdin(Stdio::null()).output().unwrap().into()
    };
    for script in ["BIN --threads 1 -m \"$1\" /dev/zero", "BIN --threads 1 -m \"$1\" - < /dev/zero"] {
        limited(script).failed(1, "a file of zeros, not an image");
    }
}
