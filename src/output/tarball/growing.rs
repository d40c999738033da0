//! A tar that grows beside its target, and takes the target's name when it is whole.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, BufWriter, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use same_file::Handle;

use super::sample::{self, LAST};
use crate::{
    output::{
        Array, Contents, Described, Metadata, OutputError,
        disk::{hidden_sibling, open_locked, parent, sync_directory},
        manifest::Manifest,
    },
    shard::{self, Scanned, TarWriter, ends_whole, scan},
};

/// An open tar. Dropped without [`Growing::finish`], it can be resumed after its last whole sample.
#[derive(Debug)]
pub(in crate::output) struct Growing {
    target: PathBuf,
    partial: PathBuf,
    tar: TarWriter<BufWriter<File>>,
    keys: HashSet<String>,
    length: u64,
}

/// Where a tar grows.
pub(in crate::output) fn partial(target: &Path) -> PathBuf {
    hidden_sibling(target, ".partial")
}

/// The keys in a tar that is not finished; none if there is no such thing. Nothing is touched.
///
/// # Errors
/// It was begun with other settings, or the disk fails.
pub(in crate::output) fn begun(
    target: &Path,
    settings: &Metadata,
) -> Result<Option<HashSet<String>>, OutputError> {
    let Some(found) = look(&partial(target), target)? else { return Ok(None) };
    if found.settings.is_none() {
        return Ok(None);
    }
    check(found.settings, settings, target)?;
    Ok(Some(found.keys.into_iter().collect()))
}

/// The keys in a finished tar; none if there is no file.
///
/// # Errors
/// It was made with other settings, or not here, it is damaged, or the disk fails.
pub(in crate::output) fn made_here(
    target: &Path,
    settings: &Metadata,
) -> Result<Option<HashSet<String>>, OutputError> {
    let Some(found) = look(target, target)? else { return Ok(None) };
    if target.metadata().is_ok_and(|file| file.len() == 0) {
        return Err(OutputError::Damaged { path: target.to_owned(), reason: "it is empty".into() });
    }
    check(found.settings, settings, target)?;
    if !found.is_finished {
        let reason = format!("what follows byte {} is not the mark of its end", found.end);
        return Err(OutputError::Damaged { path: target.to_owned(), reason });
    }
    Ok(Some(found.keys.into_iter().collect()))
}

/// Whether a finished tar is there, as far as its beginning and its end tell: one that was cut is not. Refuses a file that was made with
/// other settings, or not here.
///
/// # Errors
/// As said, or the disk fails.
pub(in crate::output) fn is_there(target: &Path, settings: &Metadata) -> Result<bool, OutputError> {
    let io_error = |source| OutputError::Io { path: target.to_owned(), source };
    match File::open(target) {
        // Nothing is in it that could be anybody's.
        Ok(file) if file.metadata().is_ok_and(|file| file.len() == 0) => Ok(false),
        Ok(file) => {
            check(shard::settings(&file).map_err(io_error)?, settings, target)?;
            ends_whole(&file).map_err(io_error)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_error(error)),
    }
}

/// Whether a file is a tar that was made here, with whatever settings.
pub(in crate::output) fn is_ours(path: &Path) -> bool {
    // A pipe would wait for its writer.
    path.is_file()
        && File::open(path).and_then(|file| shard::settings(&file)).is_ok_and(|found| found.is_some())
}

/// The file that a path leads to, to be recognised; none if there is no file.
pub(in crate::output) fn seen(path: &Path) -> Option<Handle> {
    Handle::from_path(path).ok()
}

/// Looks into a file, if there is one.
fn look(file: &Path, target: &Path) -> Result<Option<Scanned>, OutputError> {
    let io_error = |source| OutputError::Io { path: target.to_owned(), source };
    match File::open(file) {
        Ok(file) => scan(&file, LAST).map(Some).map_err(io_error),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error(error)),
    }
}

fn check(found: Option<String>, settings: &Metadata, target: &Path) -> Result<(), OutputError> {
    let found = found.and_then(|text| serde_json::from_str(&text).ok());
    let settings_of = found.ok_or_else(|| OutputError::Taken {
        path: target.to_owned(),
        reason: "exists, and is not a tar that was made here".into(),
    })?;
    Manifest { settings: settings_of }.check(settings, target)
}

impl Growing {
    /// Opens the tar that is to become `target`, after the last whole sample of what a killed run left, or, where that does not
    /// count, empty. `before` is what the target was when it was looked at.
    ///
    /// # Errors
    /// Another process writes it, or has finished it since, it was begun with other settings, or the disk fails.
    pub(in crate::output) fn open(
        target: &Path,
        contents: &Contents,
        before: Option<&Handle>,
    ) -> Result<Self, OutputError> {
        let growing = Self::take(target, contents)?;
        if seen(target).as_ref() == before {
            return Ok(growing);
        }
        if growing.keys.is_empty() {
            growing.discard()?;
        }
        Err(OutputError::Busy { path: target.to_owned() })
    }

