//! What is found in a cache, and what happens without a network.

use std::{fs, path::Path};

use clip_features::hub::{HubError, Settings, refetch_hint};

use crate::{
    server::{COMMIT, sha256},
    support::{CONFIG, LEN, PROCESSOR, World, count, settings, weights},
};

/// What `huggingface_hub.snapshot_download` leaves, made by hand.
fn python_cache(folder: &Path, files: &[(&str, &[u8])]) {
    let snapshot = folder.join("snapshots").join(COMMIT);
    for directory in [&folder.join("refs"), &folder.join("blobs"), &snapshot] {
        fs::create_dir_all(directory).unwrap();
    }
    fs::write(folder.join("refs/main"), COMMIT).unwrap();
    for (file, content) in files {
        let etag = sha256(content);
        fs::write(folder.join("blobs").join(&etag), content).unwrap();
        link(&format!("../../blobs/{etag}"), &snapshot.join(file));
    }
}

#[cfg(unix)]
fn link(target: &str, link: &Path) {
    std::os::unix::fs::symlink(target, link).unwrap();
}

#[cfg(not(unix))]
fn link(target: &str, link: &Path) {
    fs::copy(link.parent().unwrap().join(target), link).unwrap();
}

fn offline(world: &World) -> Settings {
    settings(&world.hub.endpoint, world.cache.path(), &[("HF_HUB_OFFLINE", "1")])
}

#[test]
fn what_python_has_cached_is_found() {
    let mut world = World::new();
    let files =
        [("config.json", CONFIG), ("preprocessor_config.json", PROCESSOR), ("model.safetensors", b"w")];
    python_cache(&world.folder(), &files);
    for settings in [world.settings.clone(), offline(&world)] {
        world.settings = settings;
        for revision in ["main", COMMIT] {
            let snapshot = world.fetch_revision(revision).unwrap();
            assert_eq!(snapshot.commit, COMMIT);
            assert_eq!(fs::read(snapshot.directory.join("model.safetensors")).unwrap(), b"w");
        }
    }
    assert_eq!(world.hub.connections(), 0);
}

#[test]
fn shards_that_python_has_cached_are_found() {
    let world = World::new();
    let index = br#"{"weight_map": {"text_model.a": "model-1.safetensors", "vision_model.a": "model-2.safetensors"}}"#;
    let files: [(&str, &[u8]); 4] = [
        ("config.json", CONFIG),
        ("preprocessor_config.json", PROCESSOR),
        ("model.safetensors.index.json", index),
        ("model-2.safetensors", b"w"),
    ];
    python_cache(&world.folder(), &files);
    world.fetch().unwrap();
    assert_eq!(world.hub.connections(), 0);
}

#[test]
fn what_python_has_not_cached_is_fetched_from_the_same_commit() {
    let world = World::new();
    python_cache(&world.folder(), &[("config.json", CONFIG), ("model.safetensors", b"w")]);
    // The branch has moved on; what is cached stays with its own commit.
    world.hub.add_revision("old", COMMIT);
    world.hub.add_revision("main", "ffffffffffffffffffffffffffffffffffffffff");
    let snapshot = world.fetch().unwrap();
    assert_eq!(snapshot.commit, COMMIT);
    let log = world.hub.take_log();
    assert_eq!(count(&log, "model.safetensors"), 0);
    assert_eq!(count(&log, &format!("/resolve/{COMMIT}/preprocessor_config.json")), 2);
    assert_eq!(count(&log, "/resolve/main/"), 0);
}

#[test]
fn a_commit_that_is_gone_from_the_hub_is_replaced() {
    let world = World::new();
    python_cache(&world.folder(), &[("config.json", CONFIG)]);
    let rewritten = "ffffffffffffffffffffffffffffffffffffffff";
    world.hub.add_revision("main", rewritten);
    assert_eq!(world.fetch().unwrap().commit, rewritten);
    assert_eq!(fs::read_to_string(world.folder().join("refs/main")).unwrap(), rewritten);
}

