//! Checkpoints of open_clip and timm: what is not told by their numbers, which `tower.rs` has.
#![cfg(feature = "cli")]

mod support;

use std::{collections::HashMap, fs, path::Path};

use candle_core::{Device, Tensor};
use clip_features::model::{Model, ModelSpec, VisionTower, Wanted};
use pillow_exact::{Alpha, DecodeOptions, decode};
use support::{fixture, golden, run::command};

type Tensors = HashMap<String, Tensor>;

fn open(directory: &Path) -> Model {
    Model::open(&ModelSpec::Local(directory.to_owned())).unwrap()
}

/// A copy of a checkpoint with other tensors.
fn changed(kind: &str, change: impl FnOnce(&mut Tensors)) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for file in fs::read_dir(fixture("checkpoints").join(kind)).unwrap().map(|entry| entry.unwrap().path()) {
        fs::copy(&file, directory.path().join(file.file_name().unwrap())).unwrap();
    }
    let mut files = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
    let weights =
        files.find(|path| path.extension().is_some_and(|extension| extension == "safetensors")).unwrap();
    let mut tensors = candle_core::safetensors::load(&weights, &Device::Cpu).unwrap();
    change(&mut tensors);
    candle_core::safetensors::save(&tensors, weights).unwrap();
    directory
}

fn refusal(directory: &Path) -> String {
    let model = open(directory);
    let wanted = Wanted { last_hidden_state: true, pooler_output: true, ..Wanted::default() };
    let image_embeds = model.config().unwrap().projection_dim.is_some();
    let wanted = Wanted { image_embeds, ..wanted };
    model.tower(&wanted, &Default::default()).unwrap_err().to_string()
}

#[test]
fn an_error_names_a_tensor_as_the_file_does() {
    let block = "visual.transformer.resblocks.1";
    for (kind, name, expected) in [
        ("open-clip", &*format!("{block}.attn.in_proj_weight"), "[60, 20]"),
        ("open-clip", &*format!("{block}.attn.in_proj_bias"), "[60]"),
        ("open-clip", "visual.proj", "[20, 14]"),
        ("open-clip-quickgelu", &*format!("{block}.ls_2.gamma"), "[20]"),
        ("timm", "cls_token", "[1, 1, 20]"),
        ("timm", "pos_embed", "[1, 26, 20]"),
        ("timm", "blocks.0.attn.qkv.bias", "[60]"),
        ("timm-siglip", "attn_pool.kv.weight", "[40, 20]"),
        ("timm-siglip", "attn_pool.q.bias", "[20]"),
        ("timm-registers", "reg_token", "[1, 4, 20]"),
        ("timm-mean", "fc_norm.weight", "[20]"),
        ("timm-swiglu", "blocks.1.mlp.fc1.weight", "[94, 20]"),
    ] {
        let missing = changed(kind, |tensors| drop(tensors.remove(name).unwrap()));
        let message = refusal(missing.path());
        let part = match name {
            "visual.proj" => "the checkpoint has no visual.proj\n".to_owned(),
            _ => format!("tensor {name} is missing, expected shape {expected}"),
        };
        assert!(message.contains(&part), "{message}");
        let longer = changed(kind, |tensors| {
            let tensor = &tensors[name];
            let more = Tensor::cat(&[tensor, tensor], tensor.rank() - 1).unwrap();
            tensors.insert(name.to_owned(), more);
        });
        let message = refusal(longer.path());
        assert!(message.contains(&format!("tensor {name} has shape ")), "{message}");
        assert!(message.contains(&format!(", expected {expected} by the config")), "{message}");
    }
}

/// The same weights under the names of transformers have the same fingerprint and give the same bytes.
#[test]
fn weights_are_the_same_under_transformers_names() {
    let renamed = changed("open-clip", |tensors| {
        let leaf = |name: &str| {
            let pairs = [
                ("ln_1", "layer_norm1"),
                ("ln_2", "layer_norm2"),
                ("attn.out_proj", "self_attn.out_proj"),
                ("mlp.c_fc", "mlp.fc1"),
                ("mlp.c_proj", "mlp.fc2"),
            ];
            pairs.iter().fold(name.to_owned(), |name, (from, to)| name.replace(from, to))
        };
        let mut others = Tensors::new();
        for (name, tensor) in tensors.drain() {
            let Some(name) = name.strip_prefix("visual.") else { continue };
            if name == "proj" {
                others.insert("visual_projection.weight".into(), tensor.t().unwrap().contiguous().unwrap());
                continue;
            }
            let name = match name.strip_prefix("transformer.resblocks.").and_then(|name| name.split_once('.'))
            {
                Some((index, rest)) => format!("encoder.layers.{index}.{}", leaf(rest)),
                None => name
                    .replace("conv1", "embeddings.patch_embedding")
                    .replace("class_embedding", "embeddings.class_embedding")
                    .replace("positional_embedding", "embeddings.position_embedding.weight")
                    .replace("ln_pre", "pre_layrnorm")
                    .replace("ln_post", "post_layernorm"),
            };
            let Some((before, kind)) = name.split_once("attn.in_proj_") else {
                others.insert(format!("vision_model.{name}"), tensor);
                continue;
            };
            for (part, tensor) in ["q", "k", "v"].iter().zip(tensor.chunk(3, 0).unwrap()) {
                others.insert(format!("vision_model.{before}self_attn.{part}_proj.{kind}"), tensor);
            }
        }
        *tensors = others;
    });
    let found = [&fixture("checkpoints/open-clip"), renamed.path()].map(|directory| {
        let model = open(directory);
        let wanted = Wanted { image_embeds: true, ..Wanted::last_hidden_state() };
        let (config, weights) = (model.config().unwrap(), model.weights().unwrap());
        let tower = VisionTower::stream_for(&wanted, config, &weights, Default::default()).unwrap();
        let pixels = Tensor::arange(0f32, 2700f32, &Device::Cpu).unwrap().affine(1e-3, -1.0).unwrap();
        let outputs = tower.outputs(&pixels.reshape((1, 3, 30, 30)).unwrap(), &wanted).unwrap();
        let bits = |tensor: Option<Tensor>| -> Vec<u32> {
            let values = tensor.unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            values.into_iter().map(f32::to_bits).collect()
        };
        (weights.fingerprint().unwrap(), bits(outputs.last_hidden_state), bits(outputs.image_embeds))
    });
    assert_eq!(found[0], found[1]);
}

