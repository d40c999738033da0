//! Files of others where outputs go.

use super::*;
use crate::output::{Written, manifest::State};

/// Runs that make files of several images, tars in a directory of them.
fn shared(path: &str) -> Scenario {
    let incoming = if path.ends_with('/') { TARS } else { SEVERAL };
    Scenario { incoming, ..scenario(to(path)) }
}

#[test]
fn what_was_begun_in_the_place_of_another_file_is_not_ours_to_remove() {
    for path in ["x.npy", "x.safetensors", "x.tar", "out/"] {
        let stranger = if path == "out/" { "out/t0.tar" } else { path };
        let careful = shared(path);
        let over = Scenario { to: Destination { overwrite: true, ..to(path) }, ..careful.clone() };
        let images = named(&over);
        let theirs = || {
            let (kept, root) = work();
            fs::create_dir_all(root.join(stranger).parent().unwrap()).unwrap();
            fs::write(root.join(stranger), "theirs").unwrap();
            (kept, root)
        };
        let is_theirs = |root: &Path| fs::read(root.join(stranger)).unwrap() == b"theirs";
        let is_sealed = |root: &Path| {
            tree(root).iter().any(|(path, bytes)| {
                let text = bytes.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
                is_manifest(path) && text.contains("{\"sealed\"")
            })
        };
        let watched = |root: &Path, fails| Disk::watched(Arc::new(Recorder::new(root, fails)));
        let recorder = {
            let (_kept, root) = theirs();
            let recorder = Arc::new(Recorder::new(&root, None));
            run(&over, &root, Disk::watched(recorder.clone()), &images, false).unwrap();
            assert!(!is_theirs(&root));
            recorder
        };
        let count = recorder.operations().len();
        let mut kept = 0;
        for fails in 0..count {
            let (_kept, root) = theirs();
            run(&over, &root, watched(&root, Some(fails)), &images, false).unwrap_err();
            if !is_theirs(&root) {
                continue;
            }
            kept += 1;
            let about = format!("{path}, {fails} of {count}");
            run(&careful, &root, Disk::default(), &images, false).expect_err(&about);
            assert!(is_theirs(&root), "{about}");
            if !is_sealed(&root) {
                run(&over, &root, watched(&root, Some(3)), &images, false).unwrap_err();
                assert!(is_theirs(&root), "{about}");
            }
            run(&over, &root, Disk::default(), &images, false).unwrap();
            assert!(!is_theirs(&root), "{about}");
        }
        assert!(kept > 8, "{path}: {kept}");
    }
}

/// Writes an image of this name.
fn write_one(sink: &mut dyn Sink, name: &str) -> Result<Written, OutputError> {
    let array = Array { name: "a".into(), shape: vec![1, 3, 5], values: vec![0.5; 15] };
    sink.write(&Image {
        key: name,
        name: Path::new(name),
        sample: None,
        input: &InputFacts::default(),
        place: 0,
        metadata: &Metadata::default(),
        facts: "{}",
        report: "{}",
        content: Content::Tensors(&[array]),
    })
}

#[test]
fn the_second_of_two_images_for_one_file_fails() {
    let (_kept, root) = work();
    let to = to(root.join("out/"));
    let contents = contents(&shared("x.npy"), true);
    let mut sink = to.plan(SEVERAL).unwrap().open(&contents, None, Planned::default()).unwrap();
    write_one(&mut *sink, "a.png").unwrap();
    let second = write_one(&mut *sink, "a.jpg");
    assert!(matches!(second, Err(OutputError::Foreign { .. })), "{second:?}");
    write_one(&mut *sink, "b.png").unwrap();
    sink.finish(true).unwrap();
    assert!(root.join("out/a.npy").exists() && root.join("out/b.npy").exists());
}

/// The hidden files below a directory.
fn hidden(root: &Path) -> Vec<PathBuf> {
    let is_hidden =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    tree(root).into_keys().filter(is_hidden).collect()
}

/// Lets each operation of a run fail, and gives what is left of it.
fn cut_short(scenario: &Scenario) -> Vec<Tree> {
    let images = named(scenario);
    let left = |fails| {
        let (_kept, root) = work();
        let disk = Disk::watched(Arc::new(Recorder::new(&root, Some(fails))));
        run(scenario, &root, disk, &images, false).is_err().then(|| tree(&root))
    };
    (0..).map_while(left).collect()
}

#[test]
fn a_run_of_another_kind_leaves_nothing_of_one_that_was_cut_short() {
    let set = |shard_size, overwrite| Scenario {
        group: 100,
        ..scenario(Destination { shard_size, overwrite, ..to("x.npy") })
    };
    let mut kept = 0;
    for left in cut_short(&set(Some(128 + 60), false)) {
        for next in [set(None, false), set(None, true), set(Some(128 + 120), false), set(Some(500), true)] {
            let (_kept, root) = planted(&left);
            kept += hidden(&root).len();
            run(&next, &root, Disk::default(), &named(&next), false).unwrap();
            assert!(hidden(&root).is_empty(), "{:?} after {:?}: {:?}", next.to, left.keys(), hidden(&root));
        }
    }
    assert!(kept > 20, "{kept}");
}

