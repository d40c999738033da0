//! The binary and the hub.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use safetensors::SafeTensors;
use tempfile::TempDir;

use crate::{
    server::{COMMIT, Fault, Hub, sha256},
    support::{TOKEN, count, weights},
};

const TINY: &str = "acme/tiny";

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path)
}

/// A hub with one of the small checkpoints, and an empty home.
struct World {
    hub: Hub,
    home: TempDir,
}

impl World {
    fn new(checkpoint: &str) -> Self {
        let hub = Hub::start();
        for entry in fs::read_dir(fixture("checkpoints").join(checkpoint)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            hub.add(TINY, name, &fs::read(&path).unwrap(), name.ends_with(".safetensors"));
        }
        Self { hub, home: tempfile::tempdir().unwrap() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clip-features"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HF_") {
                command.env_remove(name);
            }
        }
        command.env("HF_ENDPOINT", &self.hub.endpoint).env("HF_HOME", self.home.path());
        command.arg(fixture("images/jpeg-420.jpg")).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn blobs(&self) -> PathBuf {
        self.home.path().join("hub/models--acme--tiny/blobs")
    }
}

#[track_caller]
fn done(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The model or the arguments are refused; gives what was said.
#[track_caller]
fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty());
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    let has = |start| text.lines().any(|line| line.starts_with(start));
    assert!(has("error: ") && has("hint: "), "{text}");
    text
}

#[test]
fn a_model_of_the_hub_gives_the_features_of_its_directory() {
    let world = World::new("vision");
    let outputs = tempfile::tempdir().unwrap();
    let at = |name: &str| outputs.path().join(name).to_str().unwrap().to_owned();
    done(&world.run(&["-m", TINY, "-o", &at("hub.safetensors")]));
    let before = world.hub.connections();
    let report = done(&world.run(&["-m", TINY, "-o", &at("again.safetensors"), "--json"]));
    assert_eq!(world.hub.connections(), before, "the second run makes no connection");
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["model"], &report["revision"]), (&TINY.into(), &COMMIT.into()));

    let directory = fixture("checkpoints/vision");
    done(&world.run(&["-m", directory.to_str().unwrap(), "-o", &at("directory.safetensors")]));
    let [hub, again, local] =
        ["hub", "again", "directory"].map(|name| fs::read(at(name) + ".safetensors").unwrap());
    assert_eq!(hub, again);
    let tensor = |bytes: &[u8]| {
        SafeTensors::deserialize(bytes).unwrap().tensor("last_hidden_state").unwrap().data().to_vec()
    };
    assert_eq!(tensor(&hub), tensor(&local));
    let (_, header) = SafeTensors::read_metadata(&hub).unwrap();
    let metadata = header.metadata().clone().unwrap();
    assert_eq!((metadata["model"].as_str(), metadata["revision"].as_str()), (TINY, COMMIT));
}

#[test]
fn the_default_model_is_openais_vit_l_14() {
    let world = World::new("vision");
    let text = refused(&world.run(&[]));
    assert!(text.contains("openai/clip-vit-large-patch14"), "{text}");
    assert_eq!(count(&world.hub.take_log(), "/openai/clip-vit-large-patch14/resolve/main/config.json"), 1);
}

#[test]
fn of_shards_those_of_the_vision_tower_are_fetched() {
    let world = World::new("clip-model-sharded");
    done(&world.run(&["-m", TINY]));
    let all = fs::read_dir(fixture("checkpoints/clip-model-sharded")).unwrap();
    let shards =
        all.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("-of-")).count();
    let fetched = count(&world.hub.take_log(), "GET /lfs/");
    assert!(0 < fetched && fetched < shards, "{fetched} of {shards}");
}

#[test]
fn pixel_values_and_random_weights_need_no_weights() {
    let world = World::new("vision");
    done(&world.run(&["-m", TINY, "--tensor", "pixel_values"]));
    let random = world.run(&["-m", TINY, "--random-weights"]);
    assert!(
        random.status.success() && String::from_utf8_lossy(&random.stdout).contains("[1, 26, 36]"),
        "{random:?}"
    );
    assert_eq!(count(&world.hub.take_log(), "safetensors"), 0);
}

#[test]
fn offline_makes_no_connection() {
    let world = World::new("vision");
    for arguments in [&["-m", TINY, "--offline"][..], &["-m", TINY, "--dry-run"]] {
        let text = refused(&world.run(arguments));
        assert!(text.contains("not in the cache"), "{text}");
    }
    let output = world.command(&["-m", TINY]).env("HF_HUB_OFFLINE", "1").output().unwrap();
    assert!(refused(&output).contains("--random-weights"));
    assert_eq!(world.hub.connections(), 0);

    done(&world.run(&["-m", TINY]));
    let before = world.hub.connections();
    done(&world.run(&["-m", TINY, "--offline"]));
    done(&world.run(&["-m", TINY, "--offline", "--revision", COMMIT]));
    done(&world.command(&["-m", TINY]).env("HF_HUB_OFFLINE", "1").output().unwrap());
    assert_eq!(world.hub.connections(), before);
}

