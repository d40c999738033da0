//! A file that is being written.

use std::{
    fs::{File, Permissions},
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::watch::Watch;

/// A file of ours, open to be written; what is given is written at once.
#[derive(Debug)]
pub(in crate::output) struct DiskFile {
    file: File,
    path: PathBuf,
    position: u64,
    watch: Watch,
}

impl DiskFile {
    pub(super) fn new(file: File, path: &Path, position: u64, watch: Watch) -> Self {
        Self { file, path: path.to_owned(), position, watch }
    }

    /// Where it was opened.
    pub(in crate::output) fn path(&self) -> &Path {
        &self.path
    }

    /// Cuts it, or lengthens it by zeros; the next bytes go to the new end.
    pub(in crate::output) fn set_len(&self, length: u64) -> io::Result<()> {
        self.watch.set_length(&self.path, length)?;
        self.file.set_len(length)
    }

    /// Leaves room: what is written next goes `length` bytes behind the beginning.
    pub(in crate::output) fn skip_to(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)?;
        self.position = self.file.seek(SeekFrom::Start(length))?;
        Ok(())
    }

    /// Writes into the room at the beginning.
    pub(in crate::output) fn write_start(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.position;
        self.position = self.file.seek(SeekFrom::Start(0))?;
        self.write_all(bytes)?;
        self.position = self.file.seek(SeekFrom::Start(end))?;
        Ok(())
    }

    pub(in crate::output) fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        self.file.set_permissions(permissions)
    }

    /// Makes what was written last through a power cut.
    pub(in crate::output) fn sync(&self) -> io::Result<()> {
        self.watch.sync(&self.path)?;
        // In tests what lasts is told by the record.
        if cfg!(test) { Ok(()) } else { self.file.sync_data() }
    }
}

impl Write for DiskFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.watch.write(&self.path, self.position, bytes)?;
        let count = self.file.write(bytes)?;
        self.position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
