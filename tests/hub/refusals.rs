//! What a hub refuses, and what is refused of a hub.

use std::fs;

use clip_features::hub::{HubError, Wanted};

use crate::{
    server::{Fault, small_etag},
    support::{CONFIG, MODEL, TOKEN, World, count, settings, weights},
};

const FIRST: &str = "HEAD /acme/clip/resolve/main/config.json";

fn refusal(status: u16, headers: &[(&'static str, &str)], token: Option<&str>) -> HubError {
    let mut world = World::new();
    let variables: Vec<_> = token.iter().map(|token| ("HF_TOKEN", *token)).collect();
    world.settings = settings(&world.hub.endpoint, world.cache.path(), &variables);
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    world.hub.fail(FIRST, 1, Fault::Answer(status, headers));
    let error = world.fetch().unwrap_err();
    assert!(!format!("{error} {error:?}").contains(TOKEN));
    assert_eq!(count(&world.hub.take_log(), "/config.json"), 1, "a refusal is not tried again");
    error
}

#[test]
fn a_model_that_does_not_exist_or_is_private() {
    let world = World::new();
    let (model, revision) = ("acme/other".parse().unwrap(), "main".parse().unwrap());
    let error =
        clip_features::hub::fetch(&model, &revision, &world.settings, Wanted::Configs, &|_| {}).unwrap_err();
    assert!(matches!(error, HubError::ModelNotFound { .. }), "{error}");
    assert!(error.to_string().contains("acme/other") && error.to_string().contains("HF_TOKEN"), "{error}");

    for (status, code) in [(404, "RepoNotFound"), (401, "RepoNotFound"), (401, ""), (404, "")] {
        let error = refusal(status, &[("X-Error-Code", code)], None);
        assert!(matches!(error, HubError::ModelNotFound { .. }), "{error}");
        assert!(error.to_string().contains("HF_TOKEN"), "{error}");
        let error = refusal(status, &[("X-Error-Code", code)], Some(TOKEN));
        assert!(error.to_string().contains("whether the token may read it"), "{error}");
    }
}

#[test]
fn a_gated_model_and_its_terms() {
    for status in [401, 403] {
        let error = refusal(status, &[("X-Error-Code", "GatedRepo")], None);
        assert!(matches!(error, HubError::Gated { .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains("/acme/clip") && message.contains("HF_TOKEN"), "{message}");
    }
    let error = refusal(403, &[("X-Error-Code", "GatedRepo")], Some(TOKEN));
    assert!(error.to_string().contains("as the user whose token is used"), "{error}");
}

#[test]
fn a_token_that_the_hub_does_not_know() {
    let message = ("X-Error-Message", "Invalid credentials in Authorization header");
    let error = refusal(401, &[message], Some(TOKEN));
    assert!(matches!(error, HubError::TokenRefused { .. }), "{error}");
}

#[test]
fn a_revision_that_does_not_exist() {
    let world = World::new();
    let error = world.fetch_revision("v9").unwrap_err();
    assert!(
        matches!(&error, HubError::RevisionNotFound { revision, .. } if revision.as_str() == "v9"),
        "{error}"
    );
    assert!(!world.folder().join("refs/v9").exists());
}

#[test]
fn any_other_status_is_told() {
    let error = refusal(403, &[("X-Error-Message", "Access to this resource is disabled.")], None);
    let message = error.to_string();
    assert!(message.contains("403") && message.contains("is disabled"), "{message}");
}

#[test]
fn a_model_of_pickles_only() {
    for pickle in ["pytorch_model.bin", "pytorch_model.bin.index.json"] {
        let world = World::without_weights();
        world.hub.add(MODEL, pickle, b"pickle", false);
        let error = world.fetch().unwrap_err();
        assert!(matches!(&error, HubError::OnlyPickle { file, .. } if file == pickle), "{error}");
        assert!(error.to_string().contains("save_pretrained"), "{error}");
        assert_eq!(
            count(&world.hub.take_log(), "GET /acme/clip/resolve/main/pytorch"),
            0,
            "it is not fetched"
        );
    }
}

#[test]
fn a_model_that_lacks_what_every_model_has() {
    let world = World::without_weights();
    let message = world.refusal();
    assert!(message.contains("model.safetensors"), "{message}");

    let world = World::new();
    world.hub.add("acme/empty", "README.md", b"", false);
    let (model, revision) = ("acme/empty".parse().unwrap(), "main".parse().unwrap());
    let error =
        clip_features::hub::fetch(&model, &revision, &world.settings, Wanted::Configs, &|_| {}).unwrap_err();
    assert!(matches!(&error, HubError::FileNotFound { file, .. } if file == "config.json"), "{error}");
}

#[test]
fn a_repository_of_another_kind_is_told_by_its_own_file() {
    for (file, part) in [
        ("adapter_config.json", "is an adapter"),
        ("model_index.json", "is a pipeline of diffusers"),
        ("modules.json", "is a model of sentence-transformers"),
    ] {
        let world = World::new();
        world.hub.add("acme/other", file, b"{}", false);
        let (model, revision) = ("acme/other".parse().unwrap(), "main".parse().unwrap());
        let error = clip_features::hub::fetch(&model, &revision, &world.settings, Wanted::Weights, &|_| {})
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(&format!("acme/other: {part}")), "{error}");
        assert!(error.contains("hint: hf download acme/other --local-dir DIR, then "), "{error}");
    }
}

#[test]
fn shards_outside_the_snapshot_are_refused() {
    for shard in ["../../../evil.safetensors", "/tmp/evil.safetensors", "..", "a\\\\b.safetensors", ""] {
        let world = World::without_weights();
        let index = format!(r#"{{"weight_map": {{"vision_model.a": "{shard}"}}}}"#);
        world.hub.add(MODEL, "model.safetensors.index.json", index.as_bytes(), false);
        let error = world.fetch().unwrap_err();
        assert!(error.to_string().contains("is not a plain file name"), "{error}");
        assert_eq!(count(&world.hub.take_log(), "evil"), 0);
    }
}

#[test]
fn names_that_lead_out_of_the_cache_are_refused() {
    for header in ["ETag", "X-Repo-Commit", "X-Linked-Etag"] {
        for value in ["../../evil", "..", "a/b", ""] {
            let world = World::new();
            let request = if header == "ETag" { "HEAD /api/resolve-cache/" } else { FIRST };
            world.hub.fail(request, 1, Fault::Headers(vec![(header, value.to_owned())]));
            let error = world.fetch().unwrap_err();
            assert!(matches!(&error, HubError::NotAHub { .. }), "{header} {value}: {error}");
            assert!(error.to_string().contains("HF_ENDPOINT"), "{error}");
        }
    }
}

#[test]
fn redirects_that_lead_nowhere_end() {
    for location in ["/acme/clip/resolve/main/config.json", "ftp://elsewhere/", ""] {
        let world = World::new();
        world.hub.fail(FIRST, 100, Fault::Answer(302, vec![("Location", location.to_owned())]));
        let error = world.fetch().unwrap_err();
        assert!(matches!(&error, HubError::NotAHub { .. }), "{location}: {error}");
    }
}

#[test]
fn a_weak_etag_is_an_etag() {
    let world = World::new();
    let weak = ("ETag", format!("W/\"{}\"", small_etag(CONFIG)));
    world.hub.fail("HEAD /api/resolve-cache/", 1, Fault::Headers(vec![weak]));
    world.fetch().unwrap();
    assert!(world.folder().join("blobs").join(small_etag(CONFIG)).is_file());
}

#[cfg(unix)]
#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let mut world = World::new();
    let file = world.cache.path().join("file");
    fs::write(&file, b"in the way").unwrap();
    world.settings = settings(&world.hub.endpoint, &file.join("cache"), &[]);
    let message = world.refusal();
    assert!(message.contains("file/cache") && message.contains("--cache-dir"), "{message}");
}

#[test]
fn no_output_holds_the_token() {
    let mut world = World::new();
    world.settings = settings(&world.hub.endpoint, world.cache.path(), &[("HF_TOKEN", TOKEN)]);
    world.hub.fail("GET /lfs/", 2, Fault::Drop);
    world.hub.add(MODEL, "model.safetensors", &weights(10), true);
    world.fetch().unwrap();
    let events = world.events.borrow().join("\n");
    assert!(events.contains("Retry"));
    assert!(!format!("{events}{:?}", world.settings).contains(TOKEN));
}

#[test]
fn a_file_of_unreasonable_size_is_not_fetched() {
    for (request, file, limit) in [
        (FIRST, "config.json", 16 << 20),
        (
            "HEAD /acme/clip/resolve/32bd64288804d66eefd0ccbe215aa642df71cc41/model.safetensors",
            "model.safetensors",
            500_000_000_000_u64,
        ),
    ] {
        let world = World::new();
        let size = ("X-Linked-Size", "600000000000".to_owned());
        world.hub.fail(request, 1, Fault::Headers(vec![size, ("X-Linked-Etag", "\"0\"".to_owned())]));
        let error = world.fetch().unwrap_err();
        assert!(matches!(&error, HubError::TooLarge { .. }), "{error}");
        let message = error.to_string();
        assert!(
            message.contains(&format!("{file} is of 600000000000 bytes or more, expected at most {limit}")),
            "{message}"
        );
        assert!(
            !world.hub.take_log().iter().any(|asked| asked.method == "GET" && asked.path.ends_with(file))
        );
    }
}
