//! The tower against the reference's float64 run, stage by stage, and against candle-transformers' own CLIP.

mod support;

use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::clip::{
    text_model::Activation as CandleActivation,
    vision_model::{ClipVisionConfig, ClipVisionTransformer},
};
use clip_features::device::Road;
use clip_features::kernels::{Compute, Isa, MatmulPrecision};
use clip_features::model::{
    Activation, Family, Mlp, Model, ModelSpec, Outputs, RandomWeights, VisionConfig, VisionTower, Wanted,
    Weights,
};
use pillow_exact::{DecodeOptions, decode};
use support::{Golden, candle, difference, fixture, golden, roads};

/// The most that a stage may differ from a float64 run, in relative Frobenius norm: about twice torch's own
/// float32 error.
const BOUND: f64 = 1e-6;

fn open(kind: &str) -> Model {
    Model::open(&ModelSpec::Local(fixture("checkpoints").join(kind))).unwrap()
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn bytes(tensor: &Tensor) -> Vec<u32> {
    flat(tensor).into_iter().map(f32::to_bits).collect()
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

/// The pixel values of a golden file, as the tower's input.
fn pixels(expected: &BTreeMap<String, Golden>, prefix: &str) -> Tensor {
    let pixels = &expected[&format!("{prefix}/pixel_values")];
    let values: Vec<f32> = pixels.values.iter().map(|&value| value as f32).collect();
    Tensor::from_vec(values, pixels.shape.as_slice(), &Device::Cpu).unwrap()
}

/// Everything that a tower of this config gives.
fn everything(config: &VisionConfig, weights: &Weights) -> Wanted {
    let pooler_output = config.pools();
    let projection = match weights {
        Weights::Checkpoint(checkpoint) => checkpoint.contains("visual_projection.weight"),
        Weights::Random(_) => true,
    };
    Wanted {
        last_hidden_state: true,
        hidden_states: (0..=config.num_hidden_layers).collect(),
        attentions: (0..config.num_hidden_layers).collect(),
        pooler_output,
        image_embeds: config.projection_dim.is_some() && projection,
        image_features: false,
        padding: false,
    }
}

/// All outputs, named as `--tensor` and the reference name them.
fn named(outputs: Outputs) -> BTreeMap<String, Tensor> {
    let layered = |name: &str, tensors: BTreeMap<usize, Tensor>| {
        tensors.into_iter().map(|(layer, tensor)| (format!("{name}.{layer}"), tensor)).collect::<Vec<_>>()
    };
    let mut named: BTreeMap<String, Tensor> =
        layered("hidden_states", outputs.hidden_states).into_iter().collect();
    named.extend(layered("attentions", outputs.attentions));
    let single = [
        ("last_hidden_state", outputs.last_hidden_state),
        ("pooler_output", outputs.pooler_output),
        ("image_embeds", outputs.image_embeds),
    ];
    named.extend(single.into_iter().filter_map(|(name, tensor)| Some((name.to_owned(), tensor?))));
    named
}

#[test]
fn every_stage_of_every_kind_of_checkpoint_is_the_references() {
    for kind in kinds() {
        let model = open(&kind);
        let wanted = everything(&model.config().unwrap(), &model.weights().unwrap());
        let towers = roads().map(|road| (road.name(), model.tower(&wanted, &road).unwrap()));
        let expected = golden(format!("towers/{kind}.safetensors"));
        for (picture, (road, tower)) in
            PICTURES.iter().flat_map(|picture| towers.iter().map(move |tower| (picture, tower)))
        {
            let pixel_values = pixels(&expected, picture);
            let mut found = named(tower.outputs(&pixel_values, &wanted).unwrap());
            found.insert("embeddings".to_owned(), tower.embeddings(&pixel_values).unwrap());
            let stages: Vec<&str> =
                expected.keys().filter_map(|name| name.strip_prefix(picture)?.strip_prefix('/')).collect();
            assert_eq!(stages.len(), found.len() + 1, "{kind}: the golden file has {stages:?}");
            for (stage, found) in found {
                let expected = &expected[&format!("{picture}/{stage}")];
                assert_eq!(found.dims(), expected.shape, "{kind}: {stage}");
                let difference = difference(&flat(&found), &expected.values);
                println!("{kind} {picture} {stage}, {road}: {difference}");
                assert!(difference.relative < BOUND, "{kind} {picture} {stage}, {road}: {difference}");
            }
        }
    }
}

/// CLIP's kin have image processors of their own names, of which CLIPSeg's has its own size too.
#[test]
fn pixels_of_clips_kin_are_those_of_their_own_processors() {
    let kin = ["metaclip-2", "chinese-clip", "altclip", "clipseg"];
    for kind in kin.into_iter().flat_map(|kin| [kin.to_owned(), format!("{kin}-vision")]) {
        let processor = open(&kind).processor().unwrap();
        let expected = golden(format!("towers/{kind}.safetensors"));
        for picture in PICTURES {
            let file = std::fs::read(fixture("images").join(picture)).unwrap();
            let values = processor.process(&decode(&file, &DecodeOptions::default()).unwrap().rgb).unwrap();
            let expected = &expected[&format!("{picture}/pixel_values")];
            assert_eq!(expected.shape, [1, 3, values.height(), values.width()], "{kind}");
            let found: Vec<f64> = values.as_slice().iter().map(|&value| value.into()).collect();
            assert_eq!(found, expected.values, "{kind}: {picture}");
        }
    }
}

/// A tower whose layers stay in their files gives the bytes of a loaded one, in each of its forward passes.
#[test]
fn a_streamed_tower_is_the_loaded_one() {
    for kind in kinds() {
        let model = open(&kind);
        let (config, weights) = (model.config().unwrap(), model.weights().unwrap());
        let wanted = everything(&config, &weights);
        let pixel_values = pixels(&golden(format!("towers/{kind}.safetensors")), PICTURES[0]);
        let loaded =
            named(model.tower(&wanted, &Road::default()).unwrap().outputs(&pixel_values, &wanted).unwrap());
        let streamed = VisionTower::stream_for(&wanted, config, &weights, Compute::default()).unwrap();
        for _ in 0..2 {
            let found = named(streamed.outputs(&pixel_values, &wanted).unwrap());
            assert!(found.keys().eq(loaded.keys()), "{kind}");
            for (stage, found) in found {
                assert_eq!(bytes(&found), bytes(&loaded[&stage]), "{kind}: {stage}");
            }
        }
    }
}

#[test]
fn a_checkpoint_that_is_cut_short_in_between_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        let from = fixture("checkpoints").join("vision").join(name);
        std::fs::copy(from, directory.path().join(name)).unwrap();
    }
    let file = directory.path().join("model.safetensors");
    let model = Model::open(&ModelSpec::Local(directory.path().to_owned())).unwrap();
    let (config, weights) = (model.config().unwrap(), model.weights().unwrap());
    let edge = config.image_size;
    let tower =
        VisionTower::stream_for(&Wanted::last_hidden_state(), config, &weights, Compute::default()).unwrap();
    let pixel_values = Tensor::zeros((1, 3, edge, edge), DType::F32, &Device::Cpu).unwrap();
    tower.forward(&pixel_values).unwrap();
    std::fs::File::options().write(true).open(&file).unwrap().set_len(1 << 12).unwrap();
    let message = tower.forward(&pixel_values).unwrap_err().to_string();
    assert!(message.starts_with(&file.display().to_string()), "{message}");
}

