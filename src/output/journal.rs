//! What is already there, line by line, so that a killed run goes on where it was.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Metadata, OutputError, file::lock, safetensors::Entry};

/// The journal's name in an unfinished archive.
pub(super) const JOURNAL: &str = "journal.jsonl";

/// One line of an unfinished archive's journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// The first line: what the archive is made with.
    Start {
        settings: Metadata,
        /// Bytes reserved for the header of each shard.
        room: usize,
    },
    /// An image's tensors are in the shard, after what was there before.
    Image {
        key: String,
        tensors: Vec<Entry>,
        /// CRC-32 of their bytes, which a power loss may have kept from the disk.
        crc: u32,
    },
    /// The shard has its header and is on disk; another one begins.
    Sealed { shard: usize },
    /// All shards are sealed; what remains is to give them their names.
    Finished,
}

/// An open journal, locked.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// Opens a journal, creating it if there is none, and gives its whole lines, each with the offset of its end.
    pub(super) fn open<L: DeserializeOwned>(path: &Path) -> Result<(Self, Vec<(L, u64)>), OutputError> {
        let io_error = |source| OutputError::Io { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).open(path).map_err(io_error)?;
        lock(&file, path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io_error)?;
        let mut lines = Vec::new();
        let mut end = 0;
        for text in bytes.split_inclusive(|&byte| byte == b'\n') {
            // What a kill or a power loss cut off or garbled, and all after it, has not happened.
            let Some(Ok(line)) = text.strip_suffix(b"\n").map(serde_json::from_slice) else { break };
            end += text.len() as u64;
            lines.push((line, end));
        }
        Ok((Self { file, path: path.to_owned() }, lines))
    }

    /// Forgets all lines after an offset.
    pub(super) fn truncate(&mut self, end: u64) -> Result<(), OutputError> {
        let cut = self.file.set_len(end).and_then(|()| self.file.seek(SeekFrom::Start(end)));
        cut.map(drop).map_err(|source| self.error(source))
    }

    /// Appends a line; gives the offset of its end.
    pub(super) fn append(&mut self, line: &impl Serialize) -> Result<u64, OutputError> {
        let mut text = serde_json::to_string(line).expect("a line has only string keys");
        text.push('\n');
        let appended = self.file.write_all(text.as_bytes()).and_then(|()| self.file.stream_position());
        appended.map_err(|source| self.error(source))
    }

    /// All lines, from the disk, where they may be more than memory should hold during a run.
    pub(super) fn read(&self) -> Result<Vec<Line>, OutputError> {
        let text = std::fs::read_to_string(&self.path).map_err(|source| self.error(source))?;
        text.lines()
            .map(|line| serde_json::from_str(line).map_err(io::Error::other))
            .collect::<io::Result<_>>()
            .map_err(|source| self.error(source))
    }

    /// Waits until all lines are on disk.
    pub(super) fn sync(&self) -> Result<(), OutputError> {
        self.file.sync_all().map_err(|source| self.error(source))
    }

    fn error(&self, source: io::Error) -> OutputError {
        OutputError::Io { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_off_has_not_happened() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let line = |shard| Line::Sealed { shard };
        let (mut journal, lines) = Journal::open::<Line>(&path).unwrap();
        assert!(lines.is_empty());
        journal.append(&line(1)).unwrap();
        journal.append(&line(2)).unwrap();
        drop(journal);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        let (mut journal, lines) = Journal::open::<Line>(&path).unwrap();
        assert_eq!(lines, [(line(1), bytes.len() as u64 / 2)]);
        journal.truncate(lines[0].1).unwrap();
        journal.append(&line(3)).unwrap();
        drop(journal);
        let (_, lines) = Journal::open::<Line>(&path).unwrap();
        assert_eq!(lines.into_iter().map(|(line, _)| line).collect::<Vec<_>>(), [line(1), line(3)]);
    }
}
