//! Transfers that break, stall, lie and go on.

use std::{fs, time::Duration};

use clip_features::hub::{HubError, Settings};

use crate::{
    server::{COMMIT, Fault, sha256},
    support::{LEN, MODEL, World, count, weights},
};

fn partial(world: &World) -> std::path::PathBuf {
    world.folder().join("blobs").join(format!("{}.incomplete", sha256(&weights(LEN))))
}

fn assert_whole(world: &World) {
    let path = world.folder().join("snapshots").join(COMMIT).join("model.safetensors");
    assert_eq!(fs::read(path).unwrap(), weights(LEN));
    assert!(!partial(world).exists());
}

#[test]
fn a_cut_connection_is_continued_within_the_run() {
    let world = World::new();
    world.hub.fail("GET /lfs/", 1, Fault::CutAfter(300_000));
    world.fetch().unwrap();
    let log = world.hub.take_log();
    let ranges: Vec<_> =
        log.iter().filter(|logged| logged.path.starts_with("/lfs/")).map(|l| &l.range).collect();
    assert_eq!(ranges, [&None, &Some("bytes=300000-".to_owned())]);
    assert_eq!(world.events_with("Retry"), 1);
    assert_whole(&world);
}

#[test]
fn a_partial_download_is_continued_by_the_next_run() {
    let world = World::new();
    world.hub.fail("GET /lfs/", 1, Fault::CutAfter(300_000));
    world.hub.fail("GET /lfs/", 4, Fault::Drop);
    let error = world.fetch().unwrap_err();
    assert!(matches!(error, HubError::GaveUp { tries: 5, .. }), "{error}");
    assert_eq!(fs::metadata(partial(&world)).unwrap().len(), 300_000);
    world.hub.take_log();

    world.fetch().unwrap();
    let log = world.hub.take_log();
    assert_eq!(count(&log, "config.json"), 0);
    let storage: Vec<_> = log.iter().filter(|logged| logged.path.starts_with("/lfs/")).collect();
    assert_eq!(storage.len(), 1);
    assert_eq!(storage[0].range.as_deref(), Some("bytes=300000-"));
    assert!(world.events.borrow().iter().any(|event| event.contains("have: 300000")));
    assert_whole(&world);
}

#[test]
fn progress_is_patient_however_often_the_connection_breaks() {
    let world = World::new();
    world.hub.fail("GET /lfs/", 9, Fault::CutAfter(70_000));
    world.fetch().unwrap();
    assert_eq!(world.events_with("Retry"), 9);
    assert_whole(&world);
}

#[test]
fn a_server_that_ignores_ranges_sends_all_again() {
    let world = World::new();
    world.hub.fail("GET /lfs/", 1, Fault::CutAfter(300_000));
    world.hub.fail("GET /lfs/", 1, Fault::IgnoreRange);
    world.fetch().unwrap();
    assert_eq!(count(&world.hub.take_log(), "GET /lfs/"), 2);
    assert_whole(&world);
}

#[test]
fn a_range_that_cannot_be_had_starts_over() {
    let world = World::new();
    fs::create_dir_all(world.folder().join("blobs")).unwrap();
    fs::write(partial(&world), &weights(LEN)[..1000]).unwrap();
    world.hub.fail("GET /lfs/", 1, Fault::Answer(416, vec![]));
    world.fetch().unwrap();
    assert_whole(&world);
}

#[test]
fn a_wrong_range_starts_over() {
    let world = World::new();
    fs::create_dir_all(world.folder().join("blobs")).unwrap();
    fs::write(partial(&world), &weights(LEN)[..1000]).unwrap();
    let wrong = ("Content-Range", format!("bytes 0-{}/{LEN}", LEN - 1));
    world.hub.fail("GET /lfs/", 1, Fault::Headers(vec![wrong]));
    world.fetch().unwrap();
    assert_whole(&world);
}

#[test]
fn a_partial_file_that_is_whole_needs_no_transfer() {
    let world = World::new();
    fs::create_dir_all(world.folder().join("blobs")).unwrap();
    fs::write(partial(&world), weights(LEN)).unwrap();
    world.fetch().unwrap();
    assert_eq!(count(&world.hub.take_log(), "GET /lfs/"), 0);
    assert_whole(&world);
}

#[test]
fn a_damaged_partial_file_is_fetched_anew() {
    for len in [1000, LEN, LEN + 1000] {
        let world = World::new();
        fs::create_dir_all(world.folder().join("blobs")).unwrap();
        fs::write(partial(&world), vec![0; len]).unwrap();
        world.fetch().unwrap();
        assert_whole(&world);
    }
}

