//! What is refused, and when: before anything slow, and before memory is taken.
#![cfg(feature = "cli")]

mod support;

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
    thread,
    time::Instant,
};

use clip_features::{
    Extractor,
    extractor::{Opened, Options},
    model::{ModelError, ModelSpec},
    processor::PixelValues,
};
use support::{
    fixture,
    run::{Outcome, command, feed, run, tiny},
};

fn picture() -> String {
    fixture("images/png-rgb-8.png").to_str().unwrap().to_owned()
}

/// The binary on a machine where no model was ever looked for, and no hub answers.
fn fresh(cache: &Path) -> Command {
    let mut command = command();
    command.env("HF_HUB_CACHE", cache).env("HF_ENDPOINT", "http://127.0.0.1:9").current_dir(cache);
    command
}

#[test]
fn an_input_that_is_not_there_is_told_before_a_model_is_looked_for() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| Outcome::from(fresh(directory.path()).args(arguments).output().unwrap());
    run(&["nosuch.png"]).failed(1, "error: nosuch.png: No such file");
    run(&["nosuch.tar", "-q"]).failed(1, "error: nosuch.tar: No such file");
    run(&["--files-from", "nosuch.txt"]).failed(2, "error: nosuch.txt: No such file");
    let outcome = run(&["a.png", "b.png", "--json", "--failures", "f.jsonl", "-o", "x.npy"]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert_eq!(outcome.stderr.matches("No such file").count(), 2, "{outcome:?}");
    // Nothing is lost of what is said of them elsewhere.
    let records = fs::read_to_string(directory.path().join("f.jsonl")).unwrap();
    assert_eq!(records.lines().filter(|line| line.contains(r#""stage":"read""#)).count(), 2, "{records}");
    assert!(records.lines().all(|line| outcome.text().contains(line)), "{outcome:?}");
    // Where there is another, it is said all the same, before what is wrong with the model.
    let outcome = run(&["nosuch.png", &picture()]);
    assert_eq!(outcome.code, Some(2));
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    assert!(lines[0].starts_with("error: nosuch.png: ") && lines[1].contains("127.0.0.1"), "{lines:?}");
}

#[test]
fn of_several_inputs_the_missing_is_said_once_and_costs_itself() {
    let outcome = run(["nosuch.png", &picture(), "--json"]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert_eq!(outcome.stderr.matches("nosuch.png").count(), 1, "{outcome:?}");
    assert_eq!(outcome.text().matches(r#""status":"#).count(), 2, "{outcome:?}");
}

#[test]
fn an_output_that_cannot_be_written_is_told_before_a_model_is_looked_for() {
    let directory = tempfile::tempdir().unwrap();
    let photos = directory.path().join("photos");
    fs::create_dir(&photos).unwrap();
    fs::copy(picture(), photos.join("a.png")).unwrap();
    fs::write(directory.path().join("file"), "").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("nowhere", directory.path().join("link")).unwrap();
    let run = |arguments: &[&str]| Outcome::from(fresh(directory.path()).args(arguments).output().unwrap());
    for (arguments, part) in [
        (&["photos/a.png", "-o", "no/x.npy"][..], "error: no/x.npy: the directory no does not exist"),
        (&["photos", "-o", "no/x.npy"], "error: no/x.npy: the directory no does not exist"),
        (&["photos", "-o", "no/x.tar"], "error: no/x.tar: the directory no does not exist"),
        (
            &["photos", "-o", "file/"],
            "error: file/: is not a directory, and several images are to be written\nhint: give another path\n",
        ),
        #[cfg(unix)]
        (
            &["photos", "-o", "link/"],
            "error: link/: is a link to nowhere, which is not there\nhint: create that",
        ),
        #[cfg(unix)]
        (
            &["photos", "--draw", "pca", "-o", "link/"],
            "error: link/: is a link to nowhere, which is not there\nhint: create that",
        ),
        (&["photos", "-o", "file/x"], "error: file/x: file is not a directory\nhint: give another path"),
        (&["photos", "-o", "file/a/"], "error: file/a/: file is not a directory\nhint: give another path"),
        (
            &["photos", "-o", "file/x.npy"],
            "error: file/x.npy: file is not a directory\nhint: give another path",
        ),
        (&["photos", "-o", "file/a/x.tar"], "error: file/a/x.tar: file is not a directory\nhint: "),
        (&["photos/a.png", "-o", "file/x.npy"], "error: file/x.npy: file is not a directory\nhint: "),
        (
            &["photos/a.png", "--draw", "norm", "-o", "file/a/h.png"],
            "error: file/a/h.png: file is not a directory\nhint: ",
        ),
        (&["photos/a.png", "--failures", "file/f"], "error: file/f: file is not a directory\nhint: "),
        (&["photos/a.png", "--failures", "no/f"], "error: no/f: the directory no does not exist"),
        (
            &["photos/a.png", "--draw", "norm", "-o", "no/h.png"],
            "error: no/h.png: the directory no does not exist",
        ),
        #[cfg(target_os = "linux")]
        (&["photos", "-o", "/proc/x.npy"], "error: /proc/x.npy: cannot be written"),
        #[cfg(target_os = "linux")]
        (&["photos", "-o", "/proc/x/"], "error: /proc/x/: cannot be written"),
    ] {
        run(arguments).failed(2, part);
    }
    let left = 2 + usize::from(cfg!(unix));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), left, "nothing is left");
}

#[test]
fn what_is_no_list_of_paths_ends_the_run() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    fs::copy(picture(), at("a.png")).unwrap();
    fs::write(at("null"), "a.png\0a.png\0").unwrap();
    fs::write(at("long"), "x".repeat(1 << 20)).unwrap();
    // Before a model is looked for.
    let fresh =
        |list: &str| Outcome::from(fresh(directory.path()).args(["--files-from", list]).output().unwrap());
    let nul = "is no list of paths: a line has a NUL byte\nhint: -0 reads paths that end in NUL bytes";
    fresh("a.png").failed(2, &format!("error: a.png: {nul}"));
    fresh("null").failed(2, &format!("error: null: {nul}"));
    fresh("long").failed(2, "error: long: is no list of paths: one is longer than 65536 bytes\nhint: ");
    fresh("./")
        .failed(2, "error: ./: is no list of paths: it is a directory\nhint: name it without --files-from");
    fs::write(at("utf-16"), b"\xff\xfea\0.\0p\0n\0g\0\n\0").unwrap();
    fresh("utf-16")
        .failed(2, "error: utf-16: is no list of paths: it is UTF-16 text\nhint: save it as UTF-8");
    // And in the middle of a list, which may have no end.
    let piped = |more: &[&str], list: &[u8]| {
        let mut command = command();
        command
            .current_dir(directory.path())
            .arg("-m")
            .arg(tiny())
            .args(["--files-from", "-", "-q"])
            .args(more);
        feed(&mut command, list)
    };
    let good = b"a.png\n".repeat(50);
    for part in [&[][..], &["--part", "0/2", "-o", "x/"], &["--part", "1/2", "-o", "x/"]] {
        piped(part, &[&good, &b"b\0.png\n"[..]].concat()).failed(2, &format!("error: -: {nul}"));
    }
    piped(&["-0"], &[&b"a.png\0"[..], &vec![b'x'; 1 << 20]].concat())
        .failed(2, "one is longer than 65536 bytes");
    #[cfg(unix)]
    run(["--files-from", "/dev/zero", "-q"]).failed(2, "error: /dev/zero: is no list of paths: ");
    piped(&["-0"], b"a.png\0a.png\0").done();
    let lines =
        "is no list of paths: it has line feeds, and no NUL byte that ends a path\nhint: leave -0 out";
    piped(&["-0"], &good).failed(2, &format!("error: -: {lines}"));
    // What looks like another kind of list may be the name of a file.
    #[cfg(target_os = "linux")]
    for name in [&b"a\nb.png"[..], b"\xff\xfea.png", b"\xef\xbb\xbfa.png"] {
        use std::os::unix::ffi::OsStrExt;
        fs::copy(picture(), directory.path().join(std::ffi::OsStr::from_bytes(name))).unwrap();
        piped(&["-0"], name).done();
        piped(&["-0"], &[name, b"\0a.png\0"].concat()).done();
        if !name.contains(&b'\n') {
            piped(&[], &[name, b"\na.png\n"].concat()).done();
        }
    }
    #[cfg(unix)]
    run(["--files-from", "/dev/zero", "-0", "-q"]).failed(2, "error: /dev/zero: is no list of paths: ");
    #[cfg(unix)]
    {
        let mut command = command();
        command.arg("-m").arg(tiny()).args(["--files-from", "-", "-q"]);
        command.stdin(fs::File::open(directory.path()).unwrap());
        Outcome::from(command.output().unwrap())
            .failed(2, "error: -: is no list of paths: it is a directory");
    }
}

/// A checkpoint directory with a config that was changed.
fn changed(directory: &Path, from: &str, to: &str) {
    for name in ["config.json", "preprocessor_config.json", "model.safetensors"] {
        fs::copy(tiny().join(name), directory.join(name)).unwrap();
    }
    let config = fs::read_to_string(tiny().join("config.json")).unwrap();
    assert!(config.contains(from));
    fs::write(directory.join("config.json"), config.replace(from, to)).unwrap();
}

#[test]
fn absurd_sizes_in_a_config_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    for (from, to, part) in [
        (
            r#""hidden_size": 36"#,
            r#""hidden_size": 1000000000000"#,
            "hidden_size is 1000000000000, expected 1 to",
        ),
        (
            r#""num_hidden_layers": 3"#,
            r#""num_hidden_layers": 1000000000"#,
            "num_hidden_layers is 1000000000",
        ),
        (
            r#""image_size": 30"#,
            r#""image_size": 18446744073709551615"#,
            "image_size is 18446744073709551615",
        ),
        (r#""patch_size": 6"#, r#""patch_size": 99999999999999999999999"#, "patch_size"),
        (r#""intermediate_size": 75"#, r#""intermediate_size": 1e300"#, "intermediate_size"),
        (r#""image_size": 30,"#, r#""image_size": 16380, "patch_size": 1,"#, "patch_size"),
    ] {
        changed(directory.path(), from, to);
        for arguments in [&[][..], &["--random-weights"]] {
            let mut command = command();
            command.arg("-m").arg(directory.path()).arg(picture()).args(arguments);
            Outcome::from(command.output().unwrap()).failed(2, part);
        }
    }
}

#[test]
fn configs_headers_and_indices_of_unreasonable_size_are_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let refused = |part: &str| {
        let mut command = command();
        command.arg("-m").arg(directory.path()).arg(picture());
        Outcome::from(command.output().unwrap()).failed(2, part);
    };
    let large = |name: &str| {
        // A hole, so that nothing of it is ever in memory unless it is read.
        File::create(path(name)).unwrap().set_len(1 << 40).unwrap();
    };
    let fresh = || changed(directory.path(), "hidden_size", "hidden_size");
    for name in ["config.json", "preprocessor_config.json"] {
        fresh();
        large(name);
        refused("is larger than 16777216 bytes");
    }
    fresh();
    fs::remove_file(path("model.safetensors")).unwrap();
    large("model.safetensors.index.json");
    refused("is larger than 67108864 bytes");
    let map = |entries: usize, shard: &dyn Fn(usize) -> usize| {
        let entries: Vec<String> =
            (0..entries).map(|i| format!("\"embeddings.{i}\":\"{}\"", shard(i))).collect();
        fs::write(
            path("model.safetensors.index.json"),
            format!("{{\"weight_map\":{{{}}}}}", entries.join(",")),
        )
        .unwrap();
    };
    map(300_000, &|_| 1);
    refused("holds 300001 tensors, expected at most 250000");
    map(2000, &|i| i);
    refused("names 2000 shards, expected at most 1000");
    let header = |text: &[u8], length: u64| {
        fs::write(path("model.safetensors"), [&length.to_le_bytes()[..], text].concat()).unwrap();
    };
    header(b"", 90_000_000);
    File::options().write(true).open(path("model.safetensors")).unwrap().set_len(1 << 40).unwrap();
    refused("has a header of 90000000 bytes, expected at most 26214400");
    let tensor = |i: usize| format!(r#""{i}":{{"dtype":"F32","shape":[],"data_offsets":[0,0]}}"#);
    let many = format!("{{{}}}", (0..260_000).map(tensor).collect::<Vec<_>>().join(","));
    header(many.as_bytes(), many.len() as u64);
    refused("holds 260000 tensors, expected at most 250000");
    let deep = b"[".repeat(1 << 20);
    header(&deep, deep.len() as u64);
    refused("corrupt safetensors header");
    fs::write(path("config.json"), &deep).unwrap();
    refused("recursion limit exceeded");
}

#[test]
fn what_lies_in_the_place_of_a_model_leads_to_it() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let copy = |to: &str, files: &[(&str, &str)]| {
        for (from, name) in files {
            let to = at(to).join(name);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(tiny().join(from), to).unwrap();
        }
    };
    let run = |model: &str| {
        let mut command = command();
        command.current_dir(root.path()).arg("-m").arg(model).arg(picture()).args(["-o", "-"]);
        Outcome::from(command.output().unwrap())
    };
    let whole = ["config.json", "preprocessor_config.json", "model.safetensors"].map(|name| (name, name));
    copy("whole", &whole);
    let expected = run("whole").done().stdout;

    // Weights under another name: not guessed, but told.
    copy("variant", &[whole[0], whole[1], ("model.safetensors", "model.fp16.safetensors")]);
    fs::write(at("variant/other.safetensors"), "").unwrap();
    run("variant").failed(2, "variant: has no model.safetensors; model.fp16.safetensors has a vision tower");
    assert!(run("variant").stderr.ends_with("hint: give that file: variant/model.fp16.safetensors\n"));
    assert_eq!(run("variant/model.fp16.safetensors").done().stdout, expected);
    copy("shards", &[whole[0], whole[1], ("model.safetensors", "model-00001-of-00002.safetensors")]);
    run("shards").failed(2, "only shards such as model-00001-of-00002.safetensors, and no index");
    copy("index", &[whole[0], whole[1], ("config.json", "model.safetensors.index.fp16.json")]);
    run("index").failed(2, "only the index model.safetensors.index.fp16.json");
    copy("none", &whole[..2]);
    run("none").failed(2, "none: has neither model.safetensors nor model.safetensors.index.json");

    // A part of a pipeline has its image processor beside it.
    copy("pipeline", &[("config.json", "image_encoder/config.json")]);
    copy("pipeline", &[("model.safetensors", "image_encoder/model.safetensors")]);
    copy("pipeline", &[("preprocessor_config.json", "feature_extractor/preprocessor_config.json")]);
    fs::write(at("pipeline/model_index.json"), "{}").unwrap();
    run("pipeline").failed(2, "pipeline: is a pipeline of diffusers");
    assert!(run("pipeline").stderr.ends_with("vision tower: pipeline/image_encoder\n"));
    assert_eq!(run("pipeline/image_encoder").done().stdout, expected);
    fs::remove_file(at("pipeline/model_index.json")).unwrap();
    run("pipeline/image_encoder").failed(2, "image_encoder: has no preprocessor_config.json");

    copy("sentence", &whole.map(|(from, _)| from).map(|name| (name, name)));
    fs::create_dir(at("sentence/0_CLIPModel")).unwrap();
    for (name, _) in whole {
        fs::rename(at("sentence").join(name), at("sentence/0_CLIPModel").join(name)).unwrap();
    }
    fs::write(at("sentence/modules.json"), "[]").unwrap();
    run("sentence").failed(2, "sentence: is a model of sentence-transformers");
    assert!(run("sentence").stderr.ends_with("vision tower: sentence/0_CLIPModel\n"));
    assert_eq!(run("sentence/0_CLIPModel").done().stdout, expected);

    fs::create_dir(at("adapter")).unwrap();
    fs::write(at("adapter/adapter_config.json"), r#"{"base_model_name_or_path": "acme/clip"}"#).unwrap();
    fs::write(at("adapter/adapter_model.safetensors"), "").unwrap();
    run("adapter").failed(2, "adapter: is an adapter of the model acme/clip");
    assert!(run("adapter").stderr.contains("M.from_pretrained('acme/clip'), 'adapter').merge_and_unload()"));
    copy("adapter", &whole[..2]);
    run("adapter").failed(2, "adapter: is an adapter of the model acme/clip");

    // A model in the hub's cache is its snapshot, if it has one alone.
    let cache = "hub/models--acme--clip";
    copy(&format!("{cache}/snapshots/a"), &whole);
    fs::create_dir_all(at(cache).join("blobs")).unwrap();
    assert_eq!(run(cache).done().stdout, expected);
    copy(&format!("{cache}/snapshots/b"), &whole);
    run(cache).failed(2, "clip: is a model in the hub's cache, with 2 snapshots");
    assert!(run(cache).stderr.ends_with(&format!("such as {cache}/snapshots/a\n")));
    assert_eq!(run(&format!("{cache}/snapshots/a")).done().stdout, expected);
    run("hub").failed(2, "hub: is a cache of the hub");
    assert!(run("hub").stderr.ends_with("such as acme/clip\n"));
}

/// A CLIP tower of `layers` blocks of width 256 for images of 64 pixels, all of zeros, which take no room on the disk.
fn zeros(directory: &Path, layers: usize) {
    let config = format!(
        r#"{{"model_type": "clip_vision_model", "hidden_size": 256, "intermediate_size": 1024, "image_size": 64,
            "num_attention_heads": 4, "num_hidden_layers": {layers}, "patch_size": 16}}"#
    );
    fs::write(directory.join("config.json"), config).unwrap();
    fs::write(directory.join("preprocessor_config.json"), r#"{"size": 64, "crop_size": 64}"#).unwrap();
    let mut tensors = vec![
        ("embeddings.class_embedding".to_owned(), vec![256]),
        ("embeddings.patch_embedding.weight".to_owned(), vec![256, 3, 16, 16]),
        ("embeddings.position_embedding.weight".to_owned(), vec![17, 256]),
    ];
    let mut linear = |name: &str, shape: &[usize]| {
        tensors.push((format!("{name}.weight"), shape.to_vec()));
        tensors.push((format!("{name}.bias"), shape[..1].to_vec()));
    };
    linear("pre_layrnorm", &[256]);
    linear("post_layernorm", &[256]);
    for layer in 0..layers {
        let name = |part: &str| format!("encoder.layers.{layer}.{part}");
        for part in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            linear(&name(&format!("self_attn.{part}")), &[256, 256]);
        }
        linear(&name("mlp.fc1"), &[1024, 256]);
        linear(&name("mlp.fc2"), &[256, 1024]);
        linear(&name("layer_norm1"), &[256]);
        linear(&name("layer_norm2"), &[256]);
    }
    let mut end = 0;
    let lines: Vec<String> = tensors
        .iter()
        .map(|(name, shape)| {
            let start = end;
            end += shape.iter().product::<usize>() * 4;
            format!(r#""{name}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{start},{end}]}}"#)
        })
        .collect();
    let header = format!("{{{}}}", lines.join(","));
    let path = directory.join("model.safetensors");
    fs::write(&path, [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat()).unwrap();
    File::options().write(true).open(&path).unwrap().set_len((8 + header.len() + end) as u64).unwrap();
}

#[test]
fn a_checkpoint_cut_while_it_is_read_names_the_tensor_in_both_passes() {
    let directory = tempfile::tempdir().unwrap();
    let spec = ModelSpec::Local(directory.path().to_owned());
    let pixels = || PixelValues::new(64, 64, vec![0.0; 3 * 64 * 64]).unwrap();
    let weights = directory.path().join("model.safetensors");
    let cut = || {
        let file = File::options().write(true).open(&weights).unwrap();
        file.set_len(file.metadata().unwrap().len() - 300_000).unwrap();
    };
    // The last tensor of the last block that is larger than what is missing.
    let names_tensor = |error: ModelError| {
        assert!(
            matches!(&error, ModelError::Cut { tensor, .. } if tensor.starts_with("encoder.layers.1.")),
            "{error}"
        );
        assert!(error.to_string().contains("model.safetensors: was cut short while it was read"), "{error}");
    };
    for once in [false, true] {
        zeros(directory.path(), 2);
        let mut options = Options::default();
        options.threads = 2.try_into().unwrap();
        let opened = Opened::open(&spec, options).unwrap();
        if once {
            // What is streamed is read when it is multiplied with.
            let extractor = Extractor::of(opened.into(), true).unwrap();
            assert!(extractor.encode(vec![pixels()]).is_ok());
            cut();
            names_tensor(extractor.encode(vec![pixels()]).unwrap_err());
        } else {
            cut();
            names_tensor(Extractor::of(opened.into(), false).unwrap_err());
        }
    }
}

#[test]
fn a_checkpoint_cut_at_any_moment_of_a_run_is_a_message_and_code_2() {
    let directory = tempfile::tempdir().unwrap();
    let weights = directory.path().join("model.safetensors");
    let start = |images: usize| {
        let mut command = command();
        command.arg("-q").arg("-m").arg(directory.path());
        for image in 0..images {
            let copy = directory.path().join(format!("{image}.png"));
            fs::copy(picture(), &copy).unwrap();
            command.arg(copy);
        }
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command.spawn().unwrap()
    };
    // One image streams the weights, two keep them.
    for images in [1, 2] {
        zeros(directory.path(), 12);
        let started = Instant::now();
        assert!(start(images).wait().unwrap().success());
        let undisturbed = started.elapsed();
        let mut refused = 0;
        for moment in 0..10 {
            zeros(directory.path(), 12);
            let child = start(images);
            thread::sleep(undisturbed.mul_f64(f64::from(moment) / 10.0));
            File::options()
                .write(true)
                .open(&weights)
                .unwrap()
                .set_len(100_000 * (1 + moment as u64))
                .unwrap();
            let outcome = Outcome::from(child.wait_with_output().unwrap());
            // The weights may have been read already. There is no other way out.
            if outcome.code != Some(0) {
                refused += 1;
                let is_told = ["was cut short while it was read: tensor ", "truncated safetensors file"];
                assert!(is_told.iter().any(|part| outcome.stderr.contains(part)), "{outcome:?}");
                outcome.failed(2, "model.safetensors: ");
            }
        }
        assert!(refused > 0, "no cut came in time");
    }
}

#[test]
fn names_that_differ_in_dots_alone_are_told_of_where_a_tar_has_none() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let picture = fs::read(fixture("images/png-rgb-8.png")).unwrap();
    for name in ["photo.1.png", "photo_1.png"] {
        fs::write(at(name), &picture).unwrap();
    }
    for more in [&[][..], &["--keep-extension"]] {
        let target = at("x.tar");
        let words = [at("photo.1.png"), at("photo_1.png"), "-q".into(), "-o".into(), target];
        let refused = run(words.iter().map(String::as_str).chain(more.iter().copied()));
        let refused = refused.failed(2, "as the dots of a name become underscores in a tar");
        assert!(refused.stderr.contains("\nhint: rename one of them, or write a directory"), "{refused:?}");
    }
    // Where the extension tells them apart, that is the way out.
    fs::write(at("photo.1.jpg"), &picture).unwrap();
    let refused = run([at("photo_1.png"), at("photo.1.jpg"), "-o".into(), at("x.tar")]);
    assert!(refused.failed(2, "would both be written").stderr.contains("hint: --keep-extension"));
    run([at("photo.1.png"), at("photo_1.png"), "-q".into(), "-o".into(), at("x.safetensors")]).done();
}

#[cfg(target_os = "linux")]
#[test]
fn an_input_for_which_there_is_no_memory_is_refused_with_its_size() {
    // 1.78 million tokens, whose attention alone takes more than the two gigabytes of addresses that are allowed.
    let script = "ulimit -v 2000000; exec \"$@\"";
    let words = ["--threads", "1", &picture(), "--image-size", "8000"].map(str::to_owned);
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh", env!("CARGO_BIN_EXE_clip-features"), "-m"]).arg(tiny()).args(words);
    let refused = Outcome::from(shell.output().unwrap());
    let told = "pixel_values of 8000x8000 are 1776890 tokens, which take 3.1 GiB of memory at the least";
    let refused = refused.failed(2, told);
    assert!(refused.stderr.contains("\nhint: give a smaller --image-size"), "{refused:?}");
}

#[test]
fn a_shape_that_cannot_be_resized_is_refused_before_its_pixels_are_made() {
    // Whoever decodes it says that it is cut.
    let directory = tempfile::tempdir().unwrap();
    let strip = directory.path().join("strip.ppm");
    fs::write(&strip, "P6 1 178956970 255 ").unwrap();
    run([&strip]).failed(1, "a picture of 1x178956970 pixels cannot be resized");
    fs::write(&strip, "P6 1 1000 255 ").unwrap();
    run([&strip]).failed(1, "truncated");
}
