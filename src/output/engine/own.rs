//! Images that have files of their own, in a directory.

use std::{
    fs,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use super::Engine;
use crate::output::{
    Content, Image, OutputError, Written,
    disk::DiskFile,
    key,
    manifest::{In, Place, Stored},
    sum::Summed,
};

impl Engine {
    /// Writes an image's files, ready to get their names.
    pub(super) fn write_own(&mut self, image: &Image<'_>) -> Result<Written, OutputError> {
        self.try_write_own(image).map_err(|error| match error {
            // The name's fault, not the disk's: another image may do better.
            OutputError::Io { path, source } if is_of_name(source.kind()) => {
                OutputError::Misplaced { path, reason: source.to_string() }
            }
            other => other,
        })
    }

    fn try_write_own(&mut self, image: &Image<'_>) -> Result<Written, OutputError> {
        let root = self.collection().path.clone();
        let names = self.collection().own_files(&self.contents, image.name);
        let files: Vec<PathBuf> = names.iter().map(|name| root.join(name)).collect();
        if files.iter().any(|file| self.group.own.contains(file)) {
            // Another image's, which has its place when this is looked at.
            self.commit_group().map_err(|source| OutputError::Io { path: root.clone(), source })?;
        }
        let mut written = Written { outputs: files.clone(), ..Written::default() };
        let mut replaced = Vec::new();
        for (name, file) in names.iter().zip(&files) {
            let Some(length) = self.replaces(image.key, name, file)? else { continue };
            replaced.push(file.clone());
            let what = match length {
                Some((found, before)) if found < before => "was cut",
                Some((found, before)) if found > before => "is longer than it was",
                _ => continue,
            };
            written.warnings.push(format!("{} {what}, and is made again", file.display()));
        }
        self.disk.make_directories(&root, &files[0])?;
        let metadata = self.contents.settings.with(image.metadata);
        let (format, dtype) = (self.collection().format, self.contents.dtype);
        let (mut at, mut staged) = (Vec::new(), Vec::new());
        for (index, (name, file)) in names.iter().zip(&files).enumerate() {
            let content = match image.content {
                Content::Tensors(arrays) if files.len() > 1 => Content::Tensors(&arrays[index..=index]),
                content => content,
            };
            let io_error = |source| OutputError::Io { path: file.clone(), source };
            let mut to = self.stage().map_err(io_error)?;
            let mut summed = Summed::new(BufWriter::with_capacity(1 << 18, &mut to));
            let laid = format.write(&mut summed, content, dtype, &metadata).and_then(|()| summed.flush());
            let (length, crc32) = (summed.count(), summed.crc32());
            drop(summed);
            laid.and_then(|()| to.sync()).map_err(io_error)?;
            at.push(Place { file: key(name), offset: 0, length, crc32 });
            staged.push((to.path().to_owned(), file.clone()));
        }
        self.group.replaced.extend(replaced);
        self.group.names.extend(staged);
        self.group.own.extend(files);
        self.enter(image, None, at);
        Ok(written)
    }

    /// What of an image is in the place of its file: nothing, or one that is replaced, with its length and the one that it should have.
    ///
    /// # Errors
    /// A file of unknown origin, or a directory.
    fn replaces(
        &self,
        key: &str,
        name: &Path,
        file: &Path,
    ) -> Result<Option<Option<(u64, u64)>>, OutputError> {
        let found = match fs::symlink_metadata(file) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(OutputError::Io { path: file.to_owned(), source }),
        };
        if found.is_dir() {
            let reason = "a directory is in the way".into();
            return Err(OutputError::Misplaced { path: file.to_owned(), reason });
        }
        match (self.found.length_of(key, name), self.contents.overwrite) {
            (Some(length), _) => Ok(Some(Some((found.len(), length)))),
            (None, true) => Ok(Some(None)),
            (None, false) => Err(OutputError::Foreign { path: file.to_owned() }),
        }
    }

    /// A file that has no name yet.
    fn stage(&mut self) -> io::Result<DiskFile> {
        let staging = self.collection().staging();
        if self.staged == 0 {
            self.disk.make_directory(&staging)?;
        }
        let path = staging.join(self.staged.to_string());
        self.staged += 1;
        self.disk.create(&path)
    }
}

impl crate::output::Found {
    /// The length that a file of an image has, if it is ours.
    fn length_of(&self, key: &str, name: &Path) -> Option<u64> {
        let name = crate::output::key(name);
        self.stored(key, |stored: &Stored| match &stored.in_ {
            In::Own(files) => files.iter().find(|(file, _)| **file == *name).map(|(_, length)| *length),
            In::File(..) => None,
        })
        .flatten()
    }
}

/// Whether an error of the system is about the name that a file was to have.
fn is_of_name(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::InvalidFilename | io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory
    )
}
