//! Every tensor, layer, token, fit and size that the command line can ask for.
#![cfg(feature = "cli")]

mod support;

use std::{collections::BTreeMap, fs, path::Path, process::Stdio};

use safetensors::SafeTensors;
use serde_json::Value;
use support::{
    Golden, difference, fixture, golden,
    run::{Outcome, command},
};

const BOUND: f64 = 1e-6;

const PICTURE: &str = "coffee.png";

/// Runs the binary on coffee.png and a checkpoint of the fixtures; `more` are further arguments, `OUT` in them the
/// directory.
fn extract(kind: &str, more: &str, out: &Path) -> Outcome {
    let mut command = command();
    command.current_dir(fixture("images")).arg("--model").arg(fixture("checkpoints").join(kind)).arg(PICTURE);
    command.args(more.split_whitespace().map(|word| word.replace("OUT", out.to_str().unwrap())));
    command.stdin(Stdio::null()).output().unwrap().into()
}

/// The reference's tensors for coffee.png.
fn expected(kind: &str) -> BTreeMap<String, Golden> {
    let all = golden(format!("towers/{kind}.safetensors"));
    all.into_iter()
        .filter_map(|(name, value)| Some((name.strip_prefix("coffee.png/")?.to_owned(), value)))
        .collect()
}

/// Shape and elements of an `.npy` file that was written here.
fn npy(path: &Path) -> (String, Vec<f32>) {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let header = String::from_utf8_lossy(&bytes[10..128]).into_owned();
    let shape = header.split("'shape': ").nth(1).unwrap().split(", }").next().unwrap().to_owned();
    (shape, floats(&bytes[128..]))
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f64]) {
    let difference = difference(found, expected);
    assert!(difference.relative < BOUND, "{difference}");
}

/// serde_json reads numbers to the last bit but one.
#[track_caller]
fn assert_box(found: &Value, expected: [f64; 4]) {
    for (found, expected) in found.as_array().unwrap().iter().zip(expected) {
        assert!((found.as_f64().unwrap() - expected).abs() < 1e-9, "{found} for {expected}");
    }
}

#[test]
fn layer_minus_2_without_cls_is_llavas() {
    let out = tempfile::tempdir().unwrap();
    extract("vision", "--layer -2 --tokens patch -o OUT/x.npy", out.path()).done();
    let (shape, found) = npy(&out.path().join("x.npy"));
    assert_eq!(shape, "(1, 25, 36)");
    assert_close(&found, &expected("vision")["hidden_states.2"].values[36..]);
}

#[test]
fn every_tensor_is_in_the_file_under_its_name() {
    let out = tempfile::tempdir().unwrap();
    for (kind, tensors) in [
        ("clip-model", "hidden_states attentions last_hidden_state pooler_output image_embeds pixel_values"),
        ("siglip-model", "last_hidden_state hidden_states attentions pooler_output"),
        ("dinov2-registers", "pooler_output attentions hidden_states last_hidden_state"),
        ("dinov3", "pixel_values pooler_output attentions hidden_states last_hidden_state"),
    ] {
        let asked: String = tensors.split(' ').map(|name| format!("--tensor {name} ")).collect();
        extract(kind, &format!("{asked} -o OUT/{kind}.safetensors"), out.path()).done();
        let bytes = fs::read(out.path().join(format!("{kind}.safetensors"))).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let mut expected = expected(kind);
        expected.retain(|name, _| tensors.contains(name.split('.').next().unwrap()));
        assert!(expected.len() >= 9);
        assert_eq!(file.len(), expected.len(), "{:?}", file.names());
        for (name, expected) in expected {
            let tensor = file.tensor(&name).unwrap();
            assert_eq!(tensor.shape(), expected.shape, "{kind} {name}");
            assert_close(&floats(tensor.data()), &expected.values);
        }
    }
}

