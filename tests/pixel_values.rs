//! Every picture in fixtures/images against what the reference made of it: decoded, resized, cropped and normalized, bit for bit.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clip_features::processor::{Filter, PixelValues, Processor, ProcessorConfig};
use pillow_exact::{Alpha, DecodeOptions, ExifOrientation, decode};
use safetensors::SafeTensors;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// One entry of golden/pixel_values.json.
#[derive(Deserialize)]
struct Golden {
    sha256: String,
    shape: [usize; 4],
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// The options behind a name that the golden files use.
fn options(name: &str) -> DecodeOptions {
    let default = DecodeOptions::default();
    match name {
        "alpha-drop" => DecodeOptions { alpha: Alpha::Drop, ..default },
        "exif-apply" => DecodeOptions { exif_orientation: ExifOrientation::Apply, ..default },
        _ => default,
    }
}

fn pixel_values(file: &str, options: &DecodeOptions, processor: &Processor) -> Result<PixelValues, String> {
    let bytes = fs::read(fixtures().join("images").join(file)).map_err(|error| format!("{file}: {error}"))?;
    let decoded = decode(&bytes, options).map_err(|error| format!("{file}: {error}"))?;
    processor.process(&decoded.rgb).map_err(|error| format!("{file}: {error}"))
}

fn little_endian(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// What sets `ours` apart from `golden`, both (3, height, width); none if not a bit does.
fn difference(ours: &[f32], golden: &[f32], width: usize) -> Option<String> {
    if ours.len() != golden.len() {
        return Some(format!("{} values instead of {}", ours.len(), golden.len()));
    }
    let pairs = || ours.iter().zip(golden).enumerate();
    let (first, (mine, theirs)) = pairs().find(|(_, (mine, theirs))| mine.to_bits() != theirs.to_bits())?;
    let largest = pairs().map(|(_, (mine, theirs))| (mine - theirs).abs()).fold(0.0, f32::max);
    let plane = ours.len() / 3;
    let (channel, row, column) = (first / plane, first % plane / width, first % width);
    let place = format!("channel {channel}, row {row}, column {column}");
    Some(format!("largest difference {largest}; first at {place}: {mine} instead of {theirs}"))
}

fn report(failures: &[String], checked: usize) {
    assert!(failures.is_empty(), "{} of {checked} differ:\n{}", failures.len(), failures.join("\n"));
    println!("{checked} equal");
}

#[test]
fn every_picture_at_224_has_the_reference_s_bytes() {
    let text = fs::read_to_string(fixtures().join("golden/pixel_values.json")).expect("golden file");
    let golden: BTreeMap<String, BTreeMap<String, Golden>> =
        serde_json::from_str(&text).expect("golden JSON");
    let processor = Processor::clip(224);
    let (mut checked, mut failures) = (0, Vec::new());
    for (name, files) in &golden {
        for (file, golden) in files {
            checked += 1;
            match pixel_values(file, &options(name), &processor) {
                Err(error) => failures.push(format!("{name}: {error}")),
                Ok(values) => {
                    let shape = [1, PixelValues::CHANNELS, values.height(), values.width()];
                    let digest = format!("{:x}", Sha256::digest(little_endian(values.as_slice())));
                    if shape != golden.shape || digest != golden.sha256 {
                        failures.push(format!("{name}: {file}: shape {shape:?}, other bytes"));
                    }
                }
            }
        }
    }
    assert!(checked > 100, "only {checked} pictures in the golden file");
    report(&failures, checked);
}

#[test]
fn every_picture_at_20_equals_the_reference_s_array() {
    let bytes = fs::read(fixtures().join("golden/pixel_values-20.safetensors")).expect("golden file");
    let golden = SafeTensors::deserialize(&bytes).expect("golden safetensors");
    let filters = ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"];
    let (mut checked, mut failures) = (0, Vec::new());
    for (key, tensor) in golden.iter() {
        let (name, file) = key.split_once('/').expect("name/file");
        let number = filters.iter().position(|filter| *filter == name);
        let resample =
            number.map_or(Filter::Bicubic, |number| Filter::from_number(number as u64).expect("a filter"));
        let processor = Processor::new(ProcessorConfig { resample, ..ProcessorConfig::clip(20) });
        let golden: Vec<f32> = tensor
            .data()
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().expect("4 bytes")))
            .collect();
        checked += 1;
        match pixel_values(file, &options(name), &processor) {
            Err(error) => failures.push(format!("{name}: {error}")),
            Ok(values) => failures.extend(
                difference(values.as_slice(), &golden, values.width())
                    .map(|what| format!("{name}: {file}: {what}")),
            ),
        }
    }
    assert!(checked > 100, "only {checked} pictures in the golden file");
    report(&failures, checked);
}

#[test]
fn what_the_reference_refuses_is_refused() {
    let mut opened = Vec::new();
    let mut checked = 0;
    for entry in fs::read_dir(fixtures().join("images/bad")).expect("a folder") {
        let path = entry.expect("an entry").path();
        checked += 1;
        if decode(&fs::read(&path).expect("a file"), &DecodeOptions::default()).is_ok() {
            opened.push(path.display().to_string());
        }
    }
    assert!(checked > 10, "only {checked} bad files");
    report(&opened, checked);
}

#[test]
fn a_truncated_picture_never_panics() {
    for file in ["png-palette-4.png", "gif-interlaced.gif", "bmp-8-rle.bmp", "jpeg-420-progressive.jpg"] {
        let bytes = fs::read(fixtures().join("images").join(file)).expect("a picture");
        for length in (0..bytes.len()).step_by(7) {
            // Some formats are complete before their last byte; none may fail in another way than with an error.
            if let Err(error) = decode(&bytes[..length], &DecodeOptions::default()) {
                assert!(!error.to_string().contains("decoder failed"), "{file} cut at {length}: {error}");
            }
        }
    }
}