#[test]
fn a_file_that_has_changed_on_the_hub_is_not_continued() {
    let world = World::new();
    world.hub.fail("GET /lfs/", 1, Fault::CutAfter(300_000));
    world.hub.fail("GET /lfs/", 4, Fault::Drop);
    world.fetch().unwrap_err();
    let changed = weights(LEN + 1);
    world.hub.add(MODEL, "model.safetensors", &changed, true);
    world.hub.take_log();
    let snapshot = world.fetch().unwrap();
    assert_eq!(fs::read(snapshot.directory.join("model.safetensors")).unwrap(), changed);
    assert!(world.hub.take_log().iter().all(|logged| logged.range.is_none()));
}

#[test]
fn server_errors_and_dropped_connections_are_tried_again() {
    for fault in
        [Fault::Answer(500, vec![]), Fault::Answer(503, vec![]), Fault::Answer(429, vec![]), Fault::Drop]
    {
        for request in ["HEAD /acme/clip/resolve/main/config.json", "GET /lfs/", "GET /acme/clip/resolve/"] {
            let world = World::new();
            world.hub.fail(request, 4, fault.clone());
            world.fetch().unwrap();
            assert_eq!(world.events_with("Retry"), 4, "{request} {fault:?}");
            assert_whole(&world);
        }
    }
}

#[test]
fn patience_ends() {
    let world = World::new();
    world.hub.fail("HEAD /acme/clip/resolve/main/config.json", 5, Fault::Answer(500, vec![]));
    let message = world.refusal();
    assert!(
        message.contains("config.json") && message.contains("500") && message.contains("5 times"),
        "{message}"
    );
    assert_eq!(world.hub.take_log().len(), 5);
}

#[test]
fn a_server_that_says_when_is_asked_then() {
    let world = World::new();
    let fault = Fault::Answer(429, vec![("Retry-After", "1".into())]);
    world.hub.fail("HEAD /acme/clip/resolve/main/config.json", 1, fault);
    world.fetch().unwrap();
    assert!(
        world.events.borrow().iter().any(|event| event.starts_with("Retry") && event.contains("pause: 1s"))
    );
}

#[test]
fn a_server_that_stalls_is_left() {
    let mut world = World::new();
    world.settings = Settings { read_timeout: Duration::from_millis(200), ..world.settings };
    world.hub.fail("GET /lfs/", 1, Fault::Slow(2, Duration::from_secs(5)));
    world.fetch().unwrap();
    assert_eq!(world.events_with("Retry"), 1);
    assert_whole(&world);
}

#[test]
fn a_slow_transfer_may_take_longer_than_the_time_limit_of_a_read() {
    let mut world = World::new();
    world.settings = Settings { read_timeout: Duration::from_secs(1), ..world.settings };
    world.hub.fail("GET /lfs/", 1, Fault::Slow(15, Duration::from_millis(100)));
    world.fetch().unwrap();
    assert_eq!(world.events_with("Retry"), 0);
    assert_whole(&world);
}

#[test]
fn a_wrong_checksum_is_refused_and_removed() {
    let world = World::new();
    world.hub.fail("GET /lfs/", 1, Fault::Corrupt);
    let error = world.fetch().unwrap_err();
    assert!(matches!(&error, HubError::Damaged { property: "SHA-256", .. }), "{error}");
    assert!(error.to_string().contains(&sha256(&weights(LEN))), "{error}");
    assert!(!partial(&world).exists());
    assert!(!world.folder().join("blobs").join(sha256(&weights(LEN))).exists());
    assert!(!world.folder().join("snapshots").join(COMMIT).join("model.safetensors").exists());
    world.fetch().unwrap();
    assert_whole(&world);
}

#[test]
fn a_wrong_size_is_refused_before_the_transfer() {
    let world = World::new();
    let size = ("X-Linked-Size", "17".to_owned());
    world.hub.fail(
        "HEAD /acme/clip/resolve/32bd64288804d66eefd0ccbe215aa642df71cc41/model",
        1,
        Fault::Headers(vec![size]),
    );
    let error = world.fetch().unwrap_err();
    assert!(matches!(&error, HubError::Damaged { property: "size", .. }), "{error}");
    assert!(error.to_string().contains("700000") && error.to_string().contains("17"), "{error}");
    world.fetch().unwrap();
    assert_whole(&world);
}

#[test]
fn a_small_file_must_have_its_size() {
    let world = World::new();
    world.hub.fail("GET /api/resolve-cache/", 5, Fault::CutAfter(3));
    // Each try brings three bytes more, so it ends well; cut to nothing, it does not.
    world.fetch().unwrap();
    let world = World::new();
    world.hub.fail("GET /api/resolve-cache/", 5, Fault::CutAfter(0));
    assert!(matches!(world.fetch().unwrap_err(), HubError::GaveUp { .. }));
}
