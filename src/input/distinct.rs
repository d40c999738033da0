//! No two images with one output.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher, RandomState},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{Item, Source};
use crate::shard::Unusable;

/// Sees each image's output name and tells which were given before. It keeps 16 bytes an image, not its path, since a
/// list may be long.
#[derive(Default)]
pub struct Distinct {
    hasher: RandomState,
    seen: HashMap<u64, u64>,
}

/// What is known of an image's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// No other image has it.
    New,
    /// The same image was given before.
    Again,
    /// Another image has it.
    Taken,
}

impl Distinct {
    /// Notes that `source` will be written to `output`.
    pub fn note(&mut self, source: &Source, output: &Path) -> Seen {
        // `a.png` and `./a.png` are one file.
        let source = match source {
            Source::File(path) => self.hasher.hash_one(path.strip_prefix(".").unwrap_or(path)),
            // One read twice is the same image, two of one name are not.
            Source::Member { shard, offset, .. } => self.hasher.hash_one((shard, offset)),
            other => self.hasher.hash_one(other),
        };
        match self.seen.entry(self.hasher.hash_one(output)) {
            Entry::Vacant(entry) => {
                entry.insert(source);
                Seen::New
            }
            Entry::Occupied(entry) if *entry.get() == source => Seen::Again,
            Entry::Occupied(_) => Seen::Taken,
        }
    }
}

/// Leaves out images that were given before, and makes those whose place is another image's into failures. `place` is where an
/// image's output goes; none where images do not get in each other's way. `again` counts what is left out.
pub fn distinct(
    items: impl Iterator<Item = Item>,
    place: impl Fn(&Item) -> Option<PathBuf>,
    again: Arc<AtomicU64>,
) -> impl Iterator<Item = Item> {
    let mut distinct = Distinct::default();
    items.filter_map(move |item| {
        let Some(place) = place(&item) else { return Some(item) };
        if matches!(item.source, Source::ShardEnd { .. }) {
            return Some(item);
        }
        match (distinct.note(&item.source, &place), item.source) {
            (Seen::New, source) => Some(Item { source, ..item }),
            (Seen::Taken, source @ (Source::File(_) | Source::Member { .. })) => {
                let reason = format!("another image is written to {}", place.display());
                let source = Source::Unusable(source.to_string().into(), Unusable::Unreadable(reason));
                Some(Item { source, ..item })
            }
            // What could not be read fails for its own reason.
            (Seen::Taken, source) => Some(Item { source, ..item }),
            (Seen::Again, _) => {
                again.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_image_is_left_out_and_a_shared_output_fails() {
        let items = ["a.jpg", "b.jpg", "a.jpg", "a.png"].map(|path| Item::file(path.into()));
        let again = Arc::new(AtomicU64::new(0));
        let place = |item: &Item| Some(item.name.with_extension("npy"));
        let kept: Vec<_> = distinct(items.into_iter(), place, again.clone()).collect();
        assert_eq!((kept.len(), again.load(Ordering::Relaxed)), (3, 1));
        assert_eq!(kept[1].source, Source::File("b.jpg".into()));
        assert!(matches!(&kept[2].source, Source::Unusable(path, Unusable::Unreadable(reason))
            if path == Path::new("a.png") && reason.contains("a.npy")));
    }
}
