//! Files of many images that are made whole.

use std::path::Path;

use super::{Engine, together::Growing};
use crate::output::{
    OutputError, TarEnd,
    collection::{Collection, Way},
    disk::is_there,
    manifest::{FileState, Line, Sealed},
};

/// So many files that are whole wait to be synced with their group: a process may have few open.
const MOST_OPEN: usize = 32;

impl Engine {
    /// Makes the file that grows whole; it gets its name with the group.
    pub(super) fn seal(&mut self) -> Result<(), OutputError> {
        let Some(Growing { place, mut file, .. }) = self.growing.take() else { return Ok(()) };
        let layout = self.layout();
        let (name, target, length) = {
            let state = self.found.read();
            let found = &state.files[place];
            let target = self.collection().file(&found.name);
            self.check_free(&found.name, &target)?;
            layout
                .seal(&mut file, &self.contents, found)
                .map_err(|source| OutputError::Io { path: target.clone(), source })?;
            (found.name.clone(), target, found.start + found.data() + layout.end_bytes())
        };
        self.group.names.push((file.path().to_owned(), target));
        self.group.whole.push(file);
        if self.group.whole.len() >= MOST_OPEN {
            self.sync_whole()
                .map_err(|source| OutputError::Io { path: self.collection().path.clone(), source })?;
        }
        self.group.has_grown = false;
        self.add(Line::Sealed(Sealed { file: name, length }));
        Ok(())
    }

    /// Sees that nobody else's file is where one of many images is to be.
    ///
    /// # Errors
    /// One is; of tars that are repeated, each has a place of its own.
    pub(super) fn check_free(&self, name: &str, target: &Path) -> Result<(), OutputError> {
        if self.contents.overwrite || self.found.read().is_ours(name) || !is_there(target) {
            return Ok(());
        }
        Err(match self.collection().way {
            Way::Repeated => OutputError::Foreign { path: target.to_owned() },
            _ => OutputError::Taken {
                path: target.to_owned(),
                reason: "exists, and the manifest does not say that it is ours".into(),
            },
        })
    }

    /// Makes all files whole that were begun, in this run or before.
    pub(super) fn seal_all(&mut self) -> Result<(), OutputError> {
        self.seal()?;
        loop {
            self.drop_empty();
            // Those of tars are made whole when their tars have been read.
            let is_open =
                |file: &FileState| file.grows_from.is_some() && self.collection().way != Way::Repeated;
            let Some(place) = self.found.read().files.iter().position(is_open) else { return Ok(()) };
            self.go_on(place)?;
            self.seal()?;
        }
    }

    /// Of a file that was begun and holds nothing there is nothing to be made whole.
    fn drop_empty(&mut self) {
        let mut state = self.found.write();
        let collection = &self.found.collection;
        let is_empty = |file: &&mut FileState| file.grows_from.is_some() && file.held.is_empty();
        for file in state.files.iter_mut().filter(is_empty).filter(|_| collection.way != Way::Repeated) {
            file.grows_from = None;
            self.group.useless.push(collection.partial(&file.name, file.generation));
        }
    }

    /// A tar that is repeated has been read to its end: so has what is made of it, which is empty if it has no images. What could not be
    /// read at all leaves what is there as it is.
    pub(super) fn end_repeated(&mut self, tar: &TarEnd<'_>) -> Result<(), OutputError> {
        let name = Collection::tar_name(tar.name);
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
        match known {
            Some((place, true, _)) => self.go_on(place)?,
            Some((_, false, true)) => return Ok(()),
            _ if tar.damage.is_some() => return Ok(()),
            _ => {
                let start = self.layout().start(self.head);
                self.begin(&name, start)?;
            }
        }
        self.seal()
    }
}
