//! A file of lines that only grows, each a JSON object: what is already there, so that a killed run goes on where it was.

use std::{
    fs::File,
    io::{self, BufReader, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use super::{own::open_own, whole::lock};
use crate::{
    bounded::{self, read_piece},
    output::OutputError,
};

/// A line longer than that of an image with a hundred tensors and the longest name counts as garbled.
const LONGEST_LINE: usize = 16 << 20;

/// The whole lines, each with the offset of its end. What a kill or a power loss cut off or garbled, and all after it, has not
/// happened.
fn lines<L: DeserializeOwned>(file: &File) -> io::Result<Vec<(L, u64)>> {
    let mut reader = BufReader::new(file);
    let mut lines = Vec::new();
    let mut end = 0;
    while let Some(piece) = read_piece(&mut reader, b'\n', LONGEST_LINE)? {
        let Some(Ok(line)) = piece.bytes.strip_suffix(b"\n").map(serde_json::from_slice) else { break };
        end += piece.length;
        lines.push((line, end));
    }
    Ok(lines)
}

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
        let file = open_own(path).map_err(io_error)?;
        lock(&file, path)?;
        let lines = lines(&file).map_err(io_error)?;
        Ok((Self { file, path: path.to_owned() }, lines))
    }

    /// The whole lines of a journal that nobody need have open; none if there is no such file.
    pub(in crate::output) fn peek<L: DeserializeOwned>(path: &Path) -> Result<Option<Vec<L>>, OutputError> {
        let io_error = |source| OutputError::Io { path: path.to_owned(), source };
        match bounded::open(path) {
            Ok(file) => {
                let lines = lines(&file).map_err(io_error)?;
                Ok(Some(lines.into_iter().map(|(line, _)| line).collect()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error(error)),
        }
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

    /// The same journal, whose file has got another name.
    pub(in crate::output) fn moved(self, path: PathBuf) -> Self {
        Self { path, ..self }
    }

    /// All lines, from the disk, where they may be more than memory should hold during a run.
    pub(in crate::output) fn read<L: DeserializeOwned>(&self) -> Result<Vec<L>, OutputError> {
        let lines = File::open(&self.path).and_then(|file| lines(&file));
        lines
            .map(|lines| lines.into_iter().map(|(line, _)| line).collect())
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
    fn a_line_that_is_longer_than_any_has_not_happened() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        std::fs::write(&path, "[1]\n").unwrap();
        // A hole of a gigabyte: what is kept of the line is no more than the limit.
        File::options().append(true).open(&path).unwrap().set_len(1 << 30).unwrap();
        let (_, lines) = Journal::open::<Vec<u32>>(&path).unwrap();
        assert_eq!(lines, [(vec![1], 4)]);
    }

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
