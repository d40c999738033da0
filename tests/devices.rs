//! The two ways to compute, on a CPU: what chooses between them, and what candle's promises of batches.
#![cfg(feature = "cli")]

mod support;

use std::{fs, num::NonZero, path::Path};

use candle_core::{Device, Tensor};
use clip_features::{
    Extractor,
    device::Kernels,
    extractor::{Options, TensorKind},
    model::{Model, ModelSpec, RandomWeights, VisionConfig, VisionTower, Wanted, Weights},
    output::{Array, Dtype},
    processor::PixelValues,
};
use half::{bf16, f16};
use safetensors::SafeTensors;
use support::{
    candle, difference, fixture, golden,
    run::{Outcome, command, run},
};

const PICTURES: [&str; 3] = ["coffee.png", "jpeg-420.jpg", "chelsea.png"];

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// A checkpoint's extractor of these tensors on candle's operations.
fn extractor(directory: &Path, tensors: &[TensorKind], batch: usize) -> Extractor {
    let mut options = Options::default();
    options.request.tensors = tensors.to_vec();
    options.kernels = Some(Kernels::Candle);
    options.batch = NonZero::new(batch);
    Extractor::load(&ModelSpec::Local(directory.to_owned()), options).unwrap()
}

fn inputs(extractor: &Extractor) -> Vec<PixelValues> {
    let picture = |name: &&str| fs::read(fixture("images").join(name)).unwrap();
    let pixels = |bytes: Vec<u8>| extractor.opened().preprocess(&bytes).unwrap().pixel_values;
    PICTURES.iter().map(picture).map(pixels).collect()
}

/// Pooled tensors are of a row an image, which is where candle's products are other functions by the number of rows.
#[test]
fn pooled_outputs_of_candles_road_are_the_same_in_every_batch() {
    use TensorKind::{ImageEmbeds, ImageFeatures, LastHiddenState, PoolerOutput};
    let mut compared = 0;
    for room in ["checkpoints", "language"] {
        let directories = fs::read_dir(fixture(room)).unwrap().map(|entry| entry.unwrap().path());
        for directory in directories.filter(|path| path.is_dir()) {
            let model = Model::open(&ModelSpec::Local(directory.clone())).unwrap();
            let config = model.config().unwrap();
            let mut tensors = vec![LastHiddenState];
            tensors.extend(config.pools().then_some(PoolerOutput));
            tensors.extend(config.image_features.is_ok().then_some(ImageFeatures));
            let embeds = Wanted { image_embeds: true, ..Wanted::default() };
            tensors.extend(embeds.check(&config, &model.weights().unwrap()).is_ok().then_some(ImageEmbeds));
            let found = [1, 2, 5].map(|batch| {
                let extractor = extractor(&directory, &tensors, batch);
                let together = extractor.encode(inputs(&extractor)).unwrap();
                let alone =
                    inputs(&extractor).into_iter().map(|one| extractor.encode(vec![one]).unwrap().remove(0));
                let bits =
                    |arrays: Vec<Array>| arrays.iter().map(|array| bits(&array.values)).collect::<Vec<_>>();
                let [together, alone] = [together, alone.collect()]
                    .map(|images| images.into_iter().map(bits).collect::<Vec<_>>());
                assert!(together == alone, "{}: batches of {batch}", directory.display());
                together
            });
            assert!(found[1] == found[0] && found[2] == found[0], "{}", directory.display());
            compared += tensors.len();
        }
    }
    assert!(compared > 100, "{compared}");
}

/// The same at the widths of ViT-L/14, of which one block shows it.
#[test]
fn a_wide_towers_outputs_are_the_same_in_every_batch_too() {
    let config = VisionConfig { num_hidden_layers: 1, ..VisionConfig::vit_large_patch14() };
    let weights = Weights::Random(RandomWeights::new(0));
    let wanted = Wanted { pooler_output: true, image_embeds: true, ..Wanted::last_hidden_state() };
    let tower = VisionTower::load_for(&wanted, config, &weights, &candle()).unwrap();
    let pixels = Tensor::randn(0f32, 1f32, (3, 3, 224, 224), &Device::Cpu).unwrap();
    let found = |count: usize| {
        let outputs = tower.outputs(&pixels.narrow(0, 0, count).unwrap(), &wanted).unwrap();
        [outputs.last_hidden_state, outputs.pooler_output, outputs.image_embeds].map(|tensor| {
            bits(&tensor.unwrap().get(0).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap())
        })
    };
    assert!(found(1) == found(2) && found(1) == found(3));
}

