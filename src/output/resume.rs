//! What of an interrupted archive can be kept.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use super::{
    Dtype, Format, Metadata, OutputError,
    archive_names::ArchiveNames,
    journal::Line,
    safetensors::Entry,
    shard::{checksum, data_start},
};

/// The state of an archive after the last image that is surely there.
#[derive(Debug)]
pub(super) struct Resumed {
    pub(super) room: usize,
    /// Sealed shards.
    pub(super) sealed: usize,
    /// Bytes of tensors in the shard after these.
    pub(super) length: u64,
    /// Its tensors.
    pub(super) entries: Vec<Entry>,
    /// The images of all shards.
    pub(super) keys: HashSet<String>,
    /// The shape of a stack's rows.
    pub(super) row: Option<Vec<usize>>,
    /// All shards are sealed, and only their names are missing.
    pub(super) finished: bool,
    /// Where the journal's last good line ends.
    pub(super) end: u64,
}

impl Resumed {
    /// Nothing yet but the journal's first line, which ends at `end`.
    pub(super) fn new(room: usize, end: u64) -> Self {
        Self {
            room,
            sealed: 0,
            length: 0,
            entries: Vec::new(),
            keys: HashSet::new(),
            row: None,
            finished: false,
            end,
        }
    }

    /// Follows a journal; none if it does not even have its first line.
    pub(super) fn from(
        lines: &[(Line, u64)],
        directory: &Path,
        names: &ArchiveNames,
        dtype: Dtype,
        settings: &Metadata,
    ) -> Result<Option<Self>, OutputError> {
        let Some((Line::Start { settings: theirs, room }, end)) = lines.first() else { return Ok(None) };
        names.check_begun(theirs, settings)?;
        let mut resumed = Self::new(*room, *end);
        // A sealed shard was on disk before its line was written; only what follows the last one can be torn.
        let trusted = lines.iter().rposition(|(line, _)| matches!(line, Line::Sealed { .. })).unwrap_or(0);
        for (position, (line, end)) in lines.iter().enumerate().skip(1) {
            if !resumed.follow(line, position < trusted, directory, names, dtype)? {
                break;
            }
            resumed.end = *end;
        }
        Ok(Some(resumed))
    }

    /// Takes in one line; false if what it says is not on disk.
    fn follow(
        &mut self,
        line: &Line,
        trusted: bool,
        directory: &Path,
        names: &ArchiveNames,
        dtype: Dtype,
    ) -> Result<bool, OutputError> {
        match line {
            Line::Start { .. } => return Ok(false),
            Line::Sealed { .. } => {
                self.sealed += 1;
                self.length = 0;
                self.entries.clear();
            }
            Line::Finished => self.finished = true,
            Line::Image { key, tensors, crc } => {
                let bytes = tensors.iter().map(|entry| entry.bytes(dtype)).sum();
                if !trusted {
                    let path = shard_path(directory, self.sealed + 1);
                    let start = data_start(names.format, self.room) + self.length;
                    let found = checksum(&path, start, bytes);
                    if !found.is_ok_and(|found| found == Some(*crc)) {
                        return Ok(false);
                    }
                }
                self.length += bytes;
                self.keys.insert(key.clone());
                self.row = self.row.take().or_else(|| tensors.first().map(|entry| entry.shape.clone()));
                self.entries.extend(tensors.iter().cloned());
            }
        }
        Ok(true)
    }
}

/// The file of a shard, counted from 1, before it has its name.
pub(super) fn shard_path(directory: &Path, number: usize) -> PathBuf {
    directory.join(format!("shard-{number:05}"))
}

/// A tensor's entry in an archive: under its image's key, and, where an image has several, its own name below that.
/// A stack's rows lose their leading dimension of 1.
pub(super) fn entry(key: &str, tensor: &str, several: bool, shape: &[usize], format: Format) -> Entry {
    let key = if several { format!("{key}/{tensor}") } else { key.to_owned() };
    let shape = match (format, shape) {
        (Format::Npy, [1, row @ ..]) => row.to_vec(),
        _ => shape.to_vec(),
    };
    Entry { key, shape }
}