#[test]
fn pixels_are_those_of_the_librarys_own_transform() {
    let options = DecodeOptions { alpha: Alpha::Drop, ..DecodeOptions::default() };
    for kind in [
        "open-clip",
        "open-clip-quickgelu",
        "open-clip-clipa",
        "timm",
        "timm-siglip",
        "timm-clip",
        "timm-mean",
    ] {
        let processor = open(&fixture("checkpoints").join(kind)).processor().unwrap();
        let expected = golden(format!("towers/{kind}.safetensors"));
        for picture in ["coffee.png", "jpeg-420.jpg"] {
            let bytes = fs::read(fixture("images").join(picture)).unwrap();
            let values = processor.process(&decode(&bytes, &options).unwrap().rgb).unwrap();
            let expected = &expected[&format!("{picture}/pixel_values")];
            assert_eq!(expected.shape, [1, 3, values.height(), values.width()], "{kind}");
            let found: Vec<f64> = values.as_slice().iter().map(|&value| value.into()).collect();
            assert_eq!(found, expected.values, "{kind}: {picture}");
        }
    }
}

/// The binary's refusal of a directory with these files.
fn told(files: &[(&str, &str)]) -> String {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(directory.path().join(name), content).unwrap();
    }
    let outcome =
        command().arg("-m").arg(directory.path()).arg(fixture("images/size-2x2.png")).output().unwrap();
    assert_eq!(outcome.status.code(), Some(2));
    let message = String::from_utf8(outcome.stderr).unwrap();
    message.replace(&directory.path().display().to_string(), "DIR")
}

#[test]
fn a_pickle_is_refused_with_the_line_that_converts_it() {
    let open_clip = (
        "open_clip_config.json",
        r#"{"model_cfg": {"embed_dim": 4, "vision_cfg": {}}, "preprocess_cfg": {}}"#,
    );
    let message = told(&[open_clip, ("open_clip_pytorch_model.bin", "")]);
    assert!(
        message
            .contains("DIR: has no open_clip_model.safetensors, only open_clip_pytorch_model.bin, a pickle"),
        "{message}"
    );
    assert!(message.contains("torch.load('DIR/open_clip_pytorch_model.bin'"), "{message}");
    assert!(message.contains("'DIR/open_clip_model.safetensors')"), "{message}");

    let clip = [
        ("config.json", r#"{"model_type": "clip"}"#),
        ("preprocessor_config.json", "{}"),
        ("pytorch_model.bin", ""),
    ];
    let message = told(&clip);
    assert!(message.contains("M.from_pretrained('DIR').save_pretrained('DIR')"), "{message}");

    let timm = ("config.json", r#"{"architecture": "vit_tiny_patch16_224", "pretrained_cfg": {}}"#);
    let message = told(&[timm, ("pytorch_model.bin", "")]);
    assert!(message.contains("'DIR/model.safetensors')"), "{message}");

    let message = told(&[("ViT-L-14.pt", ""), ("training_args.bin", "")]);
    assert!(
        message.contains("DIR: has no config.json and no open_clip_config.json, only ViT-L-14.pt, a pickle"),
        "{message}"
    );
    assert!(message.contains("pretrained='DIR/ViT-L-14.pt'"), "{message}");
    assert!(told(&[]).contains("has no config.json and no open_clip_config.json\nhint: "));
}

#[test]
fn a_tower_that_is_not_supported_is_named() {
    let open_clip = |vision: &str| {
        let text = format!(
            r#"{{"model_cfg": {{"embed_dim": 4, "vision_cfg": {{{vision}}}}}, "preprocess_cfg": {{}}}}"#
        );
        told(&[("open_clip_config.json", &text)])
    };
    let message = open_clip(r#""layers": [3, 4, 6, 3], "patch_size": null"#);
    assert!(
        message.contains("open_clip_config.json: layers is [3, 4, 6, 3]: its vision tower is a ResNet"),
        "{message}"
    );
    let message = open_clip(r#""timm_model_name": "convnext_base""#);
    assert!(
        message.contains("timm_model_name \"convnext_base\" is not supported, expected one of timm's"),
        "{message}"
    );
    let message = told(&[("config.json", r#"{"architecture": "resnet50", "pretrained_cfg": {}}"#)]);
    assert!(message.contains("config.json: architecture \"resnet50\" is not supported"), "{message}");

    let torchvision = command()
        .arg("-m")
        .arg(fixture("checkpoints/timm"))
        .args(["--processor", "torchvision"])
        .arg(fixture("images/size-2x2.png"))
        .output();
    support::run::Outcome::from(torchvision.unwrap())
        .failed(2, "config.json: processor is torchvision, but must be pil");
}
