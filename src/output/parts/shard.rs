//! One file of an archive: room for the header, then tensors as they come.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::layout::Layout;
use crate::output::{Array, Dtype, Metadata, OutputError, disk::open_own, format::safetensors::Entry};

/// A shard being written. Its header is filled in last, by [`Shard::seal`].
#[derive(Debug)]
pub(super) struct Shard {
    file: File,
    path: PathBuf,
    /// Bytes before the tensors.
    start: u64,
    /// Bytes of the tensors.
    pub(super) length: u64,
    pub(super) entries: Vec<Entry>,
}

impl Shard {
    /// Opens a shard's file to go on after its first `length` bytes of tensors; what lies behind is cut off.
    pub(super) fn open(
        path: PathBuf,
        start: u64,
        length: u64,
        entries: Vec<Entry>,
    ) -> Result<Self, OutputError> {
        let open = || {
            // A finished archive's, which this one goes on from, is left as it is.
            let mut file = open_own(&path)?;
            file.set_len(start + length)?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        match open() {
            Ok(file) => Ok(Self { file, path, start, length, entries }),
            Err(source) => Err(OutputError::Io { path, source }),
        }
    }

    /// Appends tensors; gives the CRC-32 of their bytes.
    pub(super) fn append(&mut self, arrays: &[Array], dtype: Dtype) -> Result<u32, OutputError> {
        let mut writer =
            Summed { inner: BufWriter::with_capacity(1 << 18, &self.file), hasher: Default::default() };
        let written = arrays
            .iter()
            .try_for_each(|array| dtype.write(&mut writer, &array.values))
            .and_then(|()| writer.flush());
        let crc = writer.hasher.finalize();
        written.map_err(|source| OutputError::Io { path: self.path.clone(), source })?;
        self.length += arrays.iter().map(|array| (array.values.len() * dtype.size()) as u64).sum::<u64>();
        Ok(crc)
    }

    /// Writes the header and waits until the file is on disk.
    pub(super) fn seal(
        &mut self,
        layout: &dyn Layout,
        dtype: Dtype,
        metadata: &Metadata,
    ) -> Result<(), OutputError> {
        let path = self.path.clone();
        self.write_header(layout, dtype, metadata).map_err(|source| OutputError::Io { path, source })
    }

    fn write_header(&mut self, layout: &dyn Layout, dtype: Dtype, metadata: &Metadata) -> io::Result<()> {
        let header = layout.header(&self.entries, dtype, metadata, self.start as usize)?;
        if header.len() as u64 > self.start {
            self.widen(header.len() as u64)?;
        }
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&header)?;
        self.file.sync_all()
    }

    /// Moves the tensors back for a header larger than its room, which happens only where the number of images was
    /// not known in advance.
    fn widen(&mut self, start: u64) -> io::Result<()> {
        let wider = self.path.with_extension("wider");
        let mut file = open_own(&wider)?;
        file.set_len(0)?;
        file.seek(SeekFrom::Start(start))?;
        self.file.seek(SeekFrom::Start(self.start))?;
        io::copy(&mut self.file, &mut file)?;
        file.sync_all()?;
        fs::rename(&wider, &self.path)?;
        (self.file, self.start) = (file, start);
        Ok(())
    }
}

/// Copies what `pass` takes of one file, from `start` on, to a new one, at `to_start`, and waits until it is on disk.
pub(super) fn copy(
    from: &Path,
    start: u64,
    to: &Path,
    to_start: u64,
    pass: &mut dyn FnMut(&mut File, &mut File) -> io::Result<()>,
) -> io::Result<()> {
    let (mut from, mut to) = (File::open(from)?, open_own(to)?);
    to.set_len(0)?;
    from.seek(SeekFrom::Start(start))?;
    to.seek(SeekFrom::Start(to_start))?;
    pass(&mut from, &mut to)?;
    to.sync_all()
}

/// Copies the next bytes of a file; gives their CRC-32.
pub(super) fn pass(from: &mut File, to: &mut File, bytes: u64) -> io::Result<u32> {
    let mut writer = Summed { inner: BufWriter::with_capacity(1 << 18, to), hasher: Default::default() };
    let copied = io::copy(&mut from.take(bytes), &mut writer)?;
    writer.flush()?;
    match copied == bytes {
        true => Ok(writer.hasher.finalize()),
        false => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "what is copied of it was cut short")),
    }
}

/// The CRC-32 of a part of a file, or none if the file ends before it.
pub(super) fn checksum(path: &Path, start: u64, length: u64) -> io::Result<Option<u32>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut writer = Summed { inner: io::sink(), hasher: Default::default() };
    let copied = io::copy(&mut file.take(length), &mut writer)?;
    Ok((copied == length).then(|| writer.hasher.finalize()))
}

/// A writer that sums what passes.
struct Summed<W> {
    inner: W,
    hasher: crc32fast::Hasher,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
