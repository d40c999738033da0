//! Models under the names of open_clip and timm.

use std::fs;

use clip_features::hub::{HubError, Snapshot, Wanted, fetch};
use clip_features::model::{Model, ModelFiles, ModelSpec};

use crate::{
    server::Fault,
    support::{World, count, weights},
};

const MODEL: &str = "acme/other";
const OPEN_CLIP: &[u8] = br#"{"model_cfg": {"embed_dim": 4, "vision_cfg": {}}, "preprocess_cfg": {}}"#;
const TIMM: &[u8] = br#"{"architecture": "vit_tiny_patch16_224", "pretrained_cfg": {}}"#;

fn serve(files: &[(&str, &[u8])]) -> World {
    let world = World::without_weights();
    for (file, content) in files {
        world.hub.add(MODEL, file, content, file.ends_with(".safetensors"));
    }
    world
}

fn obtain(world: &World) -> Result<Snapshot, HubError> {
    fetch(&MODEL.parse().unwrap(), &"main".parse().unwrap(), &world.settings, Wanted::Weights, &|_| {})
}

#[test]
fn open_clips_files_are_found_under_its_names() {
    for file in ["open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "model.safetensors"] {
        let content = weights(70_000);
        let world =
            serve(&[("open_clip_config.json", OPEN_CLIP), (file, &content), ("tokenizer.json", b"{}")]);
        let snapshot = obtain(&world).unwrap();
        assert_eq!(fs::read(snapshot.directory.join(file)).unwrap(), content);
        assert_eq!(fs::read_dir(&snapshot.directory).unwrap().count(), 2, "nothing else is fetched");
        assert_eq!(count(&world.hub.take_log(), "preprocessor_config.json"), 0);

        let before = world.hub.connections();
        assert_eq!(obtain(&world).unwrap(), snapshot);
        assert_eq!(world.hub.connections(), before, "the second run makes no connection");
    }
}

#[test]
fn of_open_clips_shards_only_those_of_the_tower_are_fetched() {
    let index = br#"{"weight_map": {"token_embedding.weight": "a.safetensors", "transformer.resblocks.0.ln_1.weight": "a.safetensors",
        "visual.conv1.weight": "b.safetensors", "visual.transformer.resblocks.0.ln_1.weight": "c.safetensors",
        "visual.proj": "d.safetensors", "logit_scale": "e.safetensors"}}"#;
    let world =
        serve(&[("open_clip_config.json", OPEN_CLIP), ("open_clip_model.safetensors.index.json", index)]);
    for shard in ["a", "b", "c", "d", "e"] {
        world.hub.add(MODEL, &format!("{shard}.safetensors"), &weights(1000), true);
    }
    let directory = obtain(&world).unwrap().directory;
    let found =
        ["a", "b", "c", "d", "e"].map(|shard| directory.join(format!("{shard}.safetensors")).exists());
    assert_eq!(found, [false, true, true, true, false]);
}

#[test]
fn timms_config_says_what_its_processor_does() {
    let world = serve(&[("config.json", TIMM), ("model.safetensors", &weights(1000))]);
    let snapshot = obtain(&world).unwrap();
    assert_eq!(fs::read_dir(&snapshot.directory).unwrap().count(), 2);
    assert_eq!(count(&world.hub.take_log(), "processor_config.json"), 0);
}

