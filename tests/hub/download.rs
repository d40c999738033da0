//! What is fetched, from where, and who is told the token.

use std::{fs, path::Path, thread, time::Duration};

use clip_features::{
    hub::{ModelChoice, Settings, Wanted, fetch},
    model::ModelSpec,
};

use crate::{
    server::{COMMIT, Fault, sha256, small_etag},
    support::{CONFIG, LEN, MODEL, PROCESSOR, TOKEN, World, count, settings, weights},
};

#[test]
fn a_model_is_laid_out_as_python_lays_it_out() {
    let world = World::new();
    let snapshot = world.fetch().unwrap();

    assert_eq!(snapshot.commit, COMMIT);
    assert_eq!(snapshot.directory, world.folder().join("snapshots").join(COMMIT));
    assert_eq!(fs::read_to_string(world.folder().join("refs/main")).unwrap(), COMMIT);
    for (file, content, etag) in [
        ("config.json", CONFIG, small_etag(CONFIG)),
        ("preprocessor_config.json", PROCESSOR, small_etag(PROCESSOR)),
        ("model.safetensors", &weights(LEN), sha256(&weights(LEN))),
    ] {
        let path = snapshot.directory.join(file);
        assert_eq!(fs::read(&path).unwrap(), content, "{file}");
        assert_eq!(fs::read(world.folder().join("blobs").join(&etag)).unwrap(), content, "{file}");
        if cfg!(unix) {
            let target = fs::read_link(&path).unwrap();
            assert_eq!(target.to_str().unwrap(), format!("../../blobs/{etag}"));
        }
    }
    assert!(world.folder().join(".no_exist").join(COMMIT).join("processor_config.json").is_file());
    assert_eq!(fs::read_dir(&snapshot.directory).unwrap().count(), 3, "nothing else is fetched");
    let blobs = fs::read_dir(world.folder().join("blobs")).unwrap();
    assert_eq!(blobs.count(), 3, "nothing unfinished stays");
}

#[test]
fn the_second_run_makes_no_connection() {
    let world = World::new();
    let first = world.fetch().unwrap();
    let before = world.hub.connections();
    assert_eq!(world.fetch().unwrap(), first);
    assert_eq!(world.hub.connections(), before);
    assert!(world.events.borrow().is_empty());
}

#[test]
fn all_files_come_from_one_commit() {
    let world = World::new();
    world.fetch().unwrap();
    let log = world.hub.take_log();
    let resolved: Vec<_> = log.iter().filter(|logged| logged.path.contains("/resolve/")).collect();
    assert!(resolved[0].path.contains("/resolve/main/config.json"));
    for logged in &resolved[1..] {
        assert!(logged.path.contains(&format!("/resolve/{COMMIT}/")), "{logged:?}");
    }
}

#[test]
fn the_token_goes_to_the_hub_and_not_to_its_storage() {
    let mut world = World::new();
    world.settings = settings(&world.hub.endpoint, world.cache.path(), &[("HF_TOKEN", TOKEN)]);
    world.fetch().unwrap();
    let log = world.hub.take_log();
    assert!(log.iter().any(|logged| logged.host == "storage"));
    for logged in &log {
        let expected = (logged.host == "hub").then(|| format!("Bearer {TOKEN}"));
        assert_eq!(logged.authorization, expected, "{logged:?}");
    }
}

#[test]
fn the_token_is_not_sent_to_another_port_of_the_same_host() {
    let other = World::new();
    let mut world = World::new();
    world.settings = settings(&world.hub.endpoint, world.cache.path(), &[("HF_TOKEN", TOKEN)]);
    let location = format!("{}/acme/clip/resolve/main/config.json", other.hub.endpoint);
    world.hub.fail("/resolve/main/config.json", 1, Fault::Answer(302, vec![("Location", location)]));
    world.fetch().unwrap();
    let log = other.hub.take_log();
    assert!(!log.is_empty() && log.iter().all(|logged| logged.authorization.is_none()));
}

#[test]
fn only_the_shards_of_the_vision_tower_are_fetched() {
    let world = World::without_weights();
    let index = r#"{"weight_map": {"text_model.a": "model-1.safetensors", "vision_model.a": "model-2.safetensors",
        "vision_model.b": "model-2.safetensors", "vision_model.c": "model-3.safetensors"}}"#;
    world.hub.add(MODEL, "model.safetensors.index.json", index.as_bytes(), false);
    for shard in 1..=3 {
        world.hub.add(MODEL, &format!("model-{shard}.safetensors"), &weights(1000 + shard), true);
    }
    let snapshot = world.fetch().unwrap();
    assert!(!snapshot.directory.join("model-1.safetensors").exists());
    for shard in 2..=3 {
        let path = snapshot.directory.join(format!("model-{shard}.safetensors"));
        assert_eq!(fs::read(path).unwrap(), weights(1000 + shard));
    }
    let before = world.hub.connections();
    world.fetch().unwrap();
    assert_eq!(world.hub.connections(), before);
}

