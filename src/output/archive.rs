//! One archive of all images: named tensors in `.safetensors`, or rows stacked in `.npy` with an index.
//!
//! An unfinished archive is a hidden directory `.NAME.parts` beside the target: a journal, and shards that grow as
//! tensors come. A run that is killed goes on after the last image in the journal; when all is done, the shards get
//! their headers and their names. So the target is whole or absent, and memory does not grow with it.

use std::{collections::HashSet, fs, path::PathBuf};

use super::{
    Array, Dtype, Format, Metadata, OutputError,
    archive_names::ArchiveNames,
    file::{hidden_sibling, parent, sync_directory},
    finished,
    journal::{JOURNAL, Journal, Line},
    resume::{Resumed, entry, shard_path},
    safetensors::Entry,
    shard::{Shard, data_start},
};

/// An archive to write images into.
#[derive(Debug)]
pub struct Archive {
    names: ArchiveNames,
    dtype: Dtype,
    settings: Metadata,
    keys: HashSet<String>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// A finished one of the same settings is there.
    Finished,
    Writing(Box<Writing>),
}

#[derive(Debug)]
struct Writing {
    directory: PathBuf,
    journal: Journal,
    room: usize,
    /// Sealed shards before the current one.
    sealed: usize,
    shard: Shard,
    /// The tensors' shapes of every image before, which rows of a stack must repeat.
    row: Option<Vec<usize>>,
}

impl Archive {
    /// Opens an archive: starts one, goes on with one that was interrupted, or finds a finished one.
    ///
    /// `room` are the bytes to reserve for the header's text of a shard.
    ///
    /// # Errors
    /// The target holds other settings, another process is writing it, or the disk fails.
    pub fn open(
        names: ArchiveNames,
        dtype: Dtype,
        settings: &Metadata,
        room: usize,
        overwrite: bool,
    ) -> Result<Self, OutputError> {
        let directory = hidden_sibling(&names.path, ".parts");
        let (dtype, settings) = (dtype, settings.clone());
        if !directory.is_dir()
            && !overwrite
            && let Some(keys) = finished::read(&names, &settings)?
        {
            return Ok(Self { names, dtype, settings, keys, state: State::Finished });
        }
        let io_error = |source| OutputError::Io { path: names.path.clone(), source };
        if !parent(&names.path).is_dir() {
            let directory = parent(&names.path).to_owned();
            return Err(OutputError::NoDirectory { path: names.path, directory });
        }
        fs::create_dir_all(&directory).map_err(io_error)?;
        let (mut journal, lines) =
            Journal::open(&directory.join(JOURNAL)).map_err(|error| error.at(&names.path))?;
        let resumed =
            if overwrite { None } else { Resumed::from(&lines, &directory, &names, dtype, &settings)? };
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
        let path = shard_path(&directory, resumed.sealed + 1);
        let start = data_start(names.format, resumed.room);
        let shard = Shard::open(path, start, resumed.length, resumed.entries)?;
        let (room, sealed, row) = (resumed.room, resumed.sealed, resumed.row);
        let writing = Box::new(Writing { directory, journal, room, sealed, shard, row });
        let mut archive = Self { names, dtype, settings, keys: resumed.keys, state: State::Writing(writing) };
        if finished {
            archive.publish()?;
        }
        Ok(archive)
    }

    /// The keys of the images that are complete.
    pub fn keys(&self) -> &HashSet<String> {
        &self.keys
    }

    /// Appends an image's tensors.
    ///
    /// # Errors
    /// The archive is finished, a stack's rows would differ in shape, or the disk is full or fails.
    pub fn write(&mut self, key: &str, arrays: &[Array]) -> Result<(), OutputError> {
        let misplaced = |reason: String| OutputError::Misplaced { path: self.names.path.clone(), reason };
        let State::Writing(writing) = &mut self.state else {
            return Err(OutputError::Taken {
                path: self.names.path.clone(),
                reason: format!("is finished without {key}, and a finished archive takes no more images"),
            });
        };
        if key == "__metadata__" || self.keys.contains(key) {
            return Err(misplaced(format!("cannot hold a second entry {key}")));
        }
        let several = arrays.len() > 1;
        let format = self.names.format;
        let tensors: Vec<Entry> =
            arrays.iter().map(|array| entry(key, &array.name, several, &array.shape, format)).collect();
        if format == Format::Npy {
            let found = &tensors[0].shape;
            let row = writing.row.get_or_insert_with(|| found.clone());
            if row != found {
                return Err(misplaced(format!("{key} has shape {found:?}, the rows before have {row:?}")));
            }
        }
        let bytes: u64 = tensors.iter().map(|tensor| tensor.bytes(self.dtype)).sum();
        let full = |limit| writing.shard.length + bytes + data_start(format, writing.room) > limit;
        if writing.shard.length > 0 && self.names.shard_size.is_some_and(full) {
            writing.seal(format, self.dtype, &self.settings).map_err(|error| error.at(&self.names.path))?;
        }
        let crc = writing.shard.append(arrays, self.dtype).map_err(|error| error.at(&self.names.path))?;
        writing.shard.entries.extend(tensors.iter().cloned());
        writing.journal.append(&Line::Image { key: key.to_owned(), tensors, crc })?;
        self.keys.insert(key.to_owned());
        Ok(())
    }

    /// Finishes the archive: headers, names, index. Without an image there is nothing to name.
    ///
    /// # Errors
    /// The disk is full or fails; the run can be repeated.
    pub fn finish(mut self) -> Result<(), OutputError> {
        if let State::Writing(writing) = &mut self.state {
            if writing.shard.length > 0 {
                writing
                    .seal(self.names.format, self.dtype, &self.settings)
                    .map_err(|error| error.at(&self.names.path))?;
            }
            writing.journal.append(&Line::Finished)?;
            writing.journal.sync()?;
            self.publish()?;
        }
        Ok(())
    }

    /// Gives the sealed shards their names and removes what was needed on the way.
    fn publish(&mut self) -> Result<(), OutputError> {
        let State::Writing(writing) = &self.state else { return Ok(()) };
        let io_error = |source| OutputError::Io { path: self.names.path.clone(), source };
        if !self.keys.is_empty() {
            let lines = writing.journal.read()?;
            finished::publish(&self.names, self.dtype, &self.settings, &writing.directory, &lines)?;
        }
        fs::remove_dir_all(&writing.directory).map_err(io_error)?;
        sync_directory(parent(&self.names.path)).map_err(io_error)?;
        self.state = State::Finished;
        Ok(())
    }
}

impl Writing {
    /// Completes the current shard and begins another.
    fn seal(&mut self, format: Format, dtype: Dtype, settings: &Metadata) -> Result<(), OutputError> {
        self.shard.seal(format, dtype, settings)?;
        self.sealed += 1;
        self.journal.append(&Line::Sealed { shard: self.sealed })?;
        let path = shard_path(&self.directory, self.sealed + 1);
        self.shard = Shard::open(path, data_start(format, self.room), 0, Vec::new())?;
        Ok(())
    }
}
