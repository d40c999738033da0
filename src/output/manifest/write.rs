//! A manifest that is being written.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use super::line::Line;
use crate::output::disk::{Disk, DiskFile, hidden_sibling, parent};

/// An open manifest. Lines are gathered, and written and synced together.
#[derive(Debug)]
pub(in crate::output) struct Manifest {
    file: DiskFile,
    /// Where it ends.
    end: u64,
    lines: Vec<u8>,
}

impl Manifest {
    /// Begins a manifest in the place of what has its name: it is there with its first line, or not at all.
    pub(in crate::output) fn begin(disk: &Disk, path: &Path, first: &Line) -> io::Result<Self> {
        let partial = hidden_sibling(path, ".partial");
        let bytes = first.encode();
        let mut file = disk.create(&partial)?;
        file.write_all(&bytes)?;
        file.sync()?;
        disk.rename(&partial, path)?;
        disk.sync_directory(parent(path))?;
        Self::go_on(disk, path, bytes.len() as u64)
    }

    /// Opens a manifest to go on after its last good line.
    pub(in crate::output) fn go_on(disk: &Disk, path: &Path, end: u64) -> io::Result<Self> {
        Ok(Self { file: disk.reopen(path, end)?, end, lines: Vec::new() })
    }

    /// Adds a line to what is to be written.
    pub(in crate::output) fn add(&mut self, line: &Line) {
        self.lines.extend(line.encode());
    }

    /// Whether lines wait to be written.
    pub(in crate::output) fn has_lines(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Writes what was added; it lasts then.
    pub(in crate::output) fn commit(&mut self) -> io::Result<()> {
        if !self.lines.is_empty() {
            self.file.write_all(&self.lines)?;
            self.file.sync()?;
            self.end += self.lines.len() as u64;
            self.lines.clear();
        }
        Ok(())
    }

    /// Whether it is still where it was opened, as long as it was written.
    pub(in crate::output) fn is_there(&self) -> bool {
        fs::symlink_metadata(self.file.path()).is_ok_and(|found| found.is_file() && found.len() == self.end)
    }
}