    /// The same, whatever the target is now.
    fn take(target: &Path, contents: &Contents) -> Result<Self, OutputError> {
        let io_error = |source| OutputError::Io { path: target.to_owned(), source };
        let partial = partial(target);
        let mut file = open_locked(&partial, target)?;
        let mut found = scan(&file, LAST).map_err(io_error)?;
        if contents.overwrite || found.settings.is_none() {
            found = Scanned::default();
        } else {
            check(found.settings.clone(), &contents.settings, target)?;
        }
        file.set_len(found.end).and_then(|()| file.seek(SeekFrom::Start(found.end))).map_err(io_error)?;
        let mut tar = TarWriter::new(BufWriter::with_capacity(1 << 18, file));
        if found.settings.is_none() {
            let text = serde_json::to_string(&contents.settings).expect("settings have only string keys");
            found.end = tar.settings(&text).map_err(io_error)?;
        }
        let keys = found.keys.into_iter().collect();
        Ok(Self { target: target.to_owned(), partial, tar, keys, length: found.end })
    }

    /// Opens a finished tar to go on after its last sample, in a copy that takes its place when it is whole.
    ///
    /// # Errors
    /// As [`Growing::open`].
    pub(in crate::output) fn reopen(
        target: &Path,
        contents: &Contents,
        before: Option<&Handle>,
    ) -> Result<Self, OutputError> {
        let io_error = |source| OutputError::Io { path: target.to_owned(), source };
        let copy = hidden_sibling(target, ".reopened");
        let mut to = open_locked(&copy, target)?;
        let mut filled = || -> io::Result<()> {
            let mut from = File::open(target)?;
            to.set_len(0)?;
            io::copy(&mut from, &mut to)?;
            to.set_permissions(from.metadata()?.permissions())?;
            to.sync_all()?;
            // What grows under that name is never less than what is finished. Fails where another process has begun.
            fs::hard_link(&copy, partial(target))
        };
        let filled = filled();
        let removed = fs::remove_file(&copy);
        filled.and(removed).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => OutputError::Busy { path: target.to_owned() },
            _ => io_error(source),
        })?;
        drop(to); // with its lock, which is the other name's too
        let growing = Self::take(target, contents)?;
        if seen(target).as_ref() != before {
            // What was copied lacks what another process has added.
            growing.discard()?;
            return Err(OutputError::Busy { path: target.to_owned() });
        }
        Ok(growing)
    }

    pub(in crate::output) fn target(&self) -> &Path {
        &self.target
    }

    pub(in crate::output) fn keys(&self) -> &HashSet<String> {
        &self.keys
    }

    /// Its bytes until now, without the mark of the end.
    pub(in crate::output) fn length(&self) -> u64 {
        self.length
    }

    /// Writes an image.
    ///
    /// # Errors
    /// [`OutputError::Misplaced`] if there is one of its key, or the disk fails.
    pub(in crate::output) fn write(
        &mut self,
        key: String,
        image: &Described<'_>,
        arrays: &[Array],
        contents: &Contents,
    ) -> Result<(), OutputError> {
        if self.keys.contains(&key) {
            let reason = format!("has a sample {key} already");
            return Err(OutputError::Misplaced { path: self.target.clone(), reason });
        }
        self.length += sample::write(&mut self.tar, &self.target, &key, image, arrays, contents.dtype)?;
        // So that a kill costs no image that is done.
        self.tar.get_mut().flush().map_err(|source| self.error(source))?;
        self.keys.insert(key);
        Ok(())
    }

    /// Puts the whole tar in its place.
    ///
    /// # Errors
    /// The disk is full or fails; what was there is as it was.
    pub(in crate::output) fn finish(mut self) -> Result<(), OutputError> {
        let ended = self.tar.end().and_then(|()| self.tar.get_mut().get_ref().sync_all());
        ended
            .and_then(|()| fs::rename(&self.partial, &self.target))
            .and_then(|()| sync_directory(parent(&self.target)))
            .map_err(|source| self.error(source))
    }

    /// Removes what has grown.
    pub(in crate::output) fn discard(self) -> Result<(), OutputError> {
        fs::remove_file(&self.partial).map_err(|source| self.error(source))
    }

    fn error(&self, source: io::Error) -> OutputError {
        OutputError::Io { path: self.target.clone(), source }
    }
}
