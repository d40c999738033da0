//! The one engine that puts many images into files: entries in, files out, whatever their layout.
//!
//! Entries are committed in groups, in this order: the data is synced, then the manifest's lines, then files get their names, then the
//! names are synced. So a line speaks of data that lasts, a name is of a file that is whole, and a power cut costs what was not committed.

mod group;
mod grow;
mod open;
mod own;
mod room;
mod seal;
#[cfg(test)]
mod tests;
mod together;

use std::{collections::HashSet, path::Path, sync::Arc};

use serde_json::value::RawValue;

use super::{
    Contents, Failed, Image, InputFacts, OutputError, Planned, Sink, TarRead, Written,
    collection::{Collection, Way},
    disk::{Disk, Lock},
    found::Found,
    manifest::{End, Entry, Line, Manifest, Place, Stored},
};
use group::Group;
pub(super) use room::{Room, lines_of};
use together::Growing;

/// A place of many images that is being written.
pub(super) struct Engine {
    disk: Disk,
    found: Arc<Found>,
    contents: Contents,
    planned: Planned,
    manifest: Manifest,
    /// Bytes of the head of a file of many images that names none.
    head: u64,
    /// The first line of this run, until there is another.
    begin: Option<Line>,
    group: Group,
    /// The images that got files of their own in this run.
    made: Vec<Arc<str>>,
    /// Whether a group could not be committed.
    has_failed: bool,
    /// The file that takes more.
    growing: Option<Growing>,
    /// What images are called in a tar; of tars that are repeated each with the place of its file.
    samples: HashSet<(usize, Box<str>)>,
    /// The number of the next file of a single image, before it gets its name.
    staged: usize,
    _lock: Lock,
}

impl Engine {
    fn collection(&self) -> &Collection {
        &self.found.collection
    }

    /// Adds a line to the group.
    fn add(&mut self, line: Line) {
        if let Some(begin) = self.begin.take() {
            self.manifest.add(&begin);
        }
        self.manifest.add(&line);
        self.found.write().follow(line);
    }

    /// Adds the line of an image that was written.
    fn enter(&mut self, image: &Image<'_>, sample: Option<String>, at: Vec<Place>) {
        let layout = self.collection().layout();
        let shape =
            |shape: &Vec<usize>| layout.map_or(shape.as_slice(), |layout| layout.shape(shape)).to_vec();
        let facts = RawValue::from_string(image.facts.to_owned()).ok();
        self.add(Line::Entry(Entry {
            key: image.key.to_owned(),
            input: image.input.clone(),
            sample,
            at,
            shapes: image.content.tensors().iter().map(|array| shape(&array.shape)).collect(),
            facts,
        }));
        if self.collection().way == Way::Each {
            let state = self.found.read();
            let key = state.entries.get_key_value(image.key).map(|(key, _)| key.clone());
            drop(state);
            self.made.extend(key);
        }
    }

    /// An error of the path that a user knows.
    fn at_path(&self, error: OutputError) -> OutputError {
        match self.collection().way {
            Way::Each => error,
            _ => error.at(&self.collection().path),
        }
    }
}

impl Sink for Engine {
    fn write(&mut self, image: &Image<'_>) -> Result<Written, OutputError> {
        match self.collection().way {
            Way::Each => self.write_own(image),
            Way::Together(_) | Way::Repeated => self.append(image).map_err(|error| self.at_path(error)),
        }
    }

    fn failed(&mut self, failed: Failed) {
        // What is known needs no other line.
        if self.found.read().failed.get(&failed.key) != Some(&failed) {
            self.add(Line::Failed(failed));
        }
    }

    fn unchanged(&mut self, key: &str, input: &InputFacts) {
        let is_news =
            |stored: &Stored| (stored.bytes, stored.modified_ns) != (input.bytes, input.modified_ns);
        if self.found.read().entries.get(key).is_some_and(is_news) {
            self.add(Line::Input { key: key.into(), input: input.clone() });
        }
    }

    fn end_tar(&mut self, name: &Path, read: TarRead, has_changed: bool) -> Result<(), OutputError> {
        let is_repeated = self.collection().way == Way::Repeated;
        if is_repeated {
            self.end_repeated(name, &read).map_err(|error| self.at_path(error))?;
        }
        let is_known = {
            let state = self.found.read();
            // Of a tar that is not repeated, only damage is of interest, and its end.
            let is_new = !is_repeated && read.damage.is_none();
            state.tars.get(&read.key).map_or(is_new, |known| *known == read)
                && !state.failed.contains_key(&read.key)
        };
        // One that has changed is read again, and told of again.
        if !is_known && !has_changed {
            self.add(Line::Tar(read));
        }
        Ok(())
    }

    fn has_uncommitted(&self) -> bool {
        self.has_failed || !self.group.is_empty() || self.manifest.has_lines()
    }

    fn commit(&mut self) -> Result<(), OutputError> {
        self.commit_group().map_err(|source| OutputError::Io { path: self.collection().path.clone(), source })
    }

    fn finish(mut self: Box<Self>, is_complete: bool) -> Result<(), OutputError> {
        if is_complete {
            self.seal_all().map_err(|error| self.at_path(error))?;
        }
        let end = if is_complete { End::Complete } else { End::Stopped };
        if self.begin.is_none() || is_complete && !self.found.read().has_ended {
            self.add(Line::End(end));
        }
        let finished = self.commit_group().and_then(|()| self.look_for_made()).and_then(|()| {
            let collection = self.collection();
            match collection.way {
                Way::Each => self.disk.remove_directory(&collection.staging()),
                Way::Together(_) | Way::Repeated => Ok(()),
            }
        });
        finished.map_err(|source| OutputError::Io { path: self.collection().path.clone(), source })
    }
}
