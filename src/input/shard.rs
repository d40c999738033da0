//! Tar shards: each is one [`Item`] of a listing, and many once it is read.

use std::{
    fs::File,
    io::{self, Read},
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
};

use super::{
    Item, Source, Stat,
    source::{display_path, is_stdin},
    stream,
};
use crate::shard::{self, End, Found, Selection};

/// The items, and in a shard's place its samples, read as they are asked for, with its end after them. A shard that `passes` is
/// left as it is.
pub fn expand(
    items: impl Iterator<Item = Item> + Send + 'static,
    selection: Selection,
    passes: impl Fn(&Item) -> bool + Send + 'static,
) -> impl Iterator<Item = Item> + Send {
    items.flat_map(move |item| -> Box<dyn Iterator<Item = Item> + Send> {
        match &item.source {
            Source::Shard(path) if !passes(&item) => {
                Box::new(samples(path.clone(), item.name, selection.clone()))
            }
            _ => Box::new(std::iter::once(item)),
        }
    })
}

/// A shard's samples. It is read on a thread of its own, one sample ahead.
fn samples(path: PathBuf, name: PathBuf, selection: Selection) -> impl Iterator<Item = Item> + Send {
    let (out, samples) = mpsc::sync_channel(1);
    let (source, of_shard) = (path.clone(), name.clone());
    let read = move || {
        let root = if is_stdin(&path) { PathBuf::new() } else { shard::stem(&name) };
        let mut stat = Stat::default();
        let end = match open(&path, &mut stat) {
            Ok(reader) => shard::read(reader, &name, &selection, &mut |found| {
                match out.send(item_of(&path, &root, found)) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()), // the run has ended
                }
            }),
            Err(error) => End::unread(error.to_string()),
        };
        let _ = out.send(end_of(path, name, end, stat));
    };
    // None of its samples is had without the thread.
    let unread = thread::Builder::new().spawn(read).err().map(|error| {
        let end = End::unread(format!("cannot be read, as a thread cannot be started: {error}"));
        end_of(source, of_shard, end, Stat::default())
    });
    samples.into_iter().chain(unread)
}

fn end_of(shard: PathBuf, name: PathBuf, end: End, stat: Stat) -> Item {
    Item { source: Source::ShardEnd { shard, end, stat }, name, sample: None }
}

fn item_of(path: &Path, root: &Path, Found { member, offset, image, sample }: Found) -> Item {
    let name = root.join(&member);
    let source = match image {
        Ok(bytes) => Source::Member { shard: path.to_owned(), member, offset, bytes: Arc::new(bytes) },
        Err(unusable) => Source::Unusable(display_path(path, &member), unusable),
    };
    Item { source, name, sample: Some(Arc::new(sample)) }
}

fn open(path: &Path, stat: &mut Stat) -> io::Result<Box<dyn Read>> {
    if is_stdin(path) {
        return Ok(Box::new(stream::reader()));
    }
    let file = File::open(path)?;
    *stat = Stat::of(&file.metadata()?);
    Ok(Box::new(file))
}
