//! Towers out of vision-language models, and what their language models read, against the reference's float64 run.
#![cfg(feature = "hub")]

mod support;

use std::{collections::BTreeMap, path::Path};

use candle_core::{Device, Tensor};
use clip_features::device::Road;
use clip_features::hub::{self, ModelChoice};
use clip_features::kernels::{Compute, MatmulPrecision};
use clip_features::model::{Model, ModelSpec, VisionTower, Wanted};
use clip_features::processor::{Backend, Fit, Processor, ProcessorConfig};
use pillow_exact::{DecodeOptions, decode};
use safetensors::SafeTensors;
use sha2::{Digest, Sha256};
use support::{Golden, difference, fixture, golden, roads};

/// As for towers alone.
const BOUND: f64 = 1e-6;

const BOTH: Wanted = Wanted {
    last_hidden_state: true,
    hidden_states: std::collections::BTreeSet::new(),
    attentions: std::collections::BTreeSet::new(),
    pooler_output: false,
    image_embeds: false,
    image_features: true,
    padding: false,
};

/// The kinds of checkpoint, each in a directory of its own.
fn kinds() -> Vec<String> {
    let entries = std::fs::read_dir(fixture("language")).unwrap().map(|entry| entry.unwrap());
    let entries = entries.filter(|entry| entry.path().is_dir());
    let mut kinds: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    kinds.sort();
    assert!(kinds.len() >= 13, "{kinds:?}");
    kinds
}

fn open(kind: &str) -> Model {
    Model::open(&ModelSpec::Local(fixture("language").join(kind))).unwrap()
}