#[test]
fn offline_makes_no_connection() {
    let mut world = World::new();
    world.settings = offline(&world);
    let error = world.fetch().unwrap_err();
    assert!(matches!(&error, HubError::NotCached { file, .. } if file == "config.json"), "{error}");
    let message = clip_features::cli::told(&error);
    for part in ["acme/clip", "main", "--model DIR", "--random-weights", "HF_HUB_OFFLINE"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let files = [("config.json", CONFIG), ("preprocessor_config.json", PROCESSOR)];
    python_cache(&world.folder(), &files);
    let error = world.fetch().unwrap_err();
    assert!(matches!(&error, HubError::NotCached { file, .. } if file == "model.safetensors"), "{error}");
    assert_eq!(world.hub.connections(), 0);
}

#[test]
fn without_a_network_the_way_out_is_named() {
    let mut world = World::new();
    // Nobody listens on a port that was just given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    world.settings = settings(&format!("http://127.0.0.1:{port}"), world.cache.path(), &[]);
    let message = world.refusal();
    for part in ["acme/clip", "127.0.0.1", "cannot be reached", "--model DIR", "--random-weights"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!(world.events_with("Retry"), 0, "no network is not worth the wait");
}

#[cfg(unix)]
#[test]
fn a_link_without_its_blob_counts_as_absent() {
    let mut world = World::new();
    world.fetch().unwrap();
    fs::remove_file(world.folder().join("blobs").join(sha256(&weights(LEN)))).unwrap();
    let online = world.settings.clone();
    world.settings = offline(&world);
    assert!(matches!(world.fetch().unwrap_err(), HubError::NotCached { .. }));
    world.settings = online;
    let snapshot = world.fetch().unwrap();
    assert_eq!(fs::read(snapshot.directory.join("model.safetensors")).unwrap(), weights(LEN));
}

#[test]
fn a_blob_of_another_size_is_fetched_again() {
    let world = World::new();
    let blob = world.folder().join("blobs").join(sha256(&weights(LEN)));
    fs::create_dir_all(blob.parent().unwrap()).unwrap();
    fs::write(&blob, b"short").unwrap();
    let snapshot = world.fetch().unwrap();
    assert_eq!(fs::read(snapshot.directory.join("model.safetensors")).unwrap(), weights(LEN));
}

#[test]
fn a_cached_file_that_cannot_be_right_is_named_with_the_way_to_fetch_it_again() {
    let world = World::new();
    world.fetch().unwrap();
    let blob = world.folder().join("blobs").join(sha256(&weights(LEN)));
    fs::write(&blob, b"").unwrap();
    let error = world.fetch().unwrap_err();
    assert!(
        matches!(&error, HubError::Corrupt { path, .. } if path.ends_with("model.safetensors")),
        "{error}"
    );
    let shown =
        if cfg!(unix) { fs::canonicalize(&blob).unwrap().display().to_string() } else { String::new() };
    assert!(error.to_string().contains(&format!("hint: delete {shown}")), "{error}");
    // The hint works.
    fs::remove_file(blob).unwrap();
    if cfg!(unix) {
        world.fetch().unwrap();
    }
}

#[test]
fn the_way_to_fetch_again_is_known_for_snapshots_only() {
    let world = World::new();
    let snapshot = world.fetch().unwrap();
    assert!(refetch_hint(&snapshot.directory.join("config.json")).is_some());
    assert_eq!(refetch_hint(Path::new("my/model/config.json")), None);
    assert_eq!(refetch_hint(&snapshot.directory), None);
}

#[test]
fn json_that_is_none_is_named() {
    let world = World::new();
    let files: [(&str, &[u8]); 3] = [
        ("config.json", CONFIG),
        ("preprocessor_config.json", PROCESSOR),
        ("model.safetensors.index.json", b"{\"weight_map\""),
    ];
    python_cache(&world.folder(), &files);
    let message = world.refusal();
    assert!(
        message.contains("model.safetensors.index.json") && message.contains("hint: delete"),
        "{message}"
    );
}
