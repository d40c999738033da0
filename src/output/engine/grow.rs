//! A file made anew, to take more than it has room for: what it holds is copied, and it stays as it is until the larger one is whole.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::Path,
};

use super::{Engine, together::permissions};
use crate::output::{
    OutputError,
    disk::{DiskFile, parent, readable_size},
    manifest::{Held, Line},
    sum::Summed,
};

impl Engine {
    /// Lets a finished file take more, in a copy that begins its entries at `start`; gives what is to be said of that.
    pub(super) fn grow(&mut self, place: usize, start: u64) -> Result<Option<String>, OutputError> {
        /// Of less nobody notices the copy.
        const SMALL: u64 = 64 << 20;
        let source = {
            let state = self.found.read();
            self.collection().file(&state.files[place].name)
        };
        self.copy(place, &source, start)?;
        let bytes = self.found.read().files[place].data();
        Ok((bytes > SMALL).then(|| format!("is copied to take more, {}", readable_size(bytes))))
    }

    /// Gives a file that grows another beginning.
    pub(super) fn widen(&mut self, place: usize, start: u64) -> Result<(), OutputError> {
        let source = match self.growing.take() {
            Some(growing) => growing.file.path().to_owned(),
            None => {
                let state = self.found.read();
                self.collection().partial(&state.files[place].name, state.files[place].generation)
            }
        };
        let copied = self.copy(place, &source, start);
        // Nobody syncs it then, so nothing may be said of what it holds.
        self.has_failed |= copied.is_err();
        copied.map(|()| self.group.useless.push(source))
    }

    fn copy(&mut self, place: usize, source: &Path, start: u64) -> Result<(), OutputError> {
        let (name, before, held, generation) = {
            let state = self.found.read();
            let file = &state.files[place];
            (file.name.clone(), file.start, file.held.clone(), file.generation + 1)
        };
        let target = self.collection().file(&name);
        let io_error = |source| OutputError::Io { path: target.clone(), source };
        let partial = self.collection().partial(&name, generation);
        let mut to = self.disk.create(&partial).map_err(io_error)?;
        self.layout_begin(&mut to, start).map_err(io_error)?;
        let copied = copy_entries(source, before, &held, &mut to).map_err(io_error)?;
        if let Some(key) = copied {
            let reason = format!("{key} in it is not as it was written");
            return Err(OutputError::Damaged { path: source.to_owned(), reason });
        }
        if let Some(permissions) = permissions(&target).map_err(io_error)? {
            to.set_permissions(permissions).map_err(io_error)?;
        }
        self.group.fresh.insert(parent(&partial).to_owned());
        self.group.has_grown = true;
        self.add(Line::File { file: name.clone(), start, held: held.len() });
        self.take_up(&name, to)
    }

    fn layout_begin(&self, file: &mut DiskFile, start: u64) -> io::Result<()> {
        let layout = self.collection().layout().expect("images share files");
        layout.begin(file, &self.contents, start)
    }
}

/// Copies entries that lie one after the other; gives the key of one that is not as it was written.
fn copy_entries(from: &Path, start: u64, held: &[Held], to: &mut DiskFile) -> io::Result<Option<String>> {
    let mut from = File::open(from)?;
    from.seek(SeekFrom::Start(start))?;
    let mut from = BufReader::with_capacity(1 << 20, from);
    let mut to = BufWriter::with_capacity(1 << 20, to);
    for entry in held {
        let mut summed = Summed::new(&mut to);
        let copied = io::copy(&mut Read::take(&mut from, entry.length), &mut summed)?;
        if copied != entry.length || summed.crc32() != entry.crc32 {
            return Ok(Some(entry.key.to_string()));
        }
    }
    to.flush()?;
    Ok(None)
}
