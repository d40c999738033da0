//! Values that are not finite are told of.
#![cfg(feature = "cli")]

mod support;

use std::{fs, path::Path};

use serde_json::Value;
use support::{
    fixture,
    run::{Outcome, command, tiny},
};

/// A copy of the tiny checkpoint in which the first element of a tensor is another.
fn altered(directory: &Path, tensor: &str, value: f32) {
    fs::create_dir(directory).unwrap();
    for entry in fs::read_dir(tiny()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), directory.join(entry.file_name())).unwrap();
    }
    let path = directory.join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    assert_eq!(header[tensor]["dtype"], "F32");
    let start = 8 + length + header[tensor]["data_offsets"][0].as_u64().unwrap() as usize;
    bytes[start..start + 4].copy_from_slice(&value.to_le_bytes());
    fs::write(&path, bytes).unwrap();
}

/// The output of the last block is summed with this.
const BIAS: &str = "encoder.layers.2.mlp.fc2.bias";

#[test]
fn they_are_counted_and_the_way_out_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    altered(&at("large"), BIAS, 1e6);
    fs::create_dir(at("in")).unwrap();
    for name in ["in/a.png", "in/b.png"] {
        fs::copy(fixture("images/png-rgb-8.png"), at(name)).unwrap();
    }
    let run = |model: &str, words: &[&str]| -> Outcome {
        let mut command = command();
        let command = command.current_dir(directory.path()).args(["-m", model, "--json"]).args(words);
        command.output().unwrap().into()
    };
    let objects = |outcome: &Outcome| -> Vec<Value> {
        outcome.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    // One channel of each of 26 tokens.
    let one = run("large", &["in/a.png", "--dtype", "f16", "-o", "x.npy"]);
    assert_eq!((one.code, objects(&one)[0]["not_finite"].as_u64()), (Some(0), Some(26)), "{one:?}");
    let told =
        "26 values of last_hidden_state are not finite in f16\nhint: f16 ends at 65504; --dtype f32 or bf16";
    assert!(one.stderr.contains(told), "{one:?}");
    let both = run("large", &["in", "--dtype", "f16", "-o", "out/"]);
    assert_eq!(objects(&both)[2]["summary"]["not_finite"], 2, "{both:?}");
    assert!(both.stderr.contains("warning: 2 images have values that are not finite"), "{both:?}");
    // What holds them says nothing.
    for dtype in ["f32", "bf16"] {
        let kept =
            run("large", &["in", "--dtype", dtype, "-q", "-o", &format!("{dtype}.safetensors")]).done();
        assert!(objects(&kept).iter().all(|object| object.get("not_finite").is_none()), "{kept:?}");
    }
}