/// A copy of a checkpoint of one file, with other tensors.
fn changed(kind: &str, change: impl FnOnce(&mut HashMap<String, Tensor>)) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut weights = None;
    for file in
        std::fs::read_dir(fixture("checkpoints").join(kind)).unwrap().map(|entry| entry.unwrap().path())
    {
        let copy = directory.path().join(file.file_name().unwrap());
        std::fs::copy(&file, &copy).unwrap();
        if copy.extension().is_some_and(|extension| extension == "safetensors") {
            assert!(weights.replace(copy).is_none(), "{kind} is one file");
        }
    }
    let weights = weights.unwrap();
    let mut tensors = candle_core::safetensors::load(&weights, &Device::Cpu).unwrap();
    change(&mut tensors);
    candle_core::safetensors::save(&tensors, weights).unwrap();
    directory
}

/// What wraps a model stands in its tensors' names alone.
#[test]
fn a_wrapped_model_is_the_model() {
    for (kind, wrappers) in [
        ("clip-model", &["module.", "_orig_mod.", "base_model.model.", "clip.", "module._orig_mod."][..]),
        ("vision", &["module.", "clip."]),
        ("siglip-vision", &["_orig_mod."]),
        ("dinov2-classifier", &["base_model.model."]),
        ("open-clip", &["module."]),
        ("timm", &["_orig_mod."]),
    ] {
        let run = |model: &Model| {
            let (config, weights) = (model.config().unwrap(), model.weights().unwrap());
            let wanted = everything(&config, &weights);
            let pixel_values = pixels(&golden(format!("towers/{kind}.safetensors")), PICTURES[0]);
            let tower = model.tower(&wanted, &Road::default()).unwrap();
            let found = named(tower.outputs(&pixel_values, &wanted).unwrap());
            let found: BTreeMap<_, _> =
                found.into_iter().map(|(name, tensor)| (name, bytes(&tensor))).collect();
            (weights.fingerprint().unwrap(), found)
        };
        let expected = run(&open(kind));
        for wrapper in wrappers {
            let wrapped = changed(kind, |tensors| {
                *tensors =
                    tensors.drain().map(|(name, tensor)| (format!("{wrapper}{name}"), tensor)).collect();
            });
            let model = Model::open(&ModelSpec::Local(wrapped.path().to_owned())).unwrap();
            assert!(run(&model) == expected, "{kind} in {wrapper}");
        }
    }
}

