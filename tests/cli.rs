//! The binary as a shell user meets it.
#![cfg(feature = "cli")]

mod support;

use std::{fs, path::Path, process::Stdio};

use clip_features::kernels::Compute;
use safetensors::SafeTensors;
use support::{
    fixture, golden,
    run::{command, feed, run, tiny},
};

/// A `.npy` of float32: its shape as it is written, and its values.
fn npy(bytes: &[u8]) -> (String, Vec<f32>) {
    assert_eq!(bytes[..8], *b"\x93NUMPY\x01\x00");
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..start]).unwrap();
    assert!(header.contains("'<f4'"), "{header}");
    let shape = header.split("'shape': ").nth(1).unwrap().split(", }").next().unwrap();
    (shape.to_owned(), bytes[start..].as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

fn picture() -> String {
    fixture("images/jpeg-420.jpg").to_str().unwrap().to_owned()
}

#[test]
fn without_an_output_one_line_is_printed() {
    let line = run([picture()]).done();
    assert_eq!(line.text(), format!("{}  last_hidden_state  [1, 26, 36]  f32\n", picture()));
}

#[test]
fn json_gives_the_same_facts_and_more() {
    let line = run([picture(), "--json".into(), "--tokens".into(), "patch".into()]).done();
    assert_eq!(line.text().lines().count(), 1);
    let report: serde_json::Value = serde_json::from_str(line.text()).unwrap();
    assert_eq!(report["input"], picture());
    assert_eq!(report["tensor"], "last_hidden_state");
    assert_eq!(report["shape"], serde_json::json!([1, 25, 36]));
    assert_eq!(report["dtype"], "f32");
    assert_eq!(report["tokens"], "patch");
    assert_eq!(report["grid"], serde_json::json!([5, 5]));
    assert_eq!(report["image"]["format"], "jpeg");
    assert_eq!(report["model"], tiny().to_str().unwrap());
    assert_eq!(report["weights"].as_str().unwrap().len(), 64);
    assert!(report["seconds"]["encode"].as_f64().unwrap() > 0.0);
}

#[test]
fn every_way_out_gives_the_references_numbers() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    run([picture(), "-o".into(), at("x.npy")]).done();
    run([picture(), "-o".into(), at("x.safetensors")]).done();
    let piped = feed(
        command().args(["--model", tiny().to_str().unwrap(), "-", "-o", "-"]),
        &fs::read(picture()).unwrap(),
    );

    let file = fs::read(at("x.npy")).unwrap();
    assert_eq!(piped.done().stdout, file);
    let (shape, values) = npy(&file);
    assert_eq!(shape, "(1, 26, 36)");
    let expected = &golden("towers/vision.safetensors")["jpeg-420.jpg/last_hidden_state"];
    let difference = support::difference(&values, &expected.values);
    assert!(difference.relative < 1e-6, "{difference}");

    let archive = fs::read(at("x.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&archive).unwrap();
    let tensor = tensors.tensor("last_hidden_state").unwrap();
    assert_eq!(tensor.shape(), [1, 26, 36]);
    assert_eq!(tensor.data(), &file[file.len() - tensor.data().len()..]);
    let (_, header) = SafeTensors::read_metadata(&archive).unwrap();
    let metadata = header.metadata().clone().unwrap();
    for (key, value) in [
        ("tool", "clip-features"),
        ("tool_version", env!("CARGO_PKG_VERSION")),
        ("path", &picture()),
        ("model", tiny().to_str().unwrap()),
        ("tensor", "last_hidden_state"),
        ("layer", "-1"),
        ("tokens", "all"),
        ("norm", "none"),
        ("processor_backend", "pil"),
        ("alpha", "white"),
        ("exif_orientation", "ignore"),
        ("dtype", "f32"),
        ("compute_dtype", "f32"),
        ("matmul_precision", "highest"),
        ("compute", &Compute::default().name()),
    ] {
        assert_eq!(metadata[key], value, "{key}");
    }
    assert_eq!(metadata["weights"].len(), 64);
}

#[test]
fn the_same_run_twice_gives_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str| {
        let path = directory.path().join(name);
        run([picture(), "-o".into(), path.to_str().unwrap().into()]).done();
        fs::read(path).unwrap()
    };
    assert_eq!(write("a.safetensors"), write("b.safetensors"));
}

#[test]
fn tokens_are_cut_from_the_same_tensor() {
    let values = |tokens: &str| npy(&run([picture().as_str(), "--tokens", tokens, "-o", "-"]).done().stdout);
    let ((_, all), (cls_shape, cls), (patch_shape, patch)) = (values("all"), values("cls"), values("patch"));
    assert_eq!((cls_shape.as_str(), patch_shape.as_str()), ("(1, 1, 36)", "(1, 25, 36)"));
    assert_eq!([cls, patch].concat(), all);
}

#[test]
fn pixel_values_need_no_weights() {
    let directory = tempfile::tempdir().unwrap();
    fs::copy(tiny().join("preprocessor_config.json"), directory.path().join("preprocessor_config.json"))
        .unwrap();
    let output = command()
        .args(["--tensor", "pixel_values", "-o", "-", "--model"])
        .arg(directory.path())
        .arg(picture())
        .output()
        .unwrap();
    let (shape, values) = npy(&output.stdout);
    assert_eq!(shape, "(1, 3, 30, 30)");
    let expected = &golden("towers/vision.safetensors")["jpeg-420.jpg/pixel_values"];
    assert!(values.iter().zip(&expected.values).all(|(&found, &expected)| f64::from(found) == expected));
}

#[test]
fn random_weights_warn_and_follow_a_config() {
    let outcome = run(["--random-weights=3", &picture()]);
    assert_eq!(outcome.code, Some(0));
    assert_eq!(outcome.stderr, "warning: random weights: the features mean nothing\n");
    assert!(outcome.text().contains("[1, 26, 36]"));
    run(["--random-weights=3", "--quiet", &picture()]).done();
}

#[test]
fn a_bad_image_is_one_line_and_code_1() {
    let directory = tempfile::tempdir().unwrap();
    let bad = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name).to_str().unwrap().to_owned();
        fs::write(&path, bytes).unwrap();
        path
    };
    let jpeg = fs::read(picture()).unwrap();
    for (path, part) in [
        (bad("empty.jpg", b""), "empty.jpg: is empty"),
        (bad("text.jpg", b"not an image at all"), "text.jpg: not an image"),
        (bad("cut.jpg", &jpeg[..jpeg.len() / 2]), "cut.jpg: JPEG is truncated"),
        (bad("line\nbreak.jpg", b"x"), "line\\nbreak.jpg: not an image"),
        (directory.path().join("missing.jpg").to_str().unwrap().into(), "missing.jpg: "),
    ] {
        run([path]).failed(1, part);
    }
    let refused =
        run([picture().as_str(), "--max-pixels", "10"]).failed(1, "more than the 10 pixels allowed");
    assert!(refused.stderr.contains("\nhint: --max-pixels N allows more\n"), "{refused:?}");
    feed(command().arg("--model").arg(tiny()).arg("-"), b"").failed(1, "error: -: is empty");
}

