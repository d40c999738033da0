//! Power cut after every operation, and every operation failing once: the same run again comes to the undisturbed bytes.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::*;
use crate::output::{
    Format,
    disk::testing::{Model, cut},
};

/// What is finished is there whole, as it was or as it becomes.
fn keeps_what_is_finished(before: &Tree, left: &Tree, after: &Tree, about: &dyn Fn() -> String) {
    for (path, bytes) in before.iter().filter(|(path, bytes)| bytes.is_some() && !is_manifest(path)) {
        let found = left.get(path);
        assert!(found == Some(bytes) || found.is_some() && found == after.get(path), "{}: {path:?}", about());
    }
}

fn models(seeds: u64) -> impl Iterator<Item = Model> {
    [Model::Nothing, Model::Names, Model::Lengths, Model::Data].into_iter().chain((0..seeds).map(Model::Some))
}

/// Cuts the power after every operation of a run; gives how many disks that makes.
fn cut_everywhere(scenario: &Scenario, seeds: u64) -> usize {
    let (before, after, operations) = record(scenario);
    let mut seen = BTreeSet::new();
    for count in 0..=operations.len() {
        for model in models(seeds) {
            let left = cut(&before, &operations[..count], model);
            let mut hasher = DefaultHasher::new();
            left.hash(&mut hasher);
            if !seen.insert(hasher.finish()) {
                continue;
            }
            let about = || {
                let last: Vec<String> = operations[..count].iter().rev().take(6).rev().map(short).collect();
                format!("{scenario:?}: {model:?} after {count} of {}: … {last:?}", operations.len())
            };
            if !scenario.to.overwrite {
                keeps_what_is_finished(&before, &left, &after, &about);
            }
            recover(scenario, &left, &after, &about);
        }
    }
    seen.len()
}

fn short(operation: &Operation) -> String {
    match operation {
        Operation::Write(path, at, bytes) => format!("Write({path:?}, {at}, {} bytes)", bytes.len()),
        other => format!("{other:?}"),
    }
}

/// Lets every operation of a run fail once.
fn fail_everywhere(scenario: &Scenario) {
    let images = named(scenario);
    let (before, after, operations) = record(scenario);
    for (fails, operation) in operations.iter().enumerate() {
        let (_kept, root) = planted(&before);
        let recorder = Arc::new(Recorder::new(&root, Some(fails)));
        let failed = run(scenario, &root, Disk::watched(recorder.clone()), &images, false);
        let about = || format!("{scenario:?}: {} failed: {failed:?}", short(operation));
        let left = tree(&root);
        if !scenario.to.overwrite {
            keeps_what_is_finished(&before, &left, &after, &about);
        }
        recover(scenario, &left, &after, &about);
        // And then the power is cut.
        let models = [Model::Lengths, Model::Names, Model::Some(fails as u64)];
        let models = if is_whole() { &models[..] } else { &models[fails % 3..][..1] };
        for &model in models {
            let about = || format!("{}, and {model:?}", about());
            recover(scenario, &cut(&before, &recorder.operations(), model), &after, &about);
        }
    }
}

/// Every kind of output: fresh, growing, overwriting what has other settings, and a part of a job.
fn scenarios() -> Vec<Scenario> {
    let sized = |path: &str, size| Destination { shard_size: Some(size), ..to(path) };
    let images = [
        (to("out/"), false),
        (to("out/"), true),
        (Destination { format: Some(Format::Safetensors), ..to("out/") }, false),
        (to("x.npy"), false),
        (sized("x.npy", 128 + 2 * 60), false),
        (to("x.safetensors"), true),
        (sized("x.safetensors", 500), false),
        (to("x.tar"), false),
        (sized("x.tar", 8 << 10), false),
    ];
    let images = images.into_iter().map(|(to, is_split)| Scenario { is_split, ..scenario(to) });
    let tars = Scenario { incoming: TARS, ..scenario(to("out/")) };
    let mut all = Vec::new();
    for kind in images.chain([tars]) {
        let base = Scenario { images: 7, group: 2, ..kind };
        all.push(base.clone());
        all.push(Scenario { group: 1, is_planned: false, ..base.clone() });
        all.push(Scenario { before: 4, group: 100, ..base.clone() });
        all.push(Scenario { before: 6, group: 1, is_planned: false, ..base.clone() });
        let over = Destination { overwrite: true, ..base.to.clone() };
        all.push(Scenario { to: over, before: 4, other_settings: true, ..base.clone() });
        let part = Incoming { part: "1/12".parse().ok(), ..base.incoming };
        all.push(Scenario { incoming: part, before: 3, ..base });
    }
    // A head that has to be widened, in a file that is begun and in one that was finished.
    let base = Scenario { longer: 12_000, is_planned: false, group: 1, ..all[0].clone() };
    let widened = Scenario { to: to("x.safetensors"), ..base };
    all.push(Scenario { before: 3, ..widened.clone() });
    all.push(widened);
    all
}

/// Several at a time, since most of it is waiting for the disk.
fn for_each_scenario(test: impl Fn(&Scenario) + Sync) {
    let (all, next) = (scenarios(), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some(scenario) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    test(scenario);
                }
            });
        }
    });
}

/// How much of the replay is done: all of it where `CLIP_FEATURES_REPLAY` says `all`, as every night.
fn is_whole() -> bool {
    std::env::var_os("CLIP_FEATURES_REPLAY").is_some_and(|value| value == "all")
}

#[test]
fn a_power_cut_costs_what_was_not_committed_and_nothing_else() {
    let seeds = if is_whole() { 40 } else { 3 };
    let disks = AtomicUsize::new(0);
    for_each_scenario(|scenario| {
        disks.fetch_add(cut_everywhere(scenario, seeds), Ordering::Relaxed);
    });
    let disks = disks.into_inner();
    assert!(disks > 2000, "{disks}");
}

#[test]
fn any_operation_may_fail() {
    for_each_scenario(fail_everywhere);
}