/// Pixel values (1, 3, H, W) or (1, tiles, 3, H, W) → (tiles, 3, H, W).
fn pixels(golden: &Golden) -> Tensor {
    let values: Vec<f32> = golden.values.iter().map(|&value| value as f32).collect();
    let inner = &golden.shape[golden.shape.len() - 3..];
    let shape = [&[values.len() / inner.iter().product::<usize>()], inner].concat();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn digest(values: &[f32]) -> String {
    let mut hasher = Sha256::new();
    values.iter().for_each(|value| hasher.update(value.to_le_bytes()));
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn picture(name: &str) -> image::RgbImage {
    let bytes = std::fs::read(fixture("images").join(name)).unwrap();
    decode(&bytes, &DecodeOptions::default()).unwrap().rgb
}

#[test]
fn towers_and_image_features_are_the_references() {
    for kind in kinds() {
        let expected = golden(format!("../language/{kind}/golden.safetensors"));
        let model = open(&kind);
        for road in roads() {
            let tower = model.tower(&BOTH, &road).unwrap();
            let found = tower.outputs(&pixels(&expected["pixel_values"]), &BOTH).unwrap();
            for (name, found) in
                [("last_hidden_state", found.last_hidden_state), ("image_features", found.image_features)]
            {
                let (found, expected) = (found.unwrap(), &expected[name]);
                assert_eq!(found.dims(), expected.shape, "{kind}: {name}");
                let difference = difference(&flat(&found), &expected.values);
                println!("{kind} {name}, {}: {difference}", road.name());
                assert!(difference.relative < BOUND, "{kind} {name}, {}: {difference}", road.name());
            }
        }
    }
}

/// What is asked for alone, or of a tower whose layers stay in their files, or for one tile, or in a precision that this machine
/// does not gain from, has the same bytes.
#[test]
fn image_features_do_not_depend_on_what_is_beside_them() {
    let bits = |tensor: &Tensor| flat(tensor).into_iter().map(f32::to_bits).collect::<Vec<_>>();
    let alone = Wanted { last_hidden_state: false, ..BOTH };
    for kind in kinds() {
        let expected = golden(format!("../language/{kind}/golden.safetensors"));
        let (model, pixels) = (open(&kind), pixels(&expected["pixel_values"]));
        let both = model.tower(&BOTH, &Road::default()).unwrap();
        let both = bits(&both.outputs(&pixels, &BOTH).unwrap().image_features.unwrap());
        let config = model.config().unwrap();
        let weights = model.weights_in(alone.scope()).unwrap();
        let streamed = VisionTower::stream_for(&alone, config.clone(), &weights, Compute::default()).unwrap();
        let mut tiles = Vec::new();
        for tile in 0..pixels.dim(0).unwrap() {
            let outputs = streamed.outputs(&pixels.narrow(0, tile, 1).unwrap(), &alone).unwrap();
            assert!(outputs.last_hidden_state.is_none() && outputs.hidden_states.is_empty());
            tiles.extend(bits(&outputs.image_features.unwrap()));
        }
        assert_eq!(tiles, both, "{kind}");
        let rough = Compute::emulated(MatmulPrecision::Medium);
        let rough = VisionTower::load_for(&alone, config, &weights, &rough.into()).unwrap();
        let rough = flat(&rough.outputs(&pixels, &alone).unwrap().image_features.unwrap());
        let difference = difference(&rough, &expected["image_features"].values);
        assert!(difference.relative < 3e-2, "{kind}: {difference}");
    }
}

/// What the processor of every kind makes of a picture is the input that its golden values were made of.
#[test]
fn every_kinds_processor_is_the_references() {
    for kind in kinds() {
        let expected = golden(format!("../language/{kind}/golden.safetensors"));
        let (pixels, tiled) = (&expected["pixel_values"], expected.contains_key("image_sizes"));
        let processor = open(&kind).processor_with(Fit::Auto, None, None, Some(Backend::Pil), tiled).unwrap();
        let found = processor.process(&picture("jpeg-420.jpg")).unwrap();
        let values: Vec<f64> = found.as_slice().iter().map(|&value| value.into()).collect();
        assert!(values == pixels.values, "{kind}");
        if !tiled {
            let error =
                open(&kind).processor_with(Fit::Auto, None, None, Some(Backend::Pil), true).unwrap_err();
            assert!(error.to_string().contains("image_grid_pinpoints"), "{kind}: {error}");
        }
    }
}

/// Tiles bit for bit, on both backends, with every setting that changes one. Without tiles, the first of them is given.
#[test]
fn tiles_are_the_references() {
    #[derive(serde::Deserialize)]
    struct Case {
        config: serde_json::Value,
        /// The beginning of the SHA-256 of pixel_values, the number of tiles, and image_sizes.
        pictures: BTreeMap<String, (String, usize, [[u32; 2]; 1])>,
    }
    let text = std::fs::read_to_string(fixture("language/tiles.json")).unwrap();
    let cases: BTreeMap<String, Case> = serde_json::from_str(&text).unwrap();
    assert!(cases.len() >= 20);
    for (name, Case { config, pictures }) in cases {
        let backend = match name.split_once('/').unwrap().0 {
            "pil" => Backend::Pil,
            _ => Backend::Torchvision,
        };
        let config = ProcessorConfig::from_json(&config.to_string()).unwrap().on(backend).unwrap();
        let whole = Processor::new(config.clone().with_tiles(false).unwrap());
        let processor = Processor::new(config);
        for (file, (sha256, tiles, image_sizes)) in pictures {
            let picture = picture(&file);
            assert_eq!([[picture.height(), picture.width()]], image_sizes);
            let found = processor.process(&picture).unwrap();
            assert_eq!(found.tiles(), tiles, "{name}: {file}");
            assert!(digest(found.as_slice()).starts_with(&sha256), "{name}: {file}");
            let first = whole.process(&picture).unwrap();
            assert_eq!(first.as_slice(), &found.as_slice()[..first.as_slice().len()], "{name}: {file}");
        }
    }
}

/// An original LLaVA checkpoint, as transformers' conversion script reads one: `language/llava`'s tensors by their first names.
/// With `unfrozen` the tower is inside, and the second model has no weights.
fn original_llava(directory: &Path, unfrozen: bool, settings: serde_json::Value) {
    let llava = fixture("language/llava");
    let tower = directory.join("tower");
    std::fs::create_dir_all(&tower).unwrap();
    let config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(llava.join("config.json")).unwrap()).unwrap();
    std::fs::write(tower.join("config.json"), config["vision_config"].to_string()).unwrap();
    std::fs::copy(llava.join("preprocessor_config.json"), tower.join("preprocessor_config.json")).unwrap();
    let mut own = serde_json::json!({"model_type": "llava_llama", "hidden_size": 14, "mm_vision_tower": "tower",
        "mm_projector_type": "mlp2x_gelu", "mm_vision_select_layer": -2, "mm_hidden_size": 12});
    own.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    std::fs::write(directory.join("config.json"), own.to_string()).unwrap();
    let bytes = std::fs::read(llava.join("model.safetensors")).unwrap();
    let (mut inside, mut beside) = (Vec::new(), Vec::new());
    let is_projected = own["mm_projector_type"] != "identity";
    for (name, view) in SafeTensors::deserialize(&bytes).unwrap().tensors() {
        if name.starts_with("multi_modal_projector") && !is_projected {
            continue;
        }
        let renamed = name
            .replace("multi_modal_projector.linear_1", "model.mm_projector.0")
            .replace("multi_modal_projector.linear_2", "model.mm_projector.2");
        match renamed.strip_prefix("vision_tower.") {
            Some(name) if unfrozen => {
                inside.push((format!("model.vision_tower.vision_tower.vision_model.{name}"), view));
            }
            Some(name) => beside.push((name.to_owned(), view)),
            None => inside.push((renamed.replace("language_model.", "model."), view)),
        }
    }
    safetensors::serialize_to_file(inside, None, &directory.join("model.safetensors")).unwrap();
    if !unfrozen {
        safetensors::serialize_to_file(beside, None, &tower.join("model.safetensors")).unwrap();
    }
}

fn obtained(directory: &Path) -> Result<ModelSpec, String> {
    let settings = || panic!("nothing is looked for on a hub");
    let choice = ModelChoice::new(Some(directory), None, None, settings).unwrap();
    choice.obtain(hub::Wanted::Projector, &|_| {}).map_err(|error| error.to_string())
}

#[test]
fn an_original_llava_is_the_converted_one() {
    let expected = golden("../language/llava/golden.safetensors");
    let pixels = pixels(&expected["pixel_values"]);
    for unfrozen in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        original_llava(directory.path(), unfrozen, serde_json::json!({}));
        let model = Model::open(&obtained(directory.path()).unwrap()).unwrap();
        let tower = model.tower(&BOTH, &Road::default()).unwrap();
        let found = tower.outputs(&pixels, &BOTH).unwrap();
        let converted = open("llava").tower(&BOTH, &Road::default()).unwrap();
        let converted = converted.outputs(&pixels, &BOTH).unwrap();
        assert_eq!(flat(&found.image_features.unwrap()), flat(&converted.image_features.unwrap()));
        assert_eq!(flat(&found.last_hidden_state.unwrap()), flat(&converted.last_hidden_state.unwrap()));
    }
}