/// A weight that is no number is told by its name, whichever pass reads it and in every type.
#[test]
fn a_weight_that_is_not_finite_is_an_error_that_names_it() {
    for (kind, tensor, at, value) in [
        ("vision", "embeddings.position_embedding.weight", 700, f32::NAN),
        ("vision", "encoder.layers.2.self_attn.k_proj.bias", 35, f32::INFINITY),
        ("vision", "encoder.layers.1.mlp.fc2.weight", 0, f32::NEG_INFINITY),
        ("vision-f16", "encoder.layers.0.mlp.fc1.weight", 2699, f32::INFINITY),
        ("vision-bf16", "vision_model.encoder.layers.1.layer_norm2.weight", 43, f32::NAN),
        // One of three in a tensor, and one whose rows are columns.
        ("open-clip", "visual.transformer.resblocks.1.attn.in_proj_weight", 1199, f32::NAN),
        ("open-clip", "visual.proj", 27, f32::INFINITY),
        ("timm", "pos_embed", 3, f32::NAN),
    ] {
        let broken = changed(kind, |tensors| {
            let found = &tensors[tensor];
            let mut values = flat(&found.to_dtype(DType::F32).unwrap());
            values[at] = value;
            let whole = Tensor::from_vec(values, found.shape(), &Device::Cpu).unwrap();
            let whole = whole.to_dtype(found.dtype()).unwrap();
            tensors.insert(tensor.to_owned(), whole);
        });
        let model = Model::open(&ModelSpec::Local(broken.path().to_owned())).unwrap();
        let (config, weights) = (model.config().unwrap(), model.weights().unwrap());
        let wanted = everything(&config, &weights);
        let part = format!("tensor {tensor} holds values that are infinite or no number");
        let loaded = model.tower(&wanted, &Road::default()).unwrap_err().to_string();
        assert!(loaded.contains(".safetensors: ") && loaded.contains(&part), "{loaded}");
        assert_eq!(model.tower(&wanted, &candle()).unwrap_err().to_string(), loaded);
        let pixel_values = pixels(&golden(format!("towers/{kind}.safetensors")), PICTURES[0]);
        let streamed = VisionTower::stream_for(&wanted, config, &weights, Compute::default())
            .and_then(|tower| tower.outputs(&pixel_values, &wanted).map(drop))
            .unwrap_err()
            .to_string();
        assert_eq!(streamed, loaded);
    }
    // What no wanted tensor needs is not read.
    let unread = changed("vision", |tensors| {
        let nan = Tensor::full(f32::NAN, 36, &Device::Cpu).unwrap();
        tensors.insert("post_layernorm.bias".into(), nan).unwrap();
    });
    let model = Model::open(&ModelSpec::Local(unread.path().to_owned())).unwrap();
    assert!(model.tower(&Wanted::last_hidden_state(), &Road::default()).is_ok());
}

