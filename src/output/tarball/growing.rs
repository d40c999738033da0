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
        disk::{hidden_sibling, lock, parent, sync_directory},
        manifest::Manifest,
    },
    shard::{self, Scanned, TarWriter, scan},
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
fn partial(target: &Path) -> PathBuf {
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
/// It was made with other settings, or not here, or the disk fails.
pub(in crate::output) fn made_here(
    target: &Path,
    settings: &Metadata,
) -> Result<Option<HashSet<String>>, OutputError> {
    let Some(found) = look(target, target)? else { return Ok(None) };
    check(found.settings, settings, target)?;
    Ok(Some(found.keys.into_iter().collect()))
}

/// Refuses a file at a tar's place that was made with other settings, or not here; tells whether there is one.
///
/// # Errors
/// As said, or the disk fails.
pub(in crate::output) fn exists(target: &Path, settings: &Metadata) -> Result<bool, OutputError> {
    let io_error = |source| OutputError::Io { path: target.to_owned(), source };
    match File::open(target) {
        Ok(file) => {
            check(shard::settings(&file).map_err(io_error)?, settings, target)?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_error(error)),
    }
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
    /// count, empty.
    ///
    /// # Errors
    /// Another process writes it, it was begun with other settings, or the disk fails.
    pub(in crate::output) fn open(target: &Path, contents: &Contents) -> Result<Self, OutputError> {
        let io_error = |source| OutputError::Io { path: target.to_owned(), source };
        let partial = partial(target);
        let mut file = loop {
            let mut options = File::options();
            let options = options.read(true).write(true).create(true).truncate(false);
            let file = options.open(&partial).map_err(io_error)?;
            lock(&file, target)?;
            // Its last owner may have finished it between our opening and our locking it.
            let ours = Handle::from_file(file.try_clone().map_err(io_error)?).map_err(io_error)?;
            if Handle::from_path(&partial).is_ok_and(|current| current == ours) {
                break file;
            }
        };
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
    pub(in crate::output) fn reopen(target: &Path, contents: &Contents) -> Result<Self, OutputError> {
        let io_error = |source| OutputError::Io { path: target.to_owned(), source };
        let copy = hidden_sibling(target, ".reopened");
        let filled = || -> io::Result<()> {
            fs::copy(target, &copy)?;
            File::open(&copy)?.sync_all()?;
            // What grows under that name is never less than what is finished. Fails where another process has begun.
            fs::hard_link(&copy, partial(target))
        };
        let filled = filled();
        let removed = fs::remove_file(&copy);
        filled.and(removed).map_err(io_error)?;
        Self::open(target, contents)
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