#[test]
fn what_was_begun_of_a_tar_that_went_away_waits_for_it() {
    let scenario = Scenario { images: 7, ..shared("out/") };
    let images = named(&scenario);
    let others: Vec<_> = images.iter().filter(|(tar, _)| tar.as_deref() != Some("t1.tar")).cloned().collect();
    let (_, after, _) = record(&scenario);
    let mut kept = 0;
    for left in cut_short(&scenario) {
        let (_kept, root) = planted(&left);
        run(&scenario, &root, Disk::default(), &others, false).unwrap();
        // What is hidden then is what the manifest speaks of.
        let state = State::read(&root.join("out/manifest.jsonl")).unwrap().unwrap();
        let is_begun = state.files.iter().any(|file| file.name == "t1.tar" && file.grows_from.is_some());
        let expected: &[PathBuf] = &["out/.t1.tar.partial".into()];
        assert!(hidden(&root).is_empty() || is_begun && hidden(&root) == expected, "{:?}", left.keys());
        kept += hidden(&root).len();
        // It may come back.
        run(&scenario, &root, Disk::default(), &images, false).unwrap();
        assert!(outputs(&tree(&root)) == outputs(&after), "{:?}", left.keys());
    }
    assert!(kept > 3, "{kept}");
}

#[test]
fn what_another_output_has_on_its_way_stays() {
    let (_kept, root) = work();
    fs::create_dir_all(root.join("out/x")).unwrap();
    let theirs = [
        "out/.feat.tar.partial",
        "out/.feat-00001.tar.partial",
        "out/.notes.tar.partial",
        "out/x/.y.tar.partial",
        ".run-1.npy.partial",
        ".run-00002.npy.partial",
    ];
    for name in theirs {
        fs::write(root.join(name), "theirs").unwrap();
    }
    for overwrite in [false, true] {
        for path in ["out/", "run.npy"] {
            let one = shared(path);
            let one = Scenario { to: Destination { overwrite, ..to(path) }, ..one };
            run(&one, &root, Disk::default(), &named(&one), false).unwrap();
            assert!(theirs.iter().all(|name| fs::read(root.join(name)).unwrap() == b"theirs"), "{path}");
        }
    }
}

#[test]
fn what_had_the_name_is_as_it_was_where_the_larger_one_is_lost() {
    let few = Scenario { images: 3, is_planned: false, longer: 12_000, ..scenario(to("x.safetensors")) };
    let more = Scenario { images: 7, ..few.clone() };
    let (_, after, _) = record(&more);
    let (_kept, root) = work();
    run(&few, &root, Disk::default(), &named(&few), false).unwrap();
    let before = tree(&root);
    let mut lost = 0;
    for fails in 0.. {
        let (_kept, root) = planted(&before);
        let disk = Disk::watched(Arc::new(Recorder::new(&root, Some(fails))));
        if run(&more, &root, disk, &named(&more), false).is_ok() {
            break;
        }
        let state = State::read(&root.join("x.manifest.jsonl")).unwrap().unwrap();
        if state.files[0].grows_from.is_some() {
            for path in hidden(&root) {
                fs::remove_file(root.join(path)).unwrap();
                lost += 1;
            }
        }
        run(&more, &root, Disk::default(), &named(&more), false).unwrap();
        assert_eq!(archived(&root).0, archived_in(&after), "{fails}");
    }
    assert!(lost > 3, "{lost}");
}

/// The keys in the archive of a tree.
fn archived_in(tree: &Tree) -> Vec<String> {
    let (_kept, root) = planted(tree);
    archived(&root).0
}

#[test]
fn a_probe_that_a_power_cut_left_is_removed() {
    for (path, probe) in
        [("out/", ".out.probe"), ("out/", "out/.manifest.jsonl.probe"), ("x.npy", ".x.npy.probe")]
    {
        let (_kept, root) = work();
        let scenario = scenario(to(path));
        fs::create_dir_all(root.join(probe).parent().unwrap()).unwrap();
        fs::write(root.join(probe), "").unwrap();
        let images: Vec<_> = named(&scenario).into_iter().map(|(_, name)| (None, name)).collect();
        run(&scenario, &root, Disk::default(), &images, false).unwrap();
        assert!(hidden(&root).is_empty(), "{probe}: {:?}", hidden(&root));
    }
}

#[test]
fn what_is_removed_on_the_way_is_missed() {
    // What is removed, and when: before the last commit, or after it.
    for (path, removed) in [
        ("out/", "out"),
        ("out/", "out/manifest.jsonl"),
        ("out/", "out/a.npy"),
        ("x.npy", "x.manifest.jsonl"),
        ("x.tar", "x.manifest.jsonl"),
    ] {
        let (_kept, root) = work();
        let to = to(root.join(path));
        let contents = contents(&scenario(to.clone()), false);
        let mut sink = to.plan(SEVERAL).unwrap().open(&contents, None, Planned::default()).unwrap();
        write_one(&mut *sink, "a.png").unwrap();
        sink.commit().unwrap();
        let gone = root.join(removed);
        if gone.is_dir() {
            fs::remove_dir_all(gone).unwrap();
        } else {
            fs::remove_file(gone).unwrap();
        }
        let ended = sink.finish(true).map_err(|error| error.to_string());
        assert!(
            ended.as_ref().is_err_and(|error| error.contains("not there any more")),
            "{removed}: {ended:?}"
        );
    }
}