#[test]
fn a_bad_model_is_named_and_code_2() {
    let directory = tempfile::tempdir().unwrap();
    let model = |change: &dyn Fn(&Path)| {
        for file in fs::read_dir(tiny()).unwrap().map(|entry| entry.unwrap().path()) {
            fs::copy(&file, directory.path().join(file.file_name().unwrap())).unwrap();
        }
        change(directory.path());
        let output = command().arg("--model").arg(directory.path()).arg(picture()).output().unwrap();
        support::run::Outcome::from(output)
    };
    let write = |name: &'static str, bytes: &'static [u8]| {
        move |path: &Path| fs::write(path.join(name), bytes).unwrap()
    };
    let remove = |name: &'static str| move |path: &Path| fs::remove_file(path.join(name)).unwrap();
    let weights = fs::read(tiny().join("model.safetensors")).unwrap();
    let cut = |path: &Path| fs::write(path.join("model.safetensors"), &weights[..weights.len() - 5]).unwrap();

    model(&write("config.json", br#"{"model_type": "vit"}"#)).failed(2, "config.json: model_type \"vit\"");
    model(&write("config.json", b"{")).failed(2, "config.json: not valid JSON");
    model(&write("preprocessor_config.json", b"")).failed(2, "preprocessor_config.json: is empty");
    model(&write("preprocessor_config.json", br#"{"resample": 9}"#))
        .failed(2, "preprocessor_config.json: resample");
    model(&write("model.safetensors", b"\xff\xff\xff\xff\xff\xff\xff\xffgarbage")).failed(2, "damaged");
    model(&write("model.safetensors", b"\x08\0\0\0\0\0\0\0notjson!")).failed(2, "corrupt safetensors header");
    model(&write("model.safetensors", b"short")).failed(2, "too few");
    let wrapped = |path: &Path| {
        let tensors = SafeTensors::deserialize(&weights).unwrap().tensors();
        let tensors = tensors.into_iter().map(|(name, view)| (format!("module.{name}"), view));
        safetensors::serialize_to_file(tensors, None, &path.join("model.safetensors")).unwrap();
    };
    assert_eq!(model(&wrapped).code, Some(0), "what one word wraps is read");
    model(&cut).failed(2, "model.safetensors: truncated safetensors file");
    model(&remove("config.json")).failed(2, "has no config.json");
    model(&remove("preprocessor_config.json")).failed(2, "has no preprocessor_config.json");
    model(&remove("model.safetensors")).failed(2, "has neither model.safetensors nor");
    let wider = |path: &Path| {
        let text = fs::read_to_string(path.join("config.json")).unwrap();
        let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
        config["intermediate_size"] = 76.into();
        fs::write(path.join("config.json"), config.to_string()).unwrap();
    };
    model(&wider).failed(2, "encoder.layers.0.mlp.fc1.weight has shape [75, 36], expected [76, 36]");
    let deeper = |path: &Path| {
        let text = fs::read_to_string(path.join("config.json")).unwrap();
        let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
        config["num_hidden_layers"] = 4.into();
        fs::write(path.join("config.json"), config.to_string()).unwrap();
    };
    model(&deeper).failed(2, "tensor encoder.layers.3.layer_norm1.weight is missing, expected shape [36]");
    let without_a_shard = |path: &Path| {
        fs::remove_file(path.join("model.safetensors")).unwrap();
        let map = r#"{"weight_map": {"embeddings.class_embedding": "a.safetensors"}}"#;
        fs::write(path.join("model.safetensors.index.json"), map).unwrap();
    };
    let reason = "model.safetensors.index.json: says that tensors are in a.safetensors, which is not there";
    model(&without_a_shard).failed(2, reason);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let allow = |mode| fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).unwrap();
        allow(0o000);
        // Nothing keeps root out.
        if fs::read_dir(directory.path()).is_err() {
            let locked = command().arg("--model").arg(directory.path()).arg(picture()).output().unwrap();
            support::run::Outcome::from(locked).failed(2, ": Permission denied");
        }
        allow(0o700);
    }
    let missing = command().args(["--model", "no/such/dir", &picture()]).output().unwrap();
    support::run::Outcome::from(missing).failed(2, "no/such/dir: ");
}

#[test]
fn a_bad_target_is_refused_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    run([picture(), "-o".into(), at("missing/x.npy")]).failed(2, "does not exist");
    // A bad image leaves the target as it was.
    fs::write(at("kept.npy"), "before").unwrap();
    fs::write(at("bad.jpg"), "not an image").unwrap();
    run([at("bad.jpg"), "-o".into(), at("kept.npy"), "--overwrite".into()]).failed(1, "not an image");
    assert_eq!(fs::read(at("kept.npy")).unwrap(), b"before");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_target_is_an_error_and_a_closed_pipe_is_not() {
    let full = command()
        .arg("--model")
        .arg(tiny())
        .args([&picture(), "-o", "/dev/full", "--format", "npy"])
        .output();
    support::run::Outcome::from(full.unwrap()).failed(2, "/dev/full: cannot be written");
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let child =
        command().arg("--model").arg(tiny()).arg(picture()).stdout(full).stderr(Stdio::piped()).spawn();
    support::run::Outcome::from(child.unwrap().wait_with_output().unwrap()).failed(2, "standard output");
    for line in ["--help", "-h", "--version", "--generate man", "--generate complete-zsh"] {
        let printed = |stdout: Stdio| {
            let child = command().args(line.split(' ')).stdout(stdout).stderr(Stdio::piped()).spawn();
            support::run::Outcome::from(child.unwrap().wait_with_output().unwrap())
        };
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        printed(full.into()).failed(2, "standard output cannot be written: No space left on device");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        printed(writer.into()).done();
    }

    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let child =
        command().arg("--model").arg(tiny()).arg(picture()).stdout(writer).stderr(Stdio::piped()).spawn();
    support::run::Outcome::from(child.unwrap().wait_with_output().unwrap()).done();
}

#[cfg(target_os = "linux")]
#[test]
fn a_pipe_that_is_named_takes_a_tensor_and_a_terminal_takes_none() {
    let to = |target: &str| run([&picture(), "-o", target, "--format", "npy"]).done().stdout;
    assert!(to("/dev/stdout") == to("-"));

    // Of util-linux: it gives a command a terminal, and prints what comes out of it.
    let on_terminal = |arguments: &str| {
        let command =
            format!("'{}' -m '{}' {arguments}", env!("CARGO_BIN_EXE_clip-features"), tiny().display());
        let mut script = std::process::Command::new("script");
        script.args(["-qec", &command, "/dev/null"]).stdin(Stdio::null()).output()
    };
    for (target, told) in [
        ("-o /dev/tty --format npy", "error: /dev/tty: is a terminal, and the tensor is binary"),
        ("-o /dev/stdout --format npy", "error: /dev/stdout: is a terminal, and the tensor is binary"),
        ("--draw pca -o /dev/tty", "error: /dev/tty: is a terminal, and the tensor is binary"),
    ] {
        let Ok(output) = on_terminal(&format!("'{}' {target}", picture())) else { return };
        let shown = String::from_utf8(output.stdout).expect("nothing binary");
        assert!(shown.contains(told) && shown.contains("hint: name a file"), "{shown}");
        assert_eq!(output.status.code(), Some(2));
    }
}

/// Which of the threads is the one too many is another for each limit.
#[cfg(target_os = "linux")]
#[test]
fn threads_that_cannot_be_started_are_an_error() {
    let mut told = Vec::new();
    for kilobytes in (10_000..400_000).step_by(1000) {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &format!("ulimit -v {kilobytes}; exec \"$0\" \"$@\"")]);
        shell.arg(env!("CARGO_BIN_EXE_clip-features")).arg("--model").arg(tiny()).arg(picture());
        let output = shell.output().unwrap();
        assert_ne!(output.status.code(), Some(101), "{kilobytes}: {output:?}");
        if output.status.success() {
            break;
        }
        told.push(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    told.retain(|told| told.contains("cannot be started: "));
    assert!(!told.is_empty());
    for told in told {
        // Of a thread that is there and gets no stack for its signals, the standard library panics before we can tell.
        let ours = match told.split_once("failed to allocate an alternative stack") {
            Some((_, rest)) => rest.find("error: ").map_or("", |start| &rest[start..]),
            None => &told,
        };
        assert!(ours.starts_with("error: ") && ours.contains("\nhint: --threads 1"), "{told}");
    }
}
