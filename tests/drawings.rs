//! `--heatmap` and `--pca`: pictures of one image, and of the images of a folder.

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
        draw("dinov2-registers", &format!("{line} --heatmap OUT/{name}.png"), out.path()).done();
        open(&out.path().join(format!("{name}.png")))
    };
    let norms = drawn("", "norms");
    let (width, height) = norms.dimensions();
    assert!(width > 600 && width < 760 && height > 400 && height < 480, "{width} x {height}");
    assert_eq!(norms, drawn("--grid", "grid"), "the same patches in another layout");
    let likeness = drawn("--tokens patch --query 2,3", "likeness");
    assert_ne!(norms, likeness);
    draw("vision", "--heatmap OUT/x.png --query 5,0", out.path())
        .failed(2, "5 rows and 5 columns of patches");
    draw("dinov3-gated", "--heatmap OUT/y.png --query 3,5", out.path()).done();
    draw("vision", "--heatmap OUT/no/x.png", out.path()).failed(2, "does not exist");
    assert!(!out.path().join("x.png").exists());
}

#[test]
fn principal_components_are_the_same_bytes_each_time() {
    let out = tempfile::tempdir().unwrap();
    for (checkpoint, line) in [("vision", ""), ("siglip-vision", ""), ("dinov2-registers", "--layer -2")] {
        for (name, threads) in [("one", 1), ("two", 2)] {
            let line = format!("{line} --threads {threads} --pca OUT/{name}.png");
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
    let (input, maps, colours) = (photos.to_str().unwrap(), at("maps/"), at("colours"));
    for output in ["features/", "x.safetensors", "x.npy", "x.tar", ""] {
        for name in [&maps, &colours] {
            let _ = fs::remove_dir_all(name);
        }
        let output = at(output);
        let mut words = vec![input, "--heatmap", &maps, "--pca", &colours];
        if Path::new(&output) != directory.path() {
            words.extend(["-o", &output]);
        }
        assert_eq!(done(&words), 3);
        let drawn = files(Path::new(&maps));
        let names: Vec<&str> = drawn.keys().map(String::as_str).collect();
        assert_eq!(names, ["a.png", "b.png", "manifest.json", "manifest.jsonl", "sub dir/c.png"]);
        assert_eq!(files(Path::new(&colours)).keys().collect::<Vec<_>>(), drawn.keys().collect::<Vec<_>>());
        let alone = at("alone.png");
        run([photos.join("a.jpg").to_str().unwrap(), "--heatmap", &alone]).done();
        assert!(fs::read(&alone).unwrap() == drawn["a.png"], "a picture does not depend on its neighbours");

        // What is drawn and written is not done again, but a picture that is missing is.
        let before = files(directory.path());
        assert_eq!(done(&words), 0, "{output}");
        fs::remove_file(Path::new(&colours).join("b.png")).unwrap();
        assert_eq!(done(&words), 1, "{output}");
        let after = files(directory.path());
        assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
        assert!(before == after, "{output}: other bytes");
    }
}

#[test]
fn pictures_of_other_settings_or_origin_stay() {
    let directory = tempfile::tempdir().unwrap();
    let photos = photos(directory.path());
    let maps = directory.path().join("maps");
    let words = [photos.to_str().unwrap(), "--heatmap", maps.to_str().unwrap()];
    let with = |more: &[&str]| run(words.iter().chain(more));
    assert_eq!(done(&words), 3);
    let before = files(&maps);
    let refused = with(&["--query", "1,1"])
        .failed(2, "holds outputs of other settings: drawing is \"norm\", not \"cosine\"");
    assert!(
        refused.stderr.contains("hint: --overwrite starts anew, another --heatmap keeps both"),
        "{refused:?}"
    );
    with(&["--layer", "-2"]).failed(2, "holds outputs of other settings");
    assert!(files(&maps) == before);
    fs::remove_file(maps.join("manifest.jsonl")).unwrap();
    let refused = with(&[]).failed(2, "does not say that it is ours");
    assert!(refused.stderr.contains("hint: --overwrite replaces it"), "{refused:?}");
    assert_eq!(fs::read(maps.join("a.png")).unwrap(), before["a.png"]);
    // What the hints say is done, with pictures alone and beside tensors that know nothing of it.
    assert_eq!(done(&[&words[..], &["--query", "1,1", "--overwrite"]].concat()), 3);
    assert_ne!(fs::read(maps.join("a.png")).unwrap(), before["a.png"]);
    assert_eq!(done(&[&words[..], &["--overwrite"]].concat()), 3);
    assert!(files(&maps) == before);
    with(&["--overwrite", "--shard", "0/2"]).failed(2, "one part of a job cannot start a directory anew");
    let file = maps.join("a.png").to_str().unwrap().to_owned();
    let one = photos.join("a.jpg").to_str().unwrap().to_owned();
    run([&one, "--pca", &file, "--overwrite"]).done();
    run([&one, "--overwrite"]).failed(2, "--overwrite replaces files, and none are written");
}

#[test]
fn a_picture_goes_to_standard_output_alone() {
    let directory = tempfile::tempdir().unwrap();
    let photos = photos(directory.path());
    let (one, file) = (photos.join("a.jpg"), directory.path().join("x.png"));
    let (one, file) = (one.to_str().unwrap(), file.to_str().unwrap());
    for option in ["--heatmap", "--pca"] {
        run([one, option, file]).done();
        let mut command = command();
        command.current_dir(directory.path()).arg("--model").arg(fixture("checkpoints/vision"));
        let printed = Outcome::from(command.args([one, option, "-"]).output().unwrap()).done();
        assert!(printed.stdout == fs::read(file).unwrap(), "{option}");
        assert!(!directory.path().join("-").exists());
        run([one, option, "-", "--json"]).failed(2, "both need standard output");
        run([one, option, "-", "-o", "-"]).failed(2, "both need standard output");
        run([photos.to_str().unwrap(), option, "-"]).failed(2, "takes the picture of one image");
    }
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut unread = command();
    unread.arg("--model").arg(fixture("checkpoints/vision")).args([one, "--pca", "-"]).stdout(writer);
    let child = unread.stderr(std::process::Stdio::piped()).spawn().unwrap();
    Outcome::from(child.wait_with_output().unwrap()).done();
    run([one, "--heatmap", "-", "--pca", "-"]).failed(2, "--heatmap - and --pca - both need standard output");
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
        let refused = run([input, "--heatmap", output]);
        let reason = format!("pictures would be drawn among the images of {input}, which is an input");
        let refused = refused.failed(2, &reason);
        assert!(refused.stderr.contains("hint: give them a directory of their own, such as --heatmap "));
        run([input, "--pca", output, "--overwrite"]).failed(2, &reason);
    }
    // A list may name what the pictures would replace.
    let list = directory.path().join("list");
    let listed = |names: &str| {
        fs::write(&list, names).unwrap();
        let mut listed = command();
        listed.current_dir(&photos).arg("--model").arg(fixture("checkpoints/vision"));
        listed.args(["--files-from", list.to_str().unwrap(), "--heatmap", ".", "--overwrite", "-q"]);
        Outcome::from(listed.output().unwrap())
    };
    listed("a.jpg\n").done();
    listed("a.jpg\nb.png\n").failed(2, "./b.png: would be written over b.png");
    // So may the command line.
    let mut named = command();
    named.current_dir(&photos).arg("--model").arg(fixture("checkpoints/vision"));
    named.args(["sub dir/c.bmp", "b.png", "--heatmap", ".", "--overwrite", "-q"]);
    Outcome::from(named.output().unwrap()).failed(2, "./b.png: would be written over");
    let after = files(directory.path());
    assert!(before.iter().all(|(name, bytes)| after[name] == *bytes));
    assert!(
        after.contains_key("photos/a.png"),
        "what is named is drawn of, though it lies where it is drawn"
    );
}

#[test]
fn pictures_among_the_images_are_not_drawn_of() {
    let directory = tempfile::tempdir().unwrap();
    let photos = photos(directory.path());
    let maps = photos.join("maps");
    let words = [photos.to_str().unwrap(), "--heatmap", maps.to_str().unwrap()];
    assert_eq!(done(&words), 3);
    assert_eq!(done(&words), 0);
    assert_eq!(files(&maps).len(), 5);
}

#[test]
fn pictures_that_another_run_drew_among_the_images_are_none_of_them() {
    let directory = tempfile::tempdir().unwrap();
    let photos = photos(directory.path());
    let at = |name: &str| photos.join(name).to_str().unwrap().to_owned();
    let (input, maps) = (photos.to_str().unwrap(), at("maps"));
    assert_eq!(done(&[input, "--heatmap", &maps]), 3);
    assert_eq!(done(&[input, "--pca", &at("colours"), "--keep-extension"]), 3);
    // One that is named is drawn beside itself.
    let mut named = command();
    named.current_dir(at("sub dir")).arg("--model").arg(fixture("checkpoints/vision"));
    Outcome::from(named.args(["c.bmp", "--heatmap", "./", "-q"]).output().unwrap()).done();
    assert!(Path::new(&at("sub dir/c.png")).exists());
    assert_eq!(done(&[input]), 3);
    // A photograph that lies there is an image, and so are pictures that are asked for.
    fs::copy(at("b.png"), at("maps/z.png")).unwrap();
    assert_eq!(done(&[input]), 4);
    let asked =
        |input: &str| run([input, "--json", "-q"]).done().text().matches("\"status\":\"done\"").count();
    assert_eq!(asked(&maps), 4);
    assert_eq!(asked(&at("maps/a.png")), 1);
    // A folder of nothing else says so.
    let only = directory.path().join("only");
    fs::create_dir(&only).unwrap();
    assert_eq!(done(&[input, "--heatmap", only.join("maps").to_str().unwrap()]), 4);
    let told = "there are no images in the inputs, but 4 pictures that were drawn of some\nhint: name their own directory";
    run([only.to_str().unwrap(), "-q"]).failed(2, told);
    // Where there are tars beside them, all images are in tars.
    let tars = directory.path().join("tars");
    fs::create_dir(&tars).unwrap();
    let mut builder = tar::Builder::new(fs::File::create(tars.join("x.tar")).unwrap());
    builder.append_path_with_name(at("a.jpg"), "a.jpg").unwrap();
    builder.finish().unwrap();
    let out = directory.path().join("out");
    let [tars, out] = [&tars, &out].map(|path| path.to_str().unwrap());
    run([tars, "--heatmap", &format!("{tars}/maps"), "-q"]).done();
    run([tars, "-o", out, "-q"]).done();
    assert!(Path::new(out).join("x.tar").exists());
    // Without their journal nobody says that they were drawn.
    fs::remove_file(at("maps/manifest.jsonl")).unwrap();
    assert_eq!(done(&[input]), 7);
}

#[test]
fn a_picture_without_components_is_told_of() {
    let directory = tempfile::tempdir().unwrap();
    let photos = photos(directory.path());
    let (one, file) = (photos.join("a.jpg"), directory.path().join("x.png"));
    let words = [one.to_str().unwrap(), "--pca", file.to_str().unwrap(), "--image-size", "6"];
    let drawn = run(words);
    assert_eq!(drawn.code, Some(0), "{drawn:?}");
    let told = "its patches do not differ, and are drawn grey (pca)";
    assert_eq!(drawn.stderr, format!("warning: {}: {told}\n", words[0]));
    run(words.iter().chain(&["-q"])).done();
    run([words[0], "--heatmap", words[2], "--image-size", "6"]).done();
}

#[test]
fn what_would_get_in_the_way_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let photos = photos(directory.path());
    fs::copy(photos.join("b.png"), photos.join("a.png")).unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (input, maps, archive) = (photos.to_str().unwrap(), at("maps"), at("x.safetensors"));
    let with = |more: &[&str]| run([input].iter().chain(more));
    with(&["--heatmap", &maps, "-o", &archive]).failed(2, "would both be written to");
    with(&["--heatmap", &maps, "--pca", &maps]).failed(2, "more than one thing would be written there");
    with(&["--heatmap", &maps, "-o", &at("./maps/")]).failed(2, "more than one thing");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("drawn.png", at("link.npy")).unwrap();
        let one = photos.join("b.png");
        let both = run([one.to_str().unwrap(), "-o", &at("link.npy"), "--heatmap", &at("drawn.png")]);
        both.failed(2, "more than one thing would be written there");
    }
    with(&["--heatmap", &at("x.png")]).failed(2, "one file for several images");
    assert!(!Path::new(&maps).exists() && !Path::new(&archive).exists());
    assert_eq!(done(&[input, "--heatmap", &maps, "-o", &archive, "--keep-extension"]), 4);
    assert!(Path::new(&maps).join("a.jpg.png").exists() && Path::new(&maps).join("a.png.png").exists());
}
