//! `--draw`: pictures of one image, and of the images of a folder.
#![cfg(feature = "cli")]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use image::RgbImage;
use support::{
    fixture,
    run::{Outcome, command, run},
};

/// A checkpoint on a picture of 600 × 400, given options, in a directory of outputs.
fn draw(checkpoint: &str, line: &str, out: &Path) -> Outcome {
    let mut command = command();
    command.arg("--model").arg(fixture("checkpoints").join(checkpoint)).arg(fixture("images/coffee.png"));
    let words = line.split_whitespace().map(|word| word.replace("OUT", out.to_str().unwrap()));
    command.args(words).output().unwrap().into()
}

fn open(path: &Path) -> RgbImage {
    image::open(path).unwrap().to_rgb8()
}

#[test]
fn a_heatmap_is_drawn_over_the_picture_with_a_bar() {
    let out = tempfile::tempdir().unwrap();
    let drawn = |line: &str, name: &str| {
        draw("dinov2-registers", &format!("{line} -o OUT/{name}.png"), out.path()).done();
        open(&out.path().join(format!("{name}.png")))
    };
    let norms = drawn("--draw norm", "norms");
    let (width, height) = norms.dimensions();
    assert!(width > 600 && width < 760 && height > 400 && height < 480, "{width} x {height}");
    assert_eq!(norms, drawn("--draw norm --grid", "grid"), "the same patches in another layout");
    let likeness = drawn("--draw 2,3 --tokens patch", "likeness");
    assert_ne!(norms, likeness);
    // Alone, the picture has the photograph's own size, here 600 x 400, and of pca the crop's.
    for what in ["norm:bare", "2,3:bare"] {
        assert_eq!(drawn(&format!("--draw {what}"), "bare").dimensions(), (600, 400), "{what}");
    }
    assert_eq!(drawn("--draw pca:bare", "bare").dimensions(), (512, 512));
    draw("vision", "--draw 5,0 -o OUT/x.png", out.path()).failed(2, "5 rows and 5 columns of patches");
    draw("dinov3-gated", "--draw 3,5 -o OUT/y.png", out.path()).done();
    draw("vision", "--draw norm:plain -o OUT/x.png", out.path()).failed(2, "is nothing to draw");
    draw("vision", "--draw norm -o OUT/no/x.png", out.path()).failed(2, "does not exist");
    assert!(!out.path().join("x.png").exists());
}

#[test]
fn principal_components_are_the_same_bytes_each_time() {
    let out = tempfile::tempdir().unwrap();
    for (checkpoint, line) in [("vision", ""), ("siglip-vision", ""), ("dinov2-registers", "--layer -2")] {
        for (name, threads) in [("one", 1), ("two", 2)] {
            let line = format!("{line} --threads {threads} --draw pca -o OUT/{name}.png");
            draw(checkpoint, &line, out.path()).done();
        }
        let [one, two] = ["one.png", "two.png"].map(|name| fs::read(out.path().join(name)).unwrap());
        assert!(one == two, "{checkpoint}");
        let figure = open(&out.path().join("one.png"));
        assert!(figure.width() > 2 * 512 && figure.height() < 640, "{:?}", figure.dimensions());
    }
}

/// Three pictures and a broken one, one of them deeper down.
fn photos(root: &Path) -> PathBuf {
    let photos = root.join("photos");
    fs::create_dir_all(photos.join("sub dir")).unwrap();
    for (name, at) in [("jpeg-420.jpg", "a.jpg"), ("png-rgb-8.png", "b.png"), ("bmp-24.bmp", "sub dir/c.bmp")]
    {
        fs::copy(fixture("images").join(name), photos.join(at)).unwrap();
    }
    fs::write(photos.join("broken.png"), "").unwrap();
    photos
}

fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = walkdir::WalkDir::new(root).into_iter().map(|entry| entry.unwrap());
    let files = files.filter(|entry| entry.file_type().is_file());
    files
        .map(|entry| {
            let name = entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// Runs on a folder, in which one image fails, and gives how many others were done.
fn done(arguments: &[&str]) -> usize {
    let outcome = run(arguments.iter().chain(&["--json", "-q"]));
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    outcome.text().lines().filter(|line| line.contains("\"status\":\"done\"")).count()
}

#[test]
fn a_folder_gets_a_picture_for_each_image_and_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let photos = photos(directory.path());
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (input, maps) = (photos.to_str().unwrap(), at("maps/"));
    for what in ["norm", "pca", "1,2"] {
        let _ = fs::remove_dir_all(&maps);
        let words = [input, "--draw", what, "-o", &maps];
        assert_eq!(done(&words), 3);
        let drawn = files(Path::new(&maps));
        let names: Vec<&str> = drawn.keys().map(String::as_str).collect();
        assert_eq!(names, ["a.png", "b.png", "manifest.jsonl", "sub dir/c.png"]);
        let alone = at("alone.png");
        run([photos.join("a.jpg").to_str().unwrap(), "--draw", what, "-o", &alone]).done();
        assert!(fs::read(&alone).unwrap() == drawn["a.png"], "a picture does not depend on its neighbours");

        // What is drawn is not drawn again, but a picture that is missing is.
        let before = files(directory.path());
        assert_eq!(done(&words), 0, "{what}");
        assert!(before == files(directory.path()), "{what}: a finished output is touched");
        fs::remove_file(Path::new(&maps).join("b.png")).unwrap();
        assert_eq!(done(&words), 1, "{what}");
        let after = files(Path::new(&maps));
        assert!(drawn.iter().all(|(name, bytes)| name.ends_with("jsonl") || after[name] == *bytes));
    }
}

#[test]
fn pictures_of_other_settings_or_origin_stay() {
    let directory = tempfile::tempdir().unwrap();
    let photos = photos(directory.path());
    let maps = directory.path().join("maps");
    let words = [photos.to_str().unwrap(), "-o", maps.to_str().unwrap(), "--draw"];
    let words = |what: &'static str| [&words[..], &[what]].concat();
    let with = |what, more: &[&str]| run(words(what).iter().chain(more));
    assert_eq!(done(&words("norm")), 3);
    let before = files(&maps);
    let refused = with("1,1", &[]).failed(2, "made with drawing norm, not 1,1");
    assert!(refused.stderr.contains("hint: --overwrite starts over, another -o keeps both"), "{refused:?}");
    with("norm", &["--layer", "-2"]).failed(2, "made with layer -1, not -2");
    assert!(files(&maps) == before);
    fs::remove_file(maps.join("manifest.jsonl")).unwrap();
    let refused = with("norm", &[]).failed(2, "the manifest does not list it");
    assert!(refused.stderr.contains("hint: --overwrite replaces it"), "{refused:?}");
    assert_eq!(fs::read(maps.join("a.png")).unwrap(), before["a.png"]);
    // What the hints say is done.
    assert_eq!(done(&[&words("1,1")[..], &["--overwrite"]].concat()), 3);
    assert_ne!(fs::read(maps.join("a.png")).unwrap(), before["a.png"]);
    assert_eq!(done(&[&words("norm")[..], &["--overwrite"]].concat()), 3);
    let after = files(&maps);
    assert!(before.iter().all(|(name, bytes)| name.ends_with("jsonl") || after[name] == *bytes));
    with("norm", &["--overwrite", "--part", "0/2"])
        .failed(2, "one part of a job cannot start over a directory");
    let file = maps.join("a.png").to_str().unwrap().to_owned();
    let one = photos.join("a.jpg").to_str().unwrap().to_owned();
    run([&one, "--draw", "pca", "-o", &file]).failed(2, "is an output of another run");
    run([&one, "--draw", "pca", "-o", &file, "--overwrite"]).done();
    run([&one, "--overwrite"]).failed(2, "--overwrite replaces files, and none are written");
}

#[test]
fn a_picture_goes_to_standard_output_alone() {
    let directory = tempfile::tempdir().unwrap();
    let photos = photos(directory.path());
    let (one, file) = (photos.join("a.jpg"), directory.path().join("x.png"));
    let (one, file) = (one.to_str().unwrap(), file.to_str().unwrap());
    for what in ["norm", "pca"] {
        run([one, "--draw", what, "-o", file]).done();
        let mut command = command();
        command.current_dir(directory.path()).arg("--model").arg(fixture("checkpoints/vision"));
        let printed = Outcome::from(command.args([one, "--draw", what, "-o", "-"]).output().unwrap()).done();
        assert!(printed.stdout == fs::read(file).unwrap(), "{what}");
        assert!(!directory.path().join("-").exists());
        run([one, "--draw", what, "-o", "-", "--json"]).failed(2, "both need standard output");
        run([photos.to_str().unwrap(), "--draw", what, "-o", "-"])
            .failed(2, "takes the picture of one image");
    }
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut unread = command();
    unread
        .arg("--model")
        .arg(fixture("checkpoints/vision"))
        .args([one, "--draw", "pca", "-o", "-"])
        .stdout(writer);
    let child = unread.stderr(std::process::Stdio::piped()).spawn().unwrap();
    Outcome::from(child.wait_with_output().unwrap()).done();
}

#[test]
fn pictures_are_not_drawn_over_or_among_the_images() {
    let directory = tempfile::tempdir().unwrap();
    let photos = photos(directory.path());
    fs::remove_file(photos.join("broken.png")).unwrap();
    let before = files(directory.path());
    let input = photos.to_str().unwrap();
    let slash = format!("{input}/");
    for output in [input, &slash] {
        let refused = run([input, "--draw", "norm", "-o", output]);
        let reason = format!("pictures would be drawn among the images of {input}, which is an input");
        let refused = refused.failed(2, &reason);
        assert!(refused.stderr.contains("hint: give them a directory of their own, such as -o "));
        run([input, "--draw", "pca", "-o", output, "--overwrite"]).failed(2, &reason);
    }
    // A list may name what the pictures would replace.
    let list = directory.path().join("list");
    let listed = |names: &str| {
        fs::write(&list, names).unwrap();
        let mut listed = command();
        listed.current_dir(&photos).arg("--model").arg(fixture("checkpoints/vision"));
        let list = list.to_str().unwrap();
        listed.args(["--files-from", list, "--draw", "norm", "-o", ".", "--overwrite", "-q"]);
        Outcome::from(listed.output().unwrap())
    };
    listed("a.jpg\n").done();
    assert!(photos.join("a.png").exists(), "what is named is drawn of, though it lies where it is drawn");
    listed("a.jpg\nb.png\n").failed(2, "./b.png: would be written over b.png");
    // So may the command line.
    let mut named = command();
    named.current_dir(&photos).arg("--model").arg(fixture("checkpoints/vision"));
    named.args(["sub dir/c.bmp", "b.png", "--draw", "norm", "-o", ".", "--overwrite", "-q"]);
    Outcome::from(named.output().unwrap()).failed(2, "./b.png: would be written over");
    let after = files(directory.path());
    assert!(before.iter().all(|(name, bytes)| after[name] == *bytes));
}

#[test]
fn pictures_among_the_images_are_not_drawn_of() {
    let directory = tempfile::tempdir().unwrap();
    let photos = photos(directory.path());
    let maps = photos.join("maps");
    let words = [photos.to_str().unwrap(), "--draw", "norm", "-o", maps.to_str().unwrap()];
    assert_eq!(done(&words), 3);
    assert_eq!(done(&words), 0);
    assert_eq!(files(&maps).len(), 4);
}

#[test]
fn pictures_that_another_run_drew_among_the_images_are_none_of_them() {
    let directory = tempfile::tempdir().unwrap();
    let photos = photos(directory.path());
    let at = |name: &str| photos.join(name).to_str().unwrap().to_owned();
    let (input, maps) = (photos.to_str().unwrap(), at("maps"));
    assert_eq!(done(&[input, "--draw", "norm", "-o", &maps]), 3);
    assert_eq!(done(&[input, "--draw", "pca", "-o", &at("colours"), "--keep-extension"]), 3);
    assert_eq!(done(&[input]), 3);
    // Pictures that are asked for are images.
    let asked =
        |input: &str| run([input, "--json", "-q"]).done().text().matches("\"status\":\"done\"").count();
    assert_eq!(asked(&maps), 3);
    assert_eq!(asked(&at("maps/a.png")), 1);
    // A folder of nothing else says so.
    let only = directory.path().join("only");
    fs::create_dir(&only).unwrap();
    let drawn = only.join("maps");
    assert_eq!(done(&[input, "--draw", "norm", "-o", drawn.to_str().unwrap()]), 3);
    run([only.to_str().unwrap(), "-q"]).failed(2, "there are no images in the inputs");
    // Where there are tars beside them, all images are in tars.
    let tars = directory.path().join("tars");
    fs::create_dir(&tars).unwrap();
    let mut builder = tar::Builder::new(fs::File::create(tars.join("x.tar")).unwrap());
    builder.append_path_with_name(at("a.jpg"), "a.jpg").unwrap();
    builder.finish().unwrap();
    let out = directory.path().join("out");
    let [tars, out] = [&tars, &out].map(|path| path.to_str().unwrap());
    run([tars, "--draw", "norm", "-o", &format!("{tars}/maps"), "-q"]).done();
    run([tars, "-o", out, "-q"]).done();
    assert!(Path::new(out).join("x.tar").exists());
    // Without their manifest nobody says that they were drawn.
    fs::remove_file(at("maps/manifest.jsonl")).unwrap();
    assert_eq!(done(&[input]), 6);
}

#[test]
fn a_picture_without_components_is_told_of() {
    let directory = tempfile::tempdir().unwrap();
    let photos = photos(directory.path());
    let (one, file) = (photos.join("a.jpg"), directory.path().join("x.png"));
    let words = [one.to_str().unwrap(), "--draw", "pca", "-o", file.to_str().unwrap(), "--image-size", "6"];
    let drawn = run(words);
    assert_eq!(drawn.code, Some(0), "{drawn:?}");
    let told = "its patches do not differ, and are drawn grey (pca)";
    assert_eq!(drawn.stderr, format!("warning: {}: {told}\n", words[0]));
    run(words.iter().chain(&["-q"])).done();
    run([words[0], "--draw", "norm", "-o", words[4], "--image-size", "6"]).done();
}

#[test]
fn what_would_get_in_the_way_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let photos = photos(directory.path());
    fs::copy(photos.join("b.png"), photos.join("a.png")).unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (input, maps) = (photos.to_str().unwrap(), at("maps"));
    let with = |output: &str, more: &[&str]| run([input, "--draw", "norm", "-o", output].iter().chain(more));
    with(&maps, &[]).failed(2, "would both be written to");
    with(&at("x.png"), &[]).failed(2, "one file for several images");
    with(&at("x.npy"), &[]).failed(2, "the format png contradicts");
    run([input, "--draw", "norm"]).failed(2, "--draw makes a picture, and nothing is written");
    assert!(run([input, "--draw", "what", "-o", &maps]).stderr.contains("is nothing to draw"));
    assert!(!Path::new(&maps).exists());
    assert_eq!(done(&[input, "--draw", "norm", "-o", &maps, "--keep-extension"]), 4);
    assert!(Path::new(&maps).join("a.jpg.png").exists() && Path::new(&maps).join("a.png.png").exists());
}