/// What is rounded where candle computes, to be brought to the host, is what would be written of float32.
#[test]
fn tensors_that_will_be_halves_are_rounded_once() {
    use TensorKind::{Attentions, HiddenStates, LastHiddenState, PoolerOutput};
    let extractor = extractor(
        &fixture("checkpoints/vision"),
        &[LastHiddenState, HiddenStates, Attentions, PoolerOutput],
        2,
    );
    let exact = extractor.encode_as(inputs(&extractor), Dtype::F32).unwrap().concat();
    for (dtype, rounded) in [
        (Dtype::F16, (|value| f16::from_f32(value).to_f32()) as fn(f32) -> f32),
        (Dtype::Bf16, |value| bf16::from_f32(value).to_f32()),
    ] {
        let halves = extractor.encode_as(inputs(&extractor), dtype).unwrap().concat();
        assert_eq!(halves.len(), exact.len());
        for (found, exact) in halves.iter().zip(&exact) {
            let want: Vec<f32> = exact.values.iter().copied().map(rounded).collect();
            assert_eq!((&found.name, &found.shape), (&exact.name, &exact.shape));
            assert_eq!(bits(&found.values), bits(&want), "{}", found.name);
            assert_ne!(bits(&found.values), bits(&exact.values), "{}", found.name);
        }
    }
}

fn picture() -> String {
    fixture("images/coffee.png").to_str().unwrap().to_owned()
}

/// A device refused with this in the message, before a model is looked for, which no hub answers for here.
#[cfg(not(feature = "metal"))]
fn refused(device: &str, part: &str) -> Outcome {
    let directory = tempfile::tempdir().unwrap();
    let mut command = command();
    command.env("HF_ENDPOINT", "http://127.0.0.1:9").env("HF_HUB_CACHE", directory.path());
    command.args(["--model", "no/such", "--device", device, &picture()]).current_dir(directory.path());
    Outcome::from(command.output().unwrap()).failed(2, part)
}

/// By the driver, or because there is none: the command starts without it.
#[cfg(feature = "cuda")]
#[test]
fn a_card_that_is_not_there_is_refused_and_a_cpu_is_taken() {
    let refused = refused("cuda:99", "device cuda:99: ");
    assert!(refused.stderr.contains("\nhint: "), "{refused:?}");
    run([&picture(), "--device", "auto", "-q"]).done();
    run([&picture(), "--device", "cpu", "-q"]).done();
}

#[cfg(not(any(feature = "cuda", feature = "metal")))]
#[test]
fn a_device_that_this_build_does_not_know_is_refused_with_the_way_out() {
    for (device, feature) in [("cuda", "cuda"), ("cuda:0", "cuda"), ("cuda:31", "cuda"), ("metal", "metal")] {
        let refused = refused(device, &format!("this build is without the feature {feature}"));
        let hint = format!("\nhint: build with --features {feature}, as docs/devices.md says");
        assert!(refused.stderr.contains(&hint), "{refused:?}");
    }
    run([&picture(), "--device", "auto", "-q"]).done();
    run([&picture(), "--device", "cpu", "-q"]).done();
}

#[test]
fn what_does_not_go_together_is_refused() {
    for (line, part) in [
        (
            "--kernels candle --matmul-precision medium",
            "candle's operations have highest alone on device cpu",
        ),
        ("--kernels candle --matmul-precision high", "hint: leave --matmul-precision out"),
        ("--kernels candle --tensor pixel_values", "--kernels affects the tower alone"),
        ("--device cpu --tensor pixel_values", "--device affects the tower alone"),
    ] {
        let picture = picture();
        run(line.split(' ').chain([picture.as_str()])).failed(2, part);
    }
    for device in ["gpu", "cuda:", "cuda:x", "cpu:0"] {
        let refused = run([&picture(), "--device", device]);
        assert!(
            refused.code == Some(2) && refused.stderr.contains("auto, cpu, cuda, cuda:N or metal"),
            "{refused:?}"
        );
    }
}

#[test]
fn outputs_say_their_road_and_have_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, more: &[&str]| {
        run([&picture(), "-q", "-o", &path(name)].into_iter().chain(more.iter().copied())).done();
        fs::read(path(name)).unwrap()
    };
    let metadata = |bytes: &[u8]| SafeTensors::read_metadata(bytes).unwrap().1.metadata().clone().unwrap();
    let (own, candle) =
        (write("own.safetensors", &[]), write("candle.safetensors", &["--kernels", "candle"]));
    let said = metadata(&candle);
    assert_eq!([said["compute"].as_str(), &said["kernels"]], ["candle-cpu-f32", "candle"]);
    assert!(!metadata(&own).contains_key("kernels"));
    assert_eq!(write("asked.safetensors", &["--device", "cpu", "--kernels", "own"]), own);
    let values = |bytes: &[u8]| -> Vec<f32> {
        let archive = SafeTensors::deserialize(bytes).unwrap();
        let data = archive.tensor("last_hidden_state").unwrap().data().to_vec();
        data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    let expected = &golden("towers/vision.safetensors")["coffee.png/last_hidden_state"].values;
    for found in [values(&own), values(&candle)] {
        assert!(difference(&found, expected).relative < 1e-6);
    }
    assert_ne!(bits(&values(&own)), bits(&values(&candle)));

    let both = [picture(), fixture("images/jpeg-420.jpg").to_str().unwrap().to_owned()];
    let stack = path("stack.npy");
    run(both.iter().map(String::as_str).chain(["-q", "-o", &stack])).done();
    run(both.iter().map(String::as_str).chain(["-q", "-o", &stack, "--kernels", "candle"]))
        .failed(2, "made without kernels, not with candle");
}
