//! Files of many images that are made whole.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{Engine, together::Growing};
use crate::output::{
    Head, Heading, OutputError, TarRead,
    collection::{Collection, Way},
    disk::{DiskFile, is_there},
    found::IN_THE_WAY,
    manifest::{FileState, Line},
};

impl Engine {
    /// Makes the file that grows whole; it gets its name with the group.
    pub(super) fn seal(&mut self) -> Result<(), OutputError> {
        let Some(growing) = &self.growing else { return Ok(()) };
        let name = self.found.read().files[growing.place].name.clone();
        let target = self.collection().file(&name);
        self.check_free(&name, &target)?;
        let Some(Growing { place, mut file, .. }) = self.growing.take() else { return Ok(()) };
        let (sealed, length) = {
            let state = self.found.read();
            let found = &state.files[place];
            let length = found.start + found.data() + self.layout().end_bytes();
            (self.finish_file(&mut file, found, &state.head), length)
        };
        // Nobody syncs it then, so nothing may be said of what it holds.
        self.has_failed |= sealed.is_err();
        sealed.map_err(|source| OutputError::Io { path: target.clone(), source })?;
        self.group.names.push((file.path().to_owned(), target));
        self.group.whole.push(file);
        self.group.has_grown = false;
        self.add(Line::Sealed { file: name, length });
        Ok(())
    }

    /// Writes what names the entries before these, or what follows them.
    fn finish_file(&self, file: &mut DiskFile, found: &FileState, head: &Head) -> io::Result<()> {
        let heading = Heading::new(self.collection().format, self.contents.dtype, head);
        let mut heading = heading.expect("images share files");
        let names_entries = heading.names_entries();
        for held in &found.held {
            heading.add(&held.key, held.shapes.iter().map(|shape| &**shape));
        }
        let (start, end) = heading.frame(found.start)?;
        if names_entries { file.write_start(&start) } else { file.write_all(&end) }
    }

    /// Sees that nobody else's file is where one of many images is to be.
    ///
    /// # Errors
    /// One is; of tars that are repeated, each has a place of its own.
    pub(super) fn check_free(&self, name: &str, target: &Path) -> Result<(), OutputError> {
        let path = target.to_owned();
        if target.is_dir() {
            return Err(OutputError::Misplaced { path, reason: IN_THE_WAY.into() });
        }
        if self.contents.overwrite || self.found.read().is_ours(name) || !is_there(target) {
            return Ok(());
        }
        Err(match self.collection().way {
            Way::Repeated => OutputError::Foreign { path },
            _ => {
                let reason = "exists, and the manifest does not list it".into();
                OutputError::Taken { path, reason }
            }
        })
    }

    /// Makes all files whole that were begun, in this run or before.
    pub(super) fn seal_all(&mut self) -> Result<(), OutputError> {
        self.seal()?;
        self.drop_empty();
        loop {
            // What is made of a tar is made whole when that has been read, in this run or a later one.
            let is_open =
                |file: &FileState| file.grows_from.is_some() && self.collection().way != Way::Repeated;
            let Some(place) = self.found.read().files.iter().position(is_open) else { return Ok(()) };
            self.go_on(place)?;
            self.seal()?;
        }
    }

    /// Gives up a file that was begun and holds nothing: there is nothing to be made whole.
    fn drop_empty(&mut self) {
        let dropped: Vec<(String, PathBuf)> = {
            let (collection, state) = (self.collection(), self.found.read());
            let is_useless = |file: &&FileState| {
                file.grows_from.is_some() && file.held.is_empty() && collection.way != Way::Repeated
            };
            let partial =
                |file: &FileState| (file.name.clone(), collection.partial(&file.name, file.generation));
            state.files.iter().filter(is_useless).map(partial).collect()
        };
        for (file, partial) in dropped {
            self.group.useless.push(partial);
            self.add(Line::Dropped { file });
        }
    }

    /// A tar that is repeated has been read to its end: so has what is made of it, which is empty if it has no images. What could not be
    /// read at all leaves what is there as it is.
    pub(super) fn end_repeated(&mut self, name: &Path, read: &TarRead) -> Result<(), OutputError> {
        let name = Collection::tar_name(name);
        let place = self.found.read().file(&name);
        let is_open =
            |engine: &Self| engine.growing.as_ref().is_some_and(|growing| Some(growing.place) == place);
        if is_open(self) {
            return self.seal();
        }
        let known = place.map(|place| {
            let state = self.found.read();
            let file = &state.files[place];
            (place, file.grows_from.is_some(), file.sealed.is_some())
        });
        // One that cannot even be opened says nothing of what was made of it before.
        let is_unread = read.damage.is_some() && read.input.bytes.is_none();
        match known {
            Some((_, true, _)) if is_unread => return Ok(()),
            Some((place, true, _)) => self.go_on(place)?,
            Some((_, false, true)) => return Ok(()),
            _ if read.damage.is_some() => return Ok(()),
            _ => {
                let start = self.layout().start(self.head);
                self.begin(&name, start)?;
            }
        }
        self.seal()
    }
}