/// Weights of an adapter are none of a model's, and a model that holds its adapter apart is not whole.
#[test]
fn an_adapter_is_told_from_a_model() {
    let weight = "vision_model.encoder.layers.1.self_attn.q_proj.weight";
    let inner = weight.strip_suffix("weight").unwrap();
    for is_alone in [true, false] {
        let adapter = changed("clip-model", |tensors| {
            let found = tensors.remove(weight).unwrap();
            if is_alone {
                tensors.clear();
            } else {
                tensors.insert(format!("{inner}base_layer.weight"), found);
            }
            for part in ["A", "B"] {
                let factor = Tensor::zeros((36, 36), DType::F32, &Device::Cpu).unwrap();
                tensors.insert(format!("{inner}lora_{part}.weight"), factor);
            }
            let wrap = |(name, tensor)| (format!("base_model.model.{name}"), tensor);
            *tensors = tensors.drain().map(wrap).collect();
        });
        let model = Model::open(&ModelSpec::Local(adapter.path().to_owned())).unwrap();
        let wanted = Wanted::last_hidden_state();
        let message = model.tower(&wanted, &Road::default()).unwrap_err().to_string();
        let missing = if is_alone { "vision_model.embeddings.class_embedding" } else { weight };
        assert!(message.contains(&format!("tensor base_model.model.{missing} is missing")), "{message}");
        assert!(message.contains("merge_and_unload()"), "{message}");
    }
}

/// Position embeddings stretched to other sizes of image, larger, smaller and not square.
#[test]
fn interpolated_position_embeddings_are_the_references() {
    let mut expected = golden("towers/interpolated.safetensors");
    expected.extend(golden("towers/interpolated-others.safetensors"));
    let mut cases: Vec<&str> = expected.keys().filter_map(|name| Some(name.rsplit_once('/')?.0)).collect();
    cases.dedup();
    assert!(cases.len() >= 13, "{cases:?}");
    for case in cases {
        let (kind, _) = case.split_once('/').unwrap();
        let model = open(kind);
        let wanted = Wanted { last_hidden_state: true, pooler_output: true, ..Wanted::default() };
        let pixel_values = pixels(&expected, case);
        let mut config = model.config().unwrap();
        let always = matches!(config.family, Family::Dinov2 | Family::Dinov2WithRegisters | Family::Dinov3);
        let tower = model.tower(&wanted, &Road::default()).unwrap();
        assert_eq!(tower.outputs(&pixel_values, &wanted).is_ok(), always, "{case}: unasked");
        config.interpolate_pos_encoding = true;
        let weights = model.weights().unwrap();
        for road in roads() {
            let tower = VisionTower::load_for(&wanted, config.clone(), &weights, &road).unwrap();
            let mut found = named(tower.outputs(&pixel_values, &wanted).unwrap());
            found.insert("embeddings".to_owned(), tower.embeddings(&pixel_values).unwrap());
            assert_eq!(found.len(), 3);
            for (stage, found) in found {
                let expected = &expected[&format!("{case}/{stage}")];
                assert_eq!(found.dims(), expected.shape, "{case}: {stage}");
                let difference = difference(&flat(&found), &expected.values);
                println!("{case} {stage}, {}: {difference}", road.name());
                assert!(difference.relative < BOUND, "{case} {stage}, {}: {difference}", road.name());
            }
        }
    }
}

