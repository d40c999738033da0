//! A file of lines that only grows, each a JSON object: what is already there, so that a killed run goes on where it was.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use super::whole::lock;
use crate::output::OutputError;

/// An open journal, locked.
#[derive(Debug)]
pub(in crate::output) struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// Opens a journal, creating it if there is none, and gives its whole lines, each with the offset of its end.
    pub(in crate::output) fn open<L: DeserializeOwned>(
        path: &Path,
    ) -> Result<(Self, Vec<(L, u64)>), OutputError> {
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
    pub(in crate::output) fn truncate(&mut self, end: u64) -> Result<(), OutputError> {
        let cut = self.file.set_len(end).and_then(|()| self.file.seek(SeekFrom::Start(end)));
        cut.map(drop).map_err(|source| self.error(source))
    }

    /// Appends a line; gives the offset of its end.
    pub(in crate::output) fn append(&mut self, line: &impl Serialize) -> Result<u64, OutputError> {
        let mut text = serde_json::to_string(line).expect("a line has only string keys");
        text.push('\n');
        let appended = self.file.write_all(text.as_bytes()).and_then(|()| self.file.stream_position());
        appended.map_err(|source| self.error(source))
    }

    /// All lines, from the disk, where they may be more than memory should hold during a run.
    pub(in crate::output) fn read<L: DeserializeOwned>(&self) -> Result<Vec<L>, OutputError> {
        let text = std::fs::read_to_string(&self.path).map_err(|source| self.error(source))?;
        text.lines()
            .map(|line| serde_json::from_str(line).map_err(io::Error::other))
            .collect::<io::Result<_>>()
            .map_err(|source| self.error(source))
    }

    /// Waits until all lines are on disk.
    pub(in crate::output) fn sync(&self) -> Result<(), OutputError> {
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
        let line = |number: u32| vec![number];
        let (mut journal, lines) = Journal::open::<Vec<u32>>(&path).unwrap();
        assert!(lines.is_empty());
        journal.append(&line(1)).unwrap();
        journal.append(&line(2)).unwrap();
        drop(journal);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        let (mut journal, lines) = Journal::open::<Vec<u32>>(&path).unwrap();
        assert_eq!(lines, [(line(1), bytes.len() as u64 / 2)]);
        journal.truncate(lines[0].1).unwrap();
        journal.append(&line(3)).unwrap();
        drop(journal);
        let (_, lines) = Journal::open::<Vec<u32>>(&path).unwrap();
        assert_eq!(lines.into_iter().map(|(line, _)| line).collect::<Vec<_>>(), [line(1), line(3)]);
    }
}
