//! What is committed together.

use std::{
    collections::{BTreeSet, HashSet},
    io,
    path::{Path, PathBuf},
};

use super::Engine;
use crate::output::{
    disk::{DiskFile, parent},
    manifest::{In, Line},
    settle::length_of_file,
};

/// What was written since the last commit.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Files of many images that are whole and not synced.
    pub(super) whole: Vec<DiskFile>,
    /// Whether the file that takes more has taken some.
    pub(super) has_grown: bool,
    /// Directories with names that lines will speak of.
    pub(super) fresh: BTreeSet<PathBuf>,
    /// Files that are to be replaced: they go before a line vouches for what comes.
    pub(super) replaced: Vec<PathBuf>,
    /// Files that are whole, and the names that they are to get.
    pub(super) names: Vec<(PathBuf, PathBuf)>,
    /// The names of single images' files among them.
    pub(super) own: HashSet<PathBuf>,
    /// Files that are of no use any more.
    pub(super) useless: Vec<PathBuf>,
}

impl Group {
    pub(super) fn is_empty(&self) -> bool {
        self.whole.is_empty()
            && !self.has_grown
            && self.replaced.is_empty()
            && self.names.is_empty()
            && self.useless.is_empty()
    }
}

impl Engine {
    /// Makes all of the group last. What has failed once is not tried again: lines would be there twice, and a second sync of data that
    /// the system has given up tells nothing.
    pub(super) fn commit_group(&mut self) -> io::Result<()> {
        if self.has_failed {
            return Err(io::Error::other("what was written before could not be made to last"));
        }
        let committed = self.try_commit();
        self.has_failed |= committed.is_err();
        committed
    }

    fn try_commit(&mut self) -> io::Result<()> {
        self.sync_whole()?;
        if let (Some(growing), true) = (&self.growing, self.group.has_grown) {
            growing.file.sync()?;
        }
        self.sync_directories(&self.group.fresh)?;
        for path in &self.group.replaced {
            self.disk.remove(path)?;
        }
        self.sync_directories(&directories(&self.group.replaced))?;
        self.manifest.commit()?;
        for (from, to) in &self.group.names {
            self.disk.rename(from, to)?;
        }
        self.sync_directories(&directories(self.group.names.iter().map(|(_, to)| to)))?;
        for path in &self.group.useless {
            self.disk.remove(path)?;
        }
        // Somebody may have removed what is written, or moved it away.
        if !self.manifest.is_there() {
            return Err(gone(1));
        }
        self.group = Group::default();
        Ok(())
    }

    /// Makes a line last before there is the file that it speaks of, so that no file is ever there that nobody knows.
    pub(super) fn announce(&mut self, file: &str) -> io::Result<()> {
        self.add(Line::Next { file: file.to_owned() });
        self.commit_group()
    }

    /// Sees that all is there that this run has made.
    pub(super) fn look_for_made(&self) -> io::Result<()> {
        let (collection, state) = (self.collection(), self.found.read());
        let is_there = |name: &str, length| length_of_file(&collection.file(name)) == Some(length);
        let own = self.made.iter().filter_map(|key| state.entries.get(key)).map(|stored| match &stored.in_ {
            In::Own(files) => files.iter().filter(|(name, length)| !is_there(name, *length)).count(),
            In::File(..) => 0,
        });
        let shared = state.files.iter().filter(|file| file.grows_from.is_none());
        let shared = shared.filter(|file| file.sealed.is_some_and(|length| !is_there(&file.name, length)));
        match own.sum::<usize>() + shared.count() {
            0 => Ok(()),
            missing => Err(gone(missing)),
        }
    }

    /// Syncs and closes the files that are whole.
    pub(super) fn sync_whole(&mut self) -> io::Result<()> {
        let synced = self.group.whole.iter().try_for_each(DiskFile::sync);
        self.has_failed |= synced.is_err();
        self.group.whole.clear();
        synced
    }

    fn sync_directories(&self, directories: &BTreeSet<PathBuf>) -> io::Result<()> {
        directories.iter().try_for_each(|directory| self.disk.sync_directory(directory))
    }
}

fn gone(count: usize) -> io::Error {
    let files = if count == 1 { "a file of it is" } else { "files of it are" };
    io::Error::new(
        io::ErrorKind::NotFound,
        format!("{files} not there any more; somebody has removed or moved it"),
    )
}

/// The directories of files.
fn directories<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> BTreeSet<PathBuf> {
    files.into_iter().map(|file| parent(file)).map(Path::to_owned).collect()
}