#[test]
fn several_tensors_are_several_npy_files() {
    let out = tempfile::tempdir().unwrap();
    let asked = "--tensor hidden_states --tensor attentions --layer 0,-1 --tensor pooler_output";
    extract("vision", &format!("{asked} -o OUT/one.npy"), out.path()).done();
    extract("vision", &format!("{asked} -o OUT/"), out.path()).done();
    let expected = expected("vision");
    let names = ["hidden_states.0", "hidden_states.3", "attentions.0", "attentions.2", "pooler_output"];
    for name in names {
        let (_, found) = npy(&out.path().join(format!("one.{name}.npy")));
        assert_close(&found, &expected[name].values);
        assert_eq!(npy(&out.path().join(format!("coffee.{name}.npy"))).1, found);
    }
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 2 * names.len() + 1, "and the manifest");
}

#[test]
fn an_archive_holds_several_tensors_of_an_image_and_knows_when_it_is_complete() {
    let out = tempfile::tempdir().unwrap();
    let photos = out.path().join("photos");
    fs::create_dir(&photos).unwrap();
    for name in ["coffee.png", "jpeg-420.jpg", "png-rgb-8.png"] {
        fs::copy(fixture("images").join(name), photos.join(name)).unwrap();
    }
    let run = |target: &str| -> Outcome {
        let mut command = command();
        command.arg("--model").arg(fixture("checkpoints/vision")).arg(&photos).arg("--json");
        command.args(["--tensor", "hidden_states", "--layer", "-2,-1", "--tensor", "pooler_output"]);
        command.arg("-o").arg(out.path().join(target)).arg("-q").output().unwrap().into()
    };
    assert_eq!(run("x.safetensors").done().text().lines().count(), 9 + 1, "and the summary");
    let bytes = fs::read(out.path().join("x.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.len(), 9);
    let found = floats(file.tensor("coffee.png/hidden_states.2").unwrap().data());
    assert_close(&found, &expected("vision")["hidden_states.2"].values);
    let again = run("x.safetensors").done();
    let skipped = again.text().lines().filter(|line| line.contains(r#""status":"skipped""#)).count();
    assert_eq!((skipped, again.text().lines().count()), (3, 3 + 1), "and the summary: {}", again.text());
    run("x.npy").failed(2, "a stack holds one tensor of an image, and 3 are asked for");
}

#[test]
fn a_grid_can_be_drawn_back_onto_its_picture() {
    let out = tempfile::tempdir().unwrap();
    let outcome = extract("vision", "--grid --json -o OUT/x.safetensors", out.path()).done();
    let report: Value = serde_json::from_str(outcome.text()).unwrap();
    assert_eq!(report["shape"], serde_json::json!([1, 5, 5, 36]));
    assert_eq!((&report["grid"], &report["tokens"]), (&serde_json::json!([5, 5]), &"patch".into()));
    // 600 × 400 is resized to 45 × 30 and cropped from column 7 on.
    assert_eq!(report["image"]["width"], 600);
    let crop = [7.0 * 600.0 / 45.0, 0.0, 37.0 * 600.0 / 45.0, 400.0];
    assert_box(&report["crop_box"], crop);
    assert_box(&report["grid_box"], crop);
    assert_eq!(report["layout"], serde_json::json!({"cls": 0, "registers": 0, "patches": 25}));

    let bytes = fs::read(out.path().join("x.safetensors")).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().clone().unwrap();
    assert_eq!(metadata["grid"], "[5, 5]");
    assert_box(&serde_json::from_str(&metadata["crop_box"]).unwrap(), crop);
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let found = floats(file.tensor("last_hidden_state").unwrap().data());
    assert_close(&found, &expected("vision")["last_hidden_state"].values[36..]);
}

#[test]
fn registers_are_told_apart() {
    let out = tempfile::tempdir().unwrap();
    let (expected_dinov2, expected_dinov3) = (expected("dinov2-registers"), expected("dinov3"));
    let expected = &expected_dinov2["last_hidden_state"].values;
    let dinov3 = &expected_dinov3["last_hidden_state"].values;
    for (kind, expected, tokens, shape, range, layout) in [
        ("dinov2-registers", expected, "all", "(1, 29, 36)", 0..29, [1, 3, 25]),
        ("dinov2-registers", expected, "cls", "(1, 1, 36)", 0..1, [1, 0, 0]),
        ("dinov2-registers", expected, "patch", "(1, 25, 36)", 4..29, [0, 0, 25]),
        ("dinov3", dinov3, "all", "(1, 30, 36)", 0..30, [1, 4, 25]),
        ("dinov3", dinov3, "patch", "(1, 25, 36)", 5..30, [0, 0, 25]),
    ] {
        let line = format!("--tokens {tokens} --json -o OUT/{tokens}.npy --overwrite");
        let outcome = extract(kind, &line, out.path()).done();
        let report: Value = serde_json::from_str(outcome.text()).unwrap();
        let found = ["cls", "registers", "patches"].map(|kind| report["layout"][kind].as_u64().unwrap());
        assert_eq!(found, layout, "{tokens}");
        let (found_shape, found) = npy(&out.path().join(format!("{tokens}.npy")));
        assert_eq!(found_shape, shape);
        assert_close(&found, &expected[range.start * 36..range.end * 36]);
    }
}

/// Its processor has torchvision's backend alone, which is the default here and only here.
#[test]
fn dinov3_follows_the_one_processor_that_it_has() {
    let out = tempfile::tempdir().unwrap();
    let expected = expected("dinov3");
    for option in ["", "--processor torchvision "] {
        let line = format!("{option}--tensor pixel_values -o OUT/x.safetensors --overwrite");
        extract("dinov3", &line, out.path()).done();
        let bytes = fs::read(out.path().join("x.safetensors")).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = header.metadata().clone().unwrap();
        assert_eq!(metadata["processor_backend"], "torchvision");
        assert!(metadata["processor"].contains("rescale_first"), "{}", metadata["processor"]);
        let found = floats(SafeTensors::deserialize(&bytes).unwrap().tensor("pixel_values").unwrap().data());
        let found: Vec<f64> = found.into_iter().map(f64::from).collect();
        assert_eq!(found, expected["pixel_values"].values);
    }
    extract("dinov3", "--processor pil", out.path()).failed(2, "the backend is pil, but must be torchvision");
    let mut random = command();
    random
        .current_dir(fixture("images"))
        .arg("--random-weights")
        .arg("-m")
        .arg(fixture("checkpoints/dinov3"));
    let random: Outcome = random.args([PICTURE, "-q"]).stdin(Stdio::null()).output().unwrap().into();
    assert!(random.done().text().contains("[1, 30, 36]"));
}

#[test]
fn the_metadata_says_whether_a_norm_was_applied() {
    let out = tempfile::tempdir().unwrap();
    for (kind, asked, norm, layer) in [
        ("vision", "", "none", "-1"),
        ("siglip-vision", "", "post_layernorm", "-1"),
        ("dinov2", "", "layernorm", "-1"),
        ("dinov3", "", "norm", "-1"),
        ("siglip-vision", "--layer -1", "none", "-1"),
        ("dinov2", "--layer 0..=1", "none", "0..=1"),
    ] {
        extract(kind, &format!("{asked} -o OUT/x.safetensors --overwrite"), out.path()).done();
        let bytes = fs::read(out.path().join("x.safetensors")).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = header.metadata().clone().unwrap();
        assert_eq!((metadata["norm"].as_str(), metadata["layer"].as_str()), (norm, layer), "{kind} {asked}");
    }
}

#[test]
fn another_image_size_interpolates_the_positions() {
    let out = tempfile::tempdir().unwrap();
    let expected = golden("towers/interpolated.safetensors");
    for (kind, size) in [("vision", 42), ("vision", 18), ("siglip-vision", 49), ("dinov2", 60)] {
        let line = format!("--image-size {size} --fit squash -o OUT/x.npy --overwrite");
        extract(kind, &line, out.path()).done();
        let expected = &expected[&format!("{kind}/{size}x{size}/last_hidden_state")];
        let (shape, found) = npy(&out.path().join("x.npy"));
        assert_eq!(shape, format!("(1, {}, 36)", expected.shape[1]));
        assert_close(&found, &expected.values);
    }
    extract("vision", "--image-size 5", out.path()).failed(2, "5x5 do not fit");
    extract("vision", "--image-size 5 --fit keep", out.path()).failed(2, "at least the patches' 6");
}

#[test]
fn another_shape_has_rows_and_columns() {
    let out = tempfile::tempdir().unwrap();
    let expected = golden("towers/interpolated.safetensors");
    for (kind, asked, case, grid) in [
        ("vision", "--image-size 36x24 --fit squash", "36x24", [6, 4]),
        ("vision-sharded", "--image-size 28x63 --fit squash", "28x63", [4, 9]),
        ("siglip-vision", "--image-size 18x30", "18x30", [3, 5]),
        ("dinov2", "--image-size 42x24 --fit squash", "42x24", [7, 4]),
        ("dinov2-registers", "--image-size 42x24 --fit squash", "42x24", [7, 4]),
        // 600 × 400 at a shorter edge of 24 is 36 × 24
        ("vision", "--image-size 24 --fit keep", "24x36", [4, 6]),
        ("siglip-vision", "--image-size 24 --fit keep", "24x36", [4, 6]),
        ("dinov2", "--image-size 24 --fit keep", "24x36", [4, 6]),
        ("dinov3", "--image-size 60x42", "60x42", [10, 7]),
        ("dinov3", "--image-size 19x25", "19x25", [3, 4]),
        ("dinov3", "--image-size 24 --fit keep", "24x36", [4, 6]),
    ] {
        extract(kind, &format!("{asked} -o OUT/x.npy --overwrite"), out.path()).done();
        let expected = &expected[&format!("{kind}/{case}/last_hidden_state")];
        let (shape, found) = npy(&out.path().join("x.npy"));
        let width = expected.shape[2];
        assert_eq!(shape, format!("(1, {}, {width})", expected.shape[1]), "{kind} {asked}");
        assert_close(&found, &expected.values);
        let line = format!("{asked} --grid --json -o OUT/{kind}.safetensors --overwrite");
        let outcome = extract(kind, &line, out.path()).done();
        let report: Value = serde_json::from_str(outcome.text()).unwrap();
        assert_eq!(report["shape"], serde_json::json!([1, grid[0], grid[1], width]), "{kind} {asked}");
        assert_eq!(report["grid"], serde_json::json!(grid));
        let bytes = fs::read(out.path().join(format!("{kind}.safetensors"))).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(header.metadata().clone().unwrap()["grid"], format!("{grid:?}"));
        let patches = SafeTensors::deserialize(&bytes).unwrap();
        let patches = floats(patches.tensor("last_hidden_state").unwrap().data());
        assert_eq!(patches, found[found.len() - patches.len()..], "{kind} {asked}");
    }
    // Rows and columns are not mistaken for each other.
    let heatmap = |patch: &str| {
        extract("vision", &format!("--image-size 36x24 --draw {patch} -o OUT/x.png"), out.path())
    };
    heatmap("5,3").done();
    heatmap("3,5").failed(2, "6 rows and 4 columns of patches");
    extract("vision", "--fit keep --draw 4,6 -o OUT/x.png", out.path()).done();
    // A grid that depends on the picture is known with it, and the failure is that picture's alone.
    extract("vision", "--fit keep --draw 4,7 -o OUT/x.png", out.path())
        .failed(1, "5 rows and 7 columns of patches");
}

#[test]
fn the_picture_covers_another_shape() {
    let out = tempfile::tempdir().unwrap();
    // 600 × 400 covers 24 × 60 at 60 × 40, of which the middle 24 rows are taken.
    for (asked, crop) in [
        ("--image-size 24x60", [0.0, 80.0, 600.0, 320.0]),
        ("--image-size 24x60 --fit pad", [-200.0, 0.0, 800.0, 400.0]),
        ("--image-size 24x60 --fit squash", [0.0, 0.0, 600.0, 400.0]),
        ("--image-size 24 --fit keep", [0.0, 0.0, 600.0, 400.0]),
    ] {
        let outcome = extract("vision", &format!("{asked} --json"), out.path()).done();
        let report: Value = serde_json::from_str(outcome.text()).unwrap();
        assert_box(&report["crop_box"], crop);
        assert_box(&report["grid_box"], crop);
    }
}

/// A checkpoint that is cut off above a block gives what lies below, so nothing above is read.
#[test]
fn nothing_above_the_layer_is_read() {
    let out = tempfile::tempdir().unwrap();
    let cut = out.path().join("cut");
    fs::create_dir(&cut).unwrap();
    let source = fixture("checkpoints/vision");
    for name in ["config.json", "preprocessor_config.json"] {
        fs::copy(source.join(name), cut.join(name)).unwrap();
    }
    let bytes = fs::read(source.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let kept =
        file.iter().filter(|(name, _)| !name.contains("layers.2.") && !name.contains("post_layernorm"));
    let kept: Vec<_> = kept.collect();
    assert!(kept.len() < file.len());
    fs::write(cut.join("model.safetensors"), safetensors::serialize(kept, None).unwrap()).unwrap();
    let run = |more: &[&str]| -> Outcome {
        command()
            .current_dir(fixture("images"))
            .arg("-m")
            .arg(&cut)
            .arg(PICTURE)
            .args(more)
            .output()
            .unwrap()
            .into()
    };
    let target = out.path().join("x.npy");
    run(&["--layer", "2", "-o", target.to_str().unwrap()]).done();
    assert_close(&npy(&target).1, &expected("vision")["hidden_states.2"].values);
    run(&["--tensor", "attentions", "--layer", "0,1"]).done();
    run(&["--layer", "3"]).failed(2, "encoder.layers.2.layer_norm1.weight is missing");
    run(&["--tensor", "attentions"]).failed(2, "encoder.layers.2.");
}

#[test]
fn what_a_tower_does_not_have_is_refused_with_a_way_out() {
    let out = tempfile::tempdir().unwrap();
    for (kind, asked, part) in [
        ("vision", "--tensor image_embeds", "the checkpoint has no visual_projection.weight"),
        ("siglip-model", "--tensor image_embeds", "SigLIP has no visual_projection"),
        ("dinov2", "--tensor image_embeds", "DINOv2 has no visual_projection"),
        ("siglip-headless", "--tensor pooler_output", "vision_use_head"),
        ("siglip-vision", "--tokens cls", "SigLIP has no class token"),
    ] {
        let outcome = extract(kind, asked, out.path()).failed(2, part);
        assert!(outcome.stderr.contains("\nhint: "), "{}", outcome.stderr);
    }
    for (asked, part) in [
        ("--layer 4", "hidden_states has layers -4 to 3"),
        ("--layer -5", "hidden_states has layers -4 to 3"),
        ("--tensor attentions --layer 3", "attentions has layers -3 to 2"),
    ] {
        extract("vision", asked, out.path()).failed(2, part);
    }
}

#[test]
fn a_fit_changes_what_is_seen() {
    let out = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    for (fit, crop) in [
        ("auto", [7.0 * 600.0 / 45.0, 0.0, 37.0 * 600.0 / 45.0, 400.0]),
        ("pad", [0.0, -100.0, 600.0, 500.0]),
        ("squash", [0.0, 0.0, 600.0, 400.0]),
    ] {
        let line = format!("--fit {fit} --json -o OUT/{fit}.npy");
        let outcome = extract("vision", &line, out.path()).done();
        let report: Value = serde_json::from_str(outcome.text()).unwrap();
        assert_box(&report["crop_box"], crop);
        let (_, found) = npy(&out.path().join(format!("{fit}.npy")));
        assert!(!seen.contains(&found));
        seen.push(found);
    }
}
