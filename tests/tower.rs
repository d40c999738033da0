//! The tower against the reference's float64 run, stage by stage, and against candle-transformers' own CLIP.

mod support;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::clip::{
    text_model::Activation as CandleActivation,
    vision_model::{ClipVisionConfig, ClipVisionTransformer},
};
use clip_features::{
    image::{DecodeOptions, decode},
    model::{Activation, Model, ModelSpec, RandomWeights, VisionTower},
};
use support::{difference, fixture, golden};

/// The most that a stage may differ from a float64 run, in relative Frobenius norm: about twice torch's own
/// float32 error.
const BOUND: f64 = 1e-6;

fn open(kind: &str) -> Model {
    Model::open(&ModelSpec::Local(fixture("checkpoints").join(kind))).unwrap()
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// The kinds of checkpoint, each in a directory of its own.
fn kinds() -> Vec<String> {
    let mut kinds: Vec<_> = std::fs::read_dir(fixture("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    kinds.sort();
    assert!(kinds.len() >= 12, "{kinds:?}");
    kinds
}

const PICTURES: [&str; 2] = ["coffee.png", "jpeg-420.jpg"];

#[test]
fn every_stage_of_every_kind_of_checkpoint_is_the_references() {
    for kind in kinds() {
        let tower = open(&kind).tower(&Device::Cpu).unwrap();
        let expected = golden(format!("towers/{kind}.safetensors"));
        for picture in PICTURES {
            let pixels = &expected[&format!("{picture}/pixel_values")];
            let pixel_values: Vec<f32> = pixels.values.iter().map(|&value| value as f32).collect();
            let pixel_values = Tensor::from_vec(pixel_values, pixels.shape.as_slice(), &Device::Cpu).unwrap();
            let mut stages = vec![("embeddings".to_owned(), tower.embeddings(&pixel_values).unwrap())];
            for (layer, state) in tower.hidden_states(&pixel_values).unwrap().into_iter().enumerate() {
                stages.push((format!("hidden_states.{layer}"), state));
            }
            stages.push(("last_hidden_state".to_owned(), tower.forward(&pixel_values).unwrap()));
            assert_eq!(stages.len(), tower.config().num_hidden_layers + 3);
            for (stage, found) in stages {
                let expected = &expected[&format!("{picture}/{stage}")];
                assert_eq!(found.dims(), expected.shape, "{kind}: {stage}");
                let difference = difference(&flat(&found), &expected.values);
                println!("{kind} {picture} {stage}: {difference}");
                assert!(difference.relative < BOUND, "{kind} {picture} {stage}: {difference}");
            }
        }
    }
}

#[test]
fn the_full_vit_l_14_is_the_references() {
    let model = Model::open(&ModelSpec::Random { seed: 0, directory: None }).unwrap();
    let bytes = std::fs::read(fixture("images/coffee.png")).unwrap();
    let rgb = decode(&bytes, &DecodeOptions::default()).unwrap().rgb;
    let pixels = model.processor().unwrap().process(&rgb).unwrap();
    let pixel_values = Tensor::from_slice(pixels.as_slice(), (1, 3, 224, 224), &Device::Cpu).unwrap();
    let found = model.tower(&Device::Cpu).unwrap().forward(&pixel_values).unwrap();
    let expected = &golden("l14.safetensors")["last_hidden_state"];
    assert_eq!(found.dims(), [1, 257, 1024]);
    assert_eq!(found.dims(), expected.shape);
    let difference = difference(&flat(&found), &expected.values);
    println!("ViT-L/14: {difference}");
    assert!(difference.relative < BOUND, "{difference}");
}

/// Single elements as numpy makes them, bit for bit.
#[test]
fn random_weights_are_those_of_the_rule_in_numpy() {
    #[derive(serde::Deserialize)]
    struct Sample {
        seed: u64,
        name: String,
        shape: Vec<usize>,
        bits: std::collections::BTreeMap<usize, String>,
    }
    let text = std::fs::read_to_string(fixture("golden/random_weights.json")).unwrap();
    let samples: Vec<Sample> = serde_json::from_str(&text).unwrap();
    assert!(samples.len() >= 8);
    for sample in samples {
        let values = RandomWeights::new(sample.seed).tensor(&sample.name, &sample.shape);
        for (index, bits) in sample.bits {
            assert_eq!(format!("{:08x}", values[index].to_bits()), bits, "{} [{index}]", sample.name);
        }
    }
}

/// candle-transformers knows one activation and one epsilon, so only the kinds that have them.
#[test]
fn candle_transformers_agrees_on_every_block() {
    let mut compared = 0;
    for kind in kinds() {
        let model = open(&kind);
        let config = model.config().unwrap();
        if config.hidden_act != Activation::QuickGelu || config.layer_norm_eps != 1e-5 {
            continue;
        }
        let weights = model.weights().unwrap();
        let vb = VarBuilder::from_backend(Box::new(&weights), DType::F32, Device::Cpu);
        let theirs = ClipVisionConfig {
            embed_dim: config.hidden_size,
            activation: CandleActivation::QuickGelu,
            intermediate_size: config.intermediate_size,
            num_hidden_layers: config.num_hidden_layers,
            num_attention_heads: config.num_attention_heads,
            projection_dim: config.projection_dim,
            num_channels: 3,
            image_size: config.image_size,
            patch_size: config.patch_size,
        };
        let theirs = ClipVisionTransformer::new(vb.pp("vision_model"), &theirs).unwrap();
        let ours = VisionTower::load(config.clone(), &weights, &Device::Cpu).unwrap();
        let edge = config.image_size;
        let pixel_values = Tensor::randn(0f32, 1f32, (2, 3, edge, edge), &Device::Cpu).unwrap();
        // Theirs are the blocks' outputs, then the pooled token.
        let theirs = theirs.output_hidden_states(&pixel_values).unwrap();
        let ours = ours.hidden_states(&pixel_values).unwrap();
        assert_eq!(theirs.len(), ours.len());
        for (layer, (ours, theirs)) in ours[1..].iter().zip(&theirs).enumerate() {
            let theirs: Vec<f64> = flat(theirs).into_iter().map(f64::from).collect();
            let difference = difference(&flat(ours), &theirs);
            println!("{kind} block {layer}: {difference}");
            assert!(difference.relative < 2.0 * BOUND, "{kind} block {layer}: {difference}");
        }
        compared += 1;
    }
    assert!(compared >= 6, "{compared}");
}