/// Then no tensor tells it from a class that is only a tower.
#[test]
fn an_original_llava_can_be_without_a_projector() {
    let pixels = pixels(&golden("../language/llava/golden.safetensors")["pixel_values"]);
    let directory = tempfile::tempdir().unwrap();
    let settings = serde_json::json!({"mm_projector_type": "identity", "mm_vision_select_feature": "cls_patch",
        "mm_vision_select_layer": -1, "hidden_size": 12});
    original_llava(directory.path(), false, settings);
    let model = Model::open(&obtained(directory.path()).unwrap()).unwrap();
    let found = model.tower(&BOTH, &Road::default()).unwrap().outputs(&pixels, &BOTH).unwrap();
    assert_eq!(flat(&found.image_features.unwrap()), flat(&found.last_hidden_state.unwrap()));
}

#[test]
fn an_original_llava_says_how_its_pictures_become_squares_and_what_is_read_of_them() {
    let directory = tempfile::tempdir().unwrap();
    let picture = picture("jpeg-420.jpg");
    for (aspect, fit) in [("pad", Fit::Pad), ("anyres", Fit::Squash), ("square", Fit::Auto)] {
        let settings =
            serde_json::json!({"image_aspect_ratio": aspect, "mm_vision_select_feature": "cls_patch"});
        original_llava(directory.path(), false, settings);
        let model = Model::open(&obtained(directory.path()).unwrap()).unwrap();
        let found = model.processor().unwrap().process(&picture).unwrap();
        let expected = open("llava").processor_with(fit, None, None, Some(Backend::Pil), false).unwrap();
        assert_eq!(found, expected.process(&picture).unwrap(), "{aspect}");
        let config = model.config().unwrap();
        assert_eq!(config.image_features_shape(5, 5), Ok([26, 14]));
    }
    for (settings, part) in [
        (serde_json::json!({"mm_projector_type": "cabstract"}), "mm_projector_type \"cabstract\""),
        (serde_json::json!({"mm_vision_select_layer": 9}), "mm_vision_select_layer 9"),
    ] {
        original_llava(directory.path(), false, settings);
        let model = Model::open(&obtained(directory.path()).unwrap()).unwrap();
        let message = model.tower(&BOTH, &Road::default()).unwrap_err().to_string();
        assert!(message.starts_with("image_features: ") && message.contains(part), "{message}");
        assert!(message.contains("\nhint: it has last_hidden_state"), "{message}");
    }
    // Alone it cannot be opened, and no circle of names is followed.
    let message = Model::open(&ModelSpec::Local(directory.path().into())).unwrap().config().unwrap_err();
    assert!(message.to_string().contains("its vision tower is another model, tower"), "{message}");
    original_llava(directory.path(), false, serde_json::json!({"mm_vision_tower": "."}));
    let message = Model::open(&obtained(directory.path()).unwrap()).unwrap().config().unwrap_err();
    assert!(message.to_string().contains("its vision tower is another model"), "{message}");
}