/// The index of llava-hf/llava-1.5-7b-hf in small: the tower beside the first layers of the language model, the projector in the
/// last shard, in both layouts of names.
#[test]
fn of_a_vision_language_model_only_the_towers_shard_is_fetched_and_the_projectors_if_it_is_asked_for() {
    for (base, inner) in [("", "vision_model."), ("model.", ""), ("model.", "vision_model.")] {
        let world = World::without_weights();
        world.hub.add(MODEL, "config.json", br#"{"model_type": "llava", "vision_config": {}}"#, false);
        let mut places = std::collections::BTreeMap::new();
        for layer in 0..32 {
            let name = format!("{base}language_model.layers.{layer}.mlp.up_proj.weight");
            places.insert(name, 1 + layer / 11);
        }
        for layer in 0..24 {
            places.insert(format!("{base}vision_tower.{inner}encoder.layers.{layer}.mlp.fc1.weight"), 1);
        }
        places.insert(format!("{base}vision_tower.{inner}post_layernorm.bias"), 2);
        places.insert("lm_head.weight".to_owned(), 4);
        places.insert(format!("{base}multi_modal_projector.linear_1.weight"), 4);
        let shard = |number: usize| format!("model-{number:05}-of-00004.safetensors");
        let places: std::collections::BTreeMap<_, _> =
            places.into_iter().map(|(name, number)| (name, shard(number))).collect();
        let index = serde_json::json!({"weight_map": places}).to_string();
        world.hub.add(MODEL, "model.safetensors.index.json", index.as_bytes(), false);
        (1..=4).for_each(|number| world.hub.add(MODEL, &shard(number), &weights(1000 + number), true));

        world.fetch().unwrap();
        let log = world.hub.take_log();
        for (number, requests) in [(1, true), (2, true), (3, false), (4, false)] {
            assert_eq!(count(&log, &shard(number)) > 0, requests, "{number}: {log:?}");
        }
        let (model, revision) = (MODEL.parse().unwrap(), "main".parse().unwrap());
        fetch(&model, &revision, &world.settings, Wanted::Projector, &|_| {}).unwrap();
        let log = world.hub.take_log();
        for (number, requests) in [(1, false), (2, false), (3, false), (4, true)] {
            assert_eq!(count(&log, &shard(number)) > 0, requests, "{number}: {log:?}");
        }
    }
}

/// An original LLaVA names its tower, whose files are a second model's.
#[test]
fn of_an_original_llava_the_projectors_shard_and_the_tower_that_it_names_are_fetched() {
    let world = World::new();
    let llava = "acme/llava";
    let config = br#"{"model_type": "llava_llama", "mm_vision_tower": "acme/clip", "hidden_size": 8}"#;
    world.hub.add(llava, "config.json", config, false);
    let index = r#"{"weight_map": {"model.layers.0.a": "model-1.safetensors", "lm_head.weight": "model-2.safetensors",
        "model.mm_projector.0.weight": "model-2.safetensors"}}"#;
    world.hub.add(llava, "model.safetensors.index.json", index.as_bytes(), false);
    for shard in 1..=2 {
        world.hub.add(llava, &format!("model-{shard}.safetensors"), &weights(1000 + shard), true);
    }
    let choice = ModelChoice::new(Some(Path::new(llava)), None, None, || Ok(world.settings.clone())).unwrap();
    let fetched = |wanted| {
        let spec = choice.obtain(wanted, &|_| {}).unwrap();
        let ModelSpec::WithTower { model, tower } = spec else { panic!("{spec:?}") };
        assert!(matches!(*model, ModelSpec::Hub { id, .. } if id == llava));
        assert!(matches!(*tower, ModelSpec::Hub { id, .. } if id == MODEL));
        let log = world.hub.take_log();
        let files = [
            "llava/resolve/COMMIT/model-1",
            "llava/resolve/COMMIT/model-2",
            "clip/resolve/COMMIT/model.safetensors",
        ];
        files.map(|file| count(&log, &file.replace("COMMIT", COMMIT)) > 0)
    };
    assert_eq!(fetched(Wanted::Configs), [false, false, false]);
    assert_eq!(fetched(Wanted::Weights), [false, false, true]);
    assert_eq!(fetched(Wanted::Projector), [false, true, false]);
}

