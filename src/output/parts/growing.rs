//! An archive that is being written.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    finished,
    layout::Layout,
    line::{Line, check_begun},
    names::Names,
    reopen::reopen,
    resume::Resumed,
    shard::Shard,
};
use crate::output::{
    Array, Complete, Contents, Described, OutputError, Sink,
    disk::{journal::Journal, make_own_directory, parent, sync_directory},
    format::safetensors::Entry,
    key,
};

/// An archive to write images into.
#[derive(Debug)]
pub(super) struct Growing {
    names: Names,
    layout: &'static dyn Layout,
    contents: Contents,
    keys: HashSet<String>,
    /// None while a finished one of the same settings is there that no image was added to.
    state: Option<State>,
    /// Bytes to reserve for the header of a file that is begun.
    room: usize,
}

#[derive(Debug)]
struct State {
    journal: Journal,
    room: usize,
    /// Sealed shards before the current one.
    sealed: usize,
    shard: Shard,
    /// The shape of every image before, where all must have one.
    row: Option<Vec<usize>>,
}

impl Growing {
    /// Opens an archive: starts one, goes on with one that was interrupted, or finds a finished one.
    pub(super) fn open(
        names: &Names,
        layout: &'static dyn Layout,
        contents: &Contents,
        planned: &[&Path],
    ) -> Result<Self, OutputError> {
        let directory = names.unfinished();
        let Contents { dtype, settings, overwrite, .. } = contents;
        let (names, contents) = (names.clone(), contents.clone());
        let room = layout.room(&names, &contents, planned);
        let finished = || match overwrite {
            true => Ok(None),
            false => finished::read(&names, layout, &contents),
        };
        if !directory.is_dir()
            && let Some(keys) = finished()?
        {
            return Ok(Self { names, layout, contents, keys, state: None, room });
        }
        let io_error = |source| OutputError::Io { path: names.path.clone(), source };
        make_own_directory(&directory).map_err(io_error)?;
        let (mut journal, lines) =
            Journal::open::<Line>(&names.journal()).map_err(|error| error.at(&names.path))?;
        if lines.is_empty()
            && let Some(keys) = finished()?
        {
            // A kill has left it, before the first line or after the last.
            remove_directory(&directory).map_err(io_error)?;
            return Ok(Self { names, layout, contents, keys, state: None, room });
        }
        let resumed = match lines.first() {
            Some((Line::Start { settings: theirs, .. }, _)) if !overwrite => {
                check_begun(theirs, settings, &names.path)?;
                Resumed::from(&lines, &names, layout, *dtype)
            }
            _ => None,
        };
        let resumed = match resumed {
            Some(resumed) => resumed,
            None => {
                journal.truncate(0)?;
                let end = journal.append(&Line::Start { settings: settings.clone(), room })?;
                Resumed::new(room, end)
            }
        };
        journal.truncate(resumed.end)?;
        let finished = resumed.finished;
        let (keys, state) = State::after(journal, resumed, &names, layout)?;
        let mut growing = Self { names, layout, contents, keys, state: Some(state), room };
        if finished {
            growing.publish()?;
        }
        Ok(growing)
    }

    /// Gives the sealed shards their names and removes what was needed on the way.
    fn publish(&mut self) -> Result<(), OutputError> {
        let Some(state) = &self.state else { return Ok(()) };
        let io_error = |source| OutputError::Io { path: self.names.path.clone(), source };
        // Without an image there is nothing to name.
        if !self.keys.is_empty() {
            finished::publish(&self.names, self.layout, &self.contents, &state.journal.read()?)?;
        }
        remove_directory(&self.names.unfinished()).map_err(io_error)?;
        sync_directory(parent(&self.names.path)).map_err(io_error)?;
        self.state = None;
        Ok(())
    }
}

/// Removes what is of no use any more, unless another process has just begun in it.
fn remove_directory(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        removed => removed,
    }
}

impl Sink for Growing {
    fn complete(&self) -> Complete {
        let keys = self.keys.clone();
        Complete::when(move |name, _| keys.contains(&key(name)))
    }

    fn write(&mut self, image: &Described<'_>, arrays: &[Array]) -> Result<Vec<PathBuf>, OutputError> {
        let key = key(image.name);
        let state = match &mut self.state {
            Some(state) => state,
            none => {
                // A finished one takes more.
                let (journal, resumed) = reopen(&self.names, self.layout, &self.contents, self.room)?;
                let (keys, state) = State::after(journal, resumed, &self.names, self.layout)?;
                self.keys = keys;
                none.insert(state)
            }
        };
        let (path, layout) = (&self.names.path, self.layout);
        let misplaced = |reason: String| OutputError::Misplaced { path: path.clone(), reason };
        if key == "__metadata__" || self.keys.contains(&key) {
            return Err(misplaced(format!("cannot hold a second entry {key}")));
        }
        let dtype = self.contents.dtype;
        let several = arrays.len() > 1;
        let entries: Vec<Entry> = arrays.iter().map(|array| layout.entry(&key, array, several)).collect();
        if layout.is_uniform() {
            let found = &entries[0].shape;
            let row = state.row.get_or_insert_with(|| found.clone());
            if row != found {
                return Err(misplaced(format!(
                    "{key} has shape {found:?}, the rows before have {row:?}; \
                     .safetensors, .tar and a directory hold tensors of several shapes"
                )));
            }
        }
        let bytes: u64 = entries.iter().map(|entry| entry.bytes(dtype)).sum();
        let full = |limit| state.shard.length + bytes + layout.data_start(state.room) > limit;
        if state.shard.length > 0 && self.names.shard_size.is_some_and(full) {
            state.seal(layout, &self.contents).map_err(|error| error.at(path))?;
            let next = self.names.begun_shard(state.sealed + 1);
            state.shard = Shard::open(next, layout.data_start(state.room), 0, Vec::new())?;
        }
        let crc = state.shard.append(arrays, dtype).map_err(|error| error.at(path))?;
        state.shard.entries.extend(entries.iter().cloned());
        state.journal.append(&Line::Image { key: key.clone(), tensors: entries, crc })?;
        self.keys.insert(key);
        Ok(Vec::new())
    }

    /// Headers, names, index.
    fn finish(mut self: Box<Self>) -> Result<(), OutputError> {
        if let Some(state) = &mut self.state {
            if state.shard.length > 0 {
                state.seal(self.layout, &self.contents).map_err(|error| error.at(&self.names.path))?;
            }
            state.journal.append(&Line::Finished)?;
            state.journal.sync()?;
            self.publish()?;
        }
        Ok(())
    }
}

impl State {
    /// What is to be written after what is there; with it the images that are.
    fn after(
        journal: Journal,
        resumed: Resumed,
        names: &Names,
        layout: &dyn Layout,
    ) -> Result<(HashSet<String>, Self), OutputError> {
        let Resumed { room, sealed, row, keys, .. } = resumed;
        let path = names.begun_shard(sealed + 1);
        let shard = Shard::open(path, layout.data_start(room), resumed.length, resumed.entries)?;
        Ok((keys, Self { journal, room, sealed, shard, row }))
    }

    /// Completes the current shard.
    fn seal(&mut self, layout: &dyn Layout, contents: &Contents) -> Result<(), OutputError> {
        self.shard.seal(layout, contents.dtype, &contents.settings)?;
        self.sealed += 1;
        self.journal.append(&Line::Sealed { shard: self.sealed }).map(drop)
    }
}