/// Each precision keeps its promise against float64, on this machine's own way and on that of a matrix unit; and where there is
/// such a unit, it gives the emulation's bytes.
#[test]
fn every_precision_keeps_its_bound() {
    for (precision, bound) in
        [(MatmulPrecision::Highest, BOUND), (MatmulPrecision::High, 2e-5), (MatmulPrecision::Medium, 2e-2)]
    {
        let ways = [
            Compute::best(precision),
            Compute::emulated(precision),
            Isa::best().into(),
            Compute::emulated_pairs(),
        ];
        let ways = &ways[..if precision == MatmulPrecision::Medium { 4 } else { 3 }];
        for kind in kinds() {
            let model = open(&kind);
            let wanted = Wanted::last_hidden_state();
            let expected = golden(format!("towers/{kind}.safetensors"));
            let pixel_values = pixels(&expected, PICTURES[0]);
            let expected = &expected[&format!("{}/last_hidden_state", PICTURES[0])];
            let found = ways.iter().map(|&compute| {
                let tower = model.tower(&wanted, &compute.into()).unwrap();
                let found = tower.forward(&pixel_values).unwrap();
                let difference = difference(&flat(&found), &expected.values);
                println!("{kind}, {}: {difference}", compute.name());
                assert!(difference.relative < bound, "{kind}, {}: {difference}", compute.name());
                bytes(&found)
            });
            let found: Vec<_> = found.collect();
            // Pairs of bfloat16 on vectors are held to their emulation's bytes in the kernels' tests; the emulation's other
            // steps are another instruction set's.
            let same = match ways[0].name() {
                name if name.starts_with("amx") => 1,
                name if name.ends_with("-bf16") => 0,
                _ => 2,
            };
            assert_eq!(found[0], found[same], "{kind}");
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
    let wanted = Wanted { pooler_output: true, image_embeds: true, ..Wanted::last_hidden_state() };
    let expected = golden("l14.safetensors");
    for road in roads() {
        let tower = model.tower(&wanted, &road).unwrap();
        let found = named(tower.outputs(&pixel_values, &wanted).unwrap());
        assert_eq!(found["last_hidden_state"].dims(), [1, 257, 1024]);
        assert_eq!(found["image_embeds"].dims(), [1, 768]);
        for (name, found) in found {
            assert_eq!(found.dims(), expected[&name].shape);
            let difference = difference(&flat(&found), &expected[&name].values);
            println!("ViT-L/14 {name}, {}: {difference}", road.name());
            assert!(difference.relative < BOUND, "{name}, {}: {difference}", road.name());
        }
    }
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
        let (Family::Clip, Mlp::Plain(Activation::QuickGelu), Some(projection_dim)) =
            (config.family, config.mlp, config.projection_dim)
        else {
            continue;
        };
        if config.layer_norm_eps != 1e-5 || config.traits.is_some() {
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
            projection_dim,
            num_channels: 3,
            image_size: config.image_size,
            patch_size: config.patch_size,
        };
        let theirs = ClipVisionTransformer::new(vb.pp("vision_model"), &theirs).unwrap();
        let wanted = Wanted { hidden_states: (0..=config.num_hidden_layers).collect(), ..Wanted::default() };
        let ours = VisionTower::load_for(&wanted, config.clone(), &weights, &Road::default()).unwrap();
        let edge = config.image_size;
        let pixel_values = Tensor::randn(0f32, 1f32, (2, 3, edge, edge), &Device::Cpu).unwrap();
        // Theirs are the blocks' outputs, then the pooled token.
        let theirs = theirs.output_hidden_states(&pixel_values).unwrap();
        let ours = ours.outputs(&pixel_values, &wanted).unwrap().hidden_states;
        assert_eq!(theirs.len(), ours.len());
        for (layer, theirs) in theirs[..config.num_hidden_layers].iter().enumerate() {
            let ours = &ours[&(layer + 1)];
            let theirs: Vec<f64> = flat(theirs).into_iter().map(f64::from).collect();
            let difference = difference(&flat(ours), &theirs);
            println!("{kind} block {layer}: {difference}");
            assert!(difference.relative < 2.0 * BOUND, "{kind} block {layer}: {difference}");
        }
        compared += 1;
    }
    assert!(compared >= 6, "{compared}");
}
