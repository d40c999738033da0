//! Several at once.

use std::{process::Command, thread, time::Duration};

use clip_features::hub::Wanted;

use crate::{
    server::Fault,
    support::{LEN, MODEL, World, count, settings, weights},
};

#[test]
fn threads_that_start_at_once_download_once() {
    let world = World::new();
    world.hub.fail("GET /lfs/", 1, Fault::Slow(10, Duration::from_millis(50)));
    let directories: Vec<_> = thread::scope(|scope| {
        let fetch = || {
            let (model, revision) = (MODEL.parse().unwrap(), "main".parse().unwrap());
            clip_features::hub::fetch(&model, &revision, &world.settings, Wanted::Weights, &|_| {})
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(fetch)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap().unwrap().directory).collect()
    });
    assert!(directories.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(count(&world.hub.take_log(), "GET /lfs/"), 1);
    assert_eq!(std::fs::read(directories[0].join("model.safetensors")).unwrap(), weights(LEN));
}

const CHILD: &str = "CLIP_FEATURES_TEST_CHILD";

#[test]
fn processes_that_start_at_once_download_once() {
    let world = World::new();
    world.hub.fail("GET /lfs/", 1, Fault::Slow(20, Duration::from_millis(50)));
    let children: Vec<_> = (0..2)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "processes::one_of_the_processes", "--nocapture"])
                .env(CHILD, format!("{} {}", world.hub.endpoint, world.cache.path().display()))
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let log = world.hub.take_log();
    assert_eq!(count(&log, "GET /lfs/"), 1, "{log:#?}");
    assert_eq!(count(&log, "HEAD /acme/clip/resolve/main/config.json"), 2, "both have asked");
    let before = world.hub.connections();
    world.fetch().unwrap();
    assert_eq!(world.hub.connections(), before);
}

/// Run by the test above, in a process of its own; as a test it does nothing.
#[test]
fn one_of_the_processes() {
    let Ok(task) = std::env::var(CHILD) else { return };
    let (endpoint, cache) = task.split_once(' ').unwrap();
    let settings = settings(endpoint, cache.as_ref(), &[]);
    let (model, revision) = (MODEL.parse().unwrap(), "main".parse().unwrap());
    let snapshot = clip_features::hub::fetch(&model, &revision, &settings, Wanted::Weights, &|_| {}).unwrap();
    assert_eq!(std::fs::read(snapshot.directory.join("model.safetensors")).unwrap(), weights(LEN));
}