#[test]
fn the_cache_is_where_it_is_told_to_be() {
    let world = World::new("vision");
    let cache = tempfile::tempdir().unwrap();
    done(&world.run(&["-m", TINY, "--cache-dir", cache.path().to_str().unwrap()]));
    assert!(cache.path().join("models--acme--tiny/refs/main").is_file());
    assert!(!world.home.path().join("hub").exists());
}

#[test]
fn a_damaged_cached_file_is_named_with_the_way_to_fetch_it_again() {
    let world = World::new("vision");
    done(&world.run(&["-m", TINY]));
    for entry in fs::read_dir(world.blobs()).unwrap() {
        let blob = entry.unwrap().path();
        let content = fs::read(&blob).unwrap();
        fs::write(&blob, &content[..content.len() / 2]).unwrap();
        let text = refused(&world.run(&["-m", TINY]));
        assert!(text.contains("/snapshots/"), "{text}");
        if cfg!(unix) {
            assert!(
                text.contains(&format!("delete {}", fs::canonicalize(&blob).unwrap().display())),
                "{text}"
            );
            fs::remove_file(&blob).unwrap();
            done(&world.run(&["-m", TINY]));
        }
        fs::write(&blob, content).unwrap();
    }
}

#[test]
fn a_path_that_does_not_exist_is_a_mistaken_path() {
    let world = World::new("vision");
    let text = refused(&world.run(&["-m", "./tiny"]));
    assert!(text.contains("./tiny: no such file or directory"), "{text}");
    assert_eq!(world.hub.connections(), 0);
}

#[test]
fn processes_that_start_at_once_download_once() {
    let world = World::new("vision");
    world.hub.fail("GET /lfs/", 1, Fault::Slow(20, Duration::from_millis(50)));
    let children: Vec<Child> = (0..3).map(|_| world.command(&["-m", TINY]).spawn().unwrap()).collect();
    let outputs = children.into_iter().map(|child| child.wait_with_output().unwrap());
    for output in outputs.collect::<Vec<_>>() {
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("[1, 26, 36]"));
    }
    assert_eq!(count(&world.hub.take_log(), "GET /lfs/"), 1);
}

#[test]
fn a_download_that_was_killed_is_continued() {
    let world = World::new("vision");
    let content = fs::read(fixture("checkpoints/vision/model.safetensors")).unwrap();
    let partial = world.blobs().join(format!("{}.incomplete", sha256(&content)));
    let partial = || fs::metadata(&partial).map_or(0, |metadata| metadata.len() as usize);
    world.hub.fail("GET /lfs/", 1, Fault::Slow(100, Duration::from_millis(100)));
    let mut child = world.command(&["-m", TINY]).spawn().unwrap();
    while partial() == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let have = partial();
    assert!(0 < have && have < content.len(), "{have} of {}", content.len());
    world.hub.take_log();
    done(&world.run(&["-m", TINY]));
    let log = world.hub.take_log();
    let storage: Vec<_> = log.iter().filter(|logged| logged.host == "storage").collect();
    assert_eq!(storage.len(), 1);
    assert_eq!(storage[0].range, Some(format!("bytes={have}-")));
}

#[test]
fn the_token_is_printed_nowhere() {
    let world = World::new("vision");
    for (request, fault) in [
        ("config.json", Fault::Answer(401, vec![])),
        ("config.json", Fault::Answer(403, vec![("X-Error-Code", "GatedRepo".into())])),
        ("GET /lfs/", Fault::Corrupt),
    ] {
        world.hub.fail(request, 1, fault);
        let output = world.command(&["-m", TINY]).env("HF_TOKEN", TOKEN).output().unwrap();
        let text = refused(&output);
        assert!(!text.contains(TOKEN), "{text}");
    }
}

#[test]
fn a_download_is_told_where_no_terminal_is_and_quiet_is_quiet() {
    let told = "downloading model.safetensors";
    for (quiet, expected) in [(&[][..], told), (&["--quiet"], ""), (&["--progress", "never"], "")] {
        let world = World::new("vision");
        // Not a checkpoint, but large.
        world.hub.add(TINY, "model.safetensors", &weights(2_000_000), true);
        let output = world.run(&[&["-m", TINY], quiet].concat());
        let text = refused(&output);
        assert_eq!(text.contains("downloading"), !expected.is_empty(), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}
