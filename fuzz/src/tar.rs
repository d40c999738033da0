//! Tar shards, compressed or not: their samples, within bounds of memory.

use clip_features::{
    input::{Item, Source, expand},
    shard::Selection,
};

use super::files::directory;

pub fn run(data: &[u8]) {
    let directory = directory();
    let path = directory.path().join("s.tar");
    std::fs::write(&path, data).expect("a file in memory");
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    // As for pictures, the length chooses.
    let selection = match data.len() % 2 {
        0 => Selection::default(),
        _ => Selection { image_keys: owned(&["jpg", "png"]), keep: owned(&["txt", "json"]) },
    };
    let mut ends = 0;
    for item in expand(std::iter::once(Item::shard(path)), selection, |_| false) {
        let inside = |path: &std::path::Path| {
            path.is_relative() && !path.components().any(|part| part.as_os_str() == "..")
        };
        assert!(inside(&item.name), "{}", item.name.display());
        ends += usize::from(matches!(item.source, Source::ShardEnd { .. }));
    }
    assert_eq!(ends, 1, "a shard ends once");
}