#[test]
fn weights_of_no_vision_tower_are_not_fetched() {
    for (config, part) in [
        (r#"{"model_type": "llama"}"#, "it has no vision_config, as a model of text alone has none"),
        (r#"{"model_type": "qwen2_vl", "vision_config": {"model_type": "qwen2_vl"}}"#, "is a \"qwen2_vl\""),
        (r#"{"model_type": "llava", "vision_config": {"model_type": "pixtral"}}"#, "is a \"pixtral\""),
    ] {
        let world = World::new();
        world.hub.add(MODEL, "config.json", config.as_bytes(), false);
        let message = world.refusal();
        assert!(message.starts_with("acme/clip: config.json: ") && message.contains(part), "{message}");
        assert!(message.contains("siglip_vision_model"), "{message}");
        assert_eq!(count(&world.hub.take_log(), "safetensors"), 0);
    }
}

#[test]
fn configs_alone_cost_no_weights() {
    let world = World::new();
    let (model, revision) = (MODEL.parse().unwrap(), "main".parse().unwrap());
    let snapshot = fetch(&model, &revision, &world.settings, Wanted::Configs, &|_| {}).unwrap();
    assert!(snapshot.directory.join("preprocessor_config.json").is_file());
    assert_eq!(count(&world.hub.take_log(), "safetensors"), 0);
    // What is missing is fetched when it is wanted.
    let whole = fetch(&model, &revision, &world.settings, Wanted::Weights, &|_| {}).unwrap();
    assert_eq!(whole.directory, snapshot.directory);
    assert_eq!(count(&world.hub.take_log(), "config.json"), 0);
}

#[test]
fn tags_pull_requests_and_commits_are_revisions() {
    let world = World::new();
    let other = "0123456789abcdef0123456789abcdef01234567";
    world.hub.add_revision("v1.0", other);
    world.hub.add_revision("refs/pr/7", other);
    assert_eq!(world.fetch_revision("v1.0").unwrap().commit, other);
    assert_eq!(fs::read_to_string(world.folder().join("refs/v1.0")).unwrap(), other);
    world.hub.take_log();

    assert_eq!(world.fetch_revision(other).unwrap().commit, other);
    assert!(world.hub.take_log().is_empty(), "a commit is found by its hash");
    assert!(!world.folder().join("refs").join(other).exists());

    assert_eq!(world.fetch_revision("refs/pr/7").unwrap().commit, other);
    assert_eq!(fs::read_to_string(world.folder().join("refs/refs/pr/7")).unwrap(), other);
    let log = world.hub.take_log();
    assert_eq!(log.len(), 2, "the hub tells the commit, and all else is there: {log:?}");
    assert!(log[0].path.contains("/resolve/refs%2Fpr%2F7/"));

    assert_eq!(world.fetch().unwrap().commit, COMMIT);
    assert_eq!(count(&world.hub.take_log(), "GET"), 0, "the same blobs are not fetched again");
}

#[test]
fn without_symbolic_links_a_snapshot_holds_the_files() {
    let mut world = World::new();
    world.settings = Settings { symlinks: false, ..world.settings };
    let snapshot = world.fetch().unwrap();
    let path = snapshot.directory.join("model.safetensors");
    assert!(path.symlink_metadata().unwrap().is_file());
    assert_eq!(fs::read(path).unwrap(), weights(LEN));
    let before = world.hub.connections();
    world.fetch().unwrap();
    assert_eq!(world.hub.connections(), before);
}

#[test]
fn settings_nested_in_processor_config_are_fetched() {
    let world = World::new();
    world.hub.add(MODEL, "processor_config.json", br#"{"image_processor": {}}"#, false);
    let snapshot = world.fetch().unwrap();
    assert!(snapshot.directory.join("processor_config.json").is_file());
}

#[test]
fn threads_that_start_at_once_download_once() {
    let world = World::new();
    world.hub.fail("GET /lfs/", 1, Fault::Slow(10, Duration::from_millis(50)));
    let directories: Vec<_> = thread::scope(|scope| {
        let fetch = || {
            let (model, revision) = (MODEL.parse().unwrap(), "main".parse().unwrap());
            fetch(&model, &revision, &world.settings, Wanted::Weights, &|_| {})
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(fetch)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap().unwrap().directory).collect()
    });
    assert!(directories.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(count(&world.hub.take_log(), "GET /lfs/"), 1);
    assert_eq!(fs::read(directories[0].join("model.safetensors")).unwrap(), weights(LEN));
}