#[test]
fn where_transformers_weights_are_a_pickle_open_clips_are_taken() {
    let clip: (&str, &[u8]) = ("config.json", br#"{"model_type": "clip"}"#);
    let processor: (&str, &[u8]) = ("preprocessor_config.json", b"{}");
    let bin: (&str, &[u8]) = ("pytorch_model.bin", b"pickle");
    let others: [(&str, &[u8]); 2] =
        [("open_clip_config.json", OPEN_CLIP), ("open_clip_model.safetensors", &weights(1000))];
    let world = serve(&[clip, processor, bin, others[0], others[1]]);
    let directory = obtain(&world).unwrap().directory;
    assert!(directory.join("open_clip_model.safetensors").exists());
    let model = Model::open(&ModelSpec::Local(directory)).unwrap();
    assert_eq!(model.config().unwrap().projection_dim, Some(4), "open_clip's config goes with its weights");

    // Where both are there, they are transformers'.
    let world = serve(&[clip, processor, ("model.safetensors", &weights(1000)), others[0], others[1]]);
    let directory = obtain(&world).unwrap().directory;
    assert!(!directory.join("open_clip_config.json").exists());
}

/// Whatever else is there, in whatever way it cannot be opened: open_clip's files are, on the hub and on disk.
#[test]
fn where_transformers_files_cannot_be_opened_open_clips_are_taken() {
    let unsupported: (&str, &[u8]) = ("config.json", br#"{"model_type": "other_clip", "vision_config": {}}"#);
    let supported: (&str, &[u8]) = ("config.json", br#"{"model_type": "clip"}"#);
    let processor: (&str, &[u8]) = ("preprocessor_config.json", b"{}");
    let content = weights(1000);
    let plain: (&str, &[u8]) = ("model.safetensors", &content);
    let bin: (&str, &[u8]) = ("pytorch_model.bin", b"pickle");
    let others: [(&str, &[u8]); 2] =
        [("open_clip_config.json", OPEN_CLIP), ("open_clip_model.safetensors", &content)];
    for files in [
        &[unsupported][..],
        &[unsupported, processor],
        &[unsupported, plain],
        &[unsupported, processor, plain],
        &[unsupported, processor, bin],
        &[supported],
        &[supported, plain],
        &[supported, processor, bin],
    ] {
        let names: Vec<_> = files.iter().map(|(name, _)| name).collect();
        let world = serve(&[files, &others].concat());
        let snapshot = obtain(&world).unwrap_or_else(|error| panic!("{names:?}: {error}"));
        assert!(
            !snapshot.directory.join("model.safetensors").exists(),
            "{names:?}: nothing is fetched in vain"
        );
        let whole = tempfile::tempdir().unwrap();
        for (name, content) in files.iter().chain(&others) {
            fs::write(whole.path().join(name), content).unwrap();
        }
        for directory in [snapshot.directory.as_path(), whole.path()] {
            let model = Model::open(&ModelSpec::Local(directory.to_owned())).unwrap();
            assert_eq!(model.config().unwrap().projection_dim, Some(4), "{names:?} {}", directory.display());
            model.processor().unwrap();
            let files = ModelFiles::locate(directory).unwrap();
            assert!(files.weights().unwrap().ends_with("open_clip_model.safetensors"), "{names:?}");
        }
        let before = world.hub.connections();
        assert_eq!(obtain(&world).unwrap(), snapshot);
        assert_eq!(world.hub.connections(), before, "{names:?}: the second run makes no connection");
    }
}

/// The pixels are those of the run with weights.
#[test]
fn the_configs_alone_are_of_the_same_library() {
    let unsupported: (&str, &[u8]) = ("config.json", br#"{"model_type": "other_clip", "vision_config": {}}"#);
    let processor: (&str, &[u8]) = ("preprocessor_config.json", b"{}");
    let other: (&str, &[u8]) = ("open_clip_config.json", OPEN_CLIP);
    for (files, is_open_clips) in [
        (&[unsupported, processor][..], false),
        (&[unsupported, processor, other], true),
        (&[unsupported, other], true),
        (&[("config.json", br#"{"model_type": "clip"}"#), processor, other], false),
    ] {
        let world = serve(files);
        let (model, main) = (MODEL.parse().unwrap(), "main".parse().unwrap());
        let directory = fetch(&model, &main, &world.settings, Wanted::Configs, &|_| {}).unwrap().directory;
        let found = ModelFiles::locate(&directory).unwrap();
        assert_eq!(found.processor().unwrap().ends_with("open_clip_config.json"), is_open_clips);
    }
}

#[test]
fn what_neither_library_opens_is_refused_by_the_first_reason() {
    let unsupported: (&str, &[u8]) = ("config.json", br#"{"model_type": "other_clip", "vision_config": {}}"#);
    let resnet: (&str, &[u8]) = (
        "open_clip_config.json",
        br#"{"model_cfg": {"embed_dim": 4, "vision_cfg": {"layers": [1, 2, 3, 4]}}, "preprocess_cfg": {}}"#,
    );
    let content = weights(1000);
    let own: (&str, &[u8]) = ("open_clip_model.safetensors", &content);
    for (files, told) in [
        (&[unsupported][..], "config.json: model_type \"other_clip\""),
        (&[unsupported, ("open_clip_config.json", OPEN_CLIP)], "config.json: model_type \"other_clip\""),
        (&[unsupported, resnet, own], "open_clip_config.json: "),
        (&[resnet, own], "open_clip_config.json: "),
    ] {
        let world = serve(files);
        let error = obtain(&world).unwrap_err();
        assert!(matches!(error, HubError::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains(told), "{error}");
        assert_eq!(count(&world.hub.take_log(), "GET /lfs/"), 0, "weights are not fetched in vain");
    }
}

#[test]
fn a_pickle_is_refused_with_the_line_that_converts_it() {
    for (config, pickle, to) in [
        (
            ("open_clip_config.json", OPEN_CLIP),
            "open_clip_pytorch_model.bin",
            "other/open_clip_model.safetensors",
        ),
        (("config.json", TIMM), "pytorch_model.bin", "other/model.safetensors"),
    ] {
        let error = obtain(&serve(&[config, (pickle, b"pickle")])).unwrap_err();
        assert!(matches!(&error, HubError::OnlyPickle { file, .. } if file == pickle), "{error}");
        let message = error.to_string();
        for part in [&format!("'other/{pickle}'"), to, "python -c", "hf download acme/other"] {
            assert!(message.contains(part), "{message}");
        }
    }
}

/// Some mirrors answer 404 and say no more.
#[test]
fn a_mirror_without_error_codes_serves_open_clip_too() {
    let world =
        serve(&[("open_clip_config.json", OPEN_CLIP), ("open_clip_model.safetensors", &weights(1000))]);
    world.hub.fail("HEAD /acme/other/resolve/main/config.json", 1, Fault::Answer(404, vec![]));
    assert!(obtain(&world).unwrap().directory.join("open_clip_model.safetensors").exists());
}
