//! A file that is whole or absent.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use super::{
    Disk, DiskFile, Lock,
    place::{check_way, end_of_links, hidden_sibling, parent},
};
use crate::output::OutputError;

/// An output being written: a hidden `.NAME.partial` beside the target, renamed over it by [`OutputFile::commit`].
///
/// Dropped without a commit, it leaves the target as it was. A process that is killed leaves at most the partial
/// file, which the next write of the same target replaces; a lock keeps two processes from sharing it.
#[derive(Debug)]
pub(crate) struct OutputFile {
    /// What was asked for, for messages.
    path: PathBuf,
    disk: Disk,
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    Replace {
        partial: DiskFile,
        target: PathBuf,
        renamed: bool,
        _lock: Lock,
    },
    /// A target that exists and is no regular file, such as `/dev/null` or a named pipe: a rename would replace it.
    Direct(File),
}

impl OutputFile {
    /// Opens the output for `path`. A symbolic link is followed, as an ordinary write would.
    ///
    /// # Errors
    /// The directory does not exist or is not writable, the target is a directory, or another process is writing it.
    pub(crate) fn create(disk: &Disk, path: &Path) -> Result<Self, OutputError> {
        let io_error = |source| OutputError::Io { path: path.to_owned(), source };
        let existing = match fs::metadata(path) {
            Ok(metadata) => Some(metadata),
            // A directory on the way to it may be none, which is told of below.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                None
            }
            Err(error) => return Err(io_error(error)),
        };
        if existing.as_ref().is_some_and(fs::Metadata::is_dir) {
            let example = path.join("features.npy");
            let reason = format!("is a directory\nhint: name a file in it, such as {}", example.display());
            return Err(OutputError::refused(path, reason));
        }
        let sink = if existing.as_ref().is_some_and(|metadata| !metadata.is_file()) {
            Sink::Direct(OpenOptions::new().write(true).open(path).map_err(io_error)?)
        } else {
            let target = match existing {
                Some(_) => fs::canonicalize(path).map_err(io_error)?,
                None => end_of_links(path),
            };
            Self::check_directory(&target)?;
            let lock = Lock::take(&hidden_sibling(&target, ".lock"), path)?;
            let partial = disk.create(&hidden_sibling(&target, ".partial")).map_err(io_error)?;
            if let Some(existing) = existing {
                partial.set_permissions(existing.permissions()).map_err(io_error)?;
            }
            Sink::Replace { partial, target, renamed: false, _lock: lock }
        };
        Ok(Self { path: path.to_owned(), disk: disk.clone(), sink })
    }

    /// Sees that `path` can be written, and leaves it as it is.
    ///
    /// # Errors
    /// As [`OutputFile::create`].
    pub(crate) fn probe(path: &Path) -> Result<(), OutputError> {
        match fs::metadata(path) {
            // To open a pipe and close it again would tell its reader that this was all.
            Ok(metadata) if !metadata.is_file() && !metadata.is_dir() => Ok(()),
            _ => Self::create(&Disk::default(), path).map(drop),
        }
    }

    /// Sees that the directory for an output is there; nothing is touched.
    ///
    /// # Errors
    /// It is not.
    pub(crate) fn check_directory(path: &Path) -> Result<(), OutputError> {
        let directory = parent(path);
        if directory.is_dir() {
            return Ok(());
        }
        check_way(path)?;
        let directory = directory.display();
        let reason = format!("the directory {directory} does not exist\nhint: create it with mkdir -p");
        Err(OutputError::refused(path, reason))
    }

    /// Writes all of a file's content through `write`, syncs it and puts it in place.
    ///
    /// # Errors
    /// The disk is full or fails; the target is then as it was before.
    pub(crate) fn commit(
        mut self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), OutputError> {
        let placed = match &mut self.sink {
            Sink::Direct(file) => fill(file, write),
            Sink::Replace { partial, target, renamed, .. } => fill(&mut *partial, write)
                .and_then(|()| partial.sync())
                .and_then(|()| self.disk.rename(partial.path(), target))
                .and_then(|()| {
                    *renamed = true;
                    self.disk.sync_directory(parent(target))
                }),
        };
        placed.map_err(|source| OutputError::Io { path: self.path.clone(), source })
    }
}

fn fill(file: impl Write, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(1 << 18, file);
    write(&mut writer)?;
    writer.flush()
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if let Sink::Replace { partial, renamed: false, .. } = &self.sink {
            let _ = self.disk.remove(partial.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::disk::place_of;

    fn create(path: &Path) -> Result<OutputFile, OutputError> {
        OutputFile::create(&Disk::default(), path)
    }

    fn entries(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn a_commit_replaces_the_target_and_leaves_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.npy");
        for content in [b"one", b"two"] {
            create(&path).unwrap().commit(|writer| writer.write_all(content)).unwrap();
            assert_eq!(fs::read(&path).unwrap(), content);
            assert_eq!(entries(directory.path()), 1);
        }
    }

    #[test]
    fn a_failed_write_leaves_the_target_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.npy");
        fs::write(&path, "before").unwrap();
        let output = create(&path).unwrap();
        let result = output.commit(|writer| {
            writer.write_all(b"half")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        });
        assert!(result.unwrap_err().to_string().contains("x.npy: cannot be written"));
        assert_eq!(fs::read(&path).unwrap(), b"before");
        assert_eq!(entries(directory.path()), 1);
    }

    #[test]
    fn what_a_killed_process_left_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.npy");
        fs::write(directory.path().join(".x.npy.partial"), "half of something longer").unwrap();
        create(&path).unwrap().commit(|writer| writer.write_all(b"whole")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(entries(directory.path()), 1);
    }

    #[test]
    fn two_writers_of_one_target_exclude_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.npy");
        let first = create(&path).unwrap();
        assert!(matches!(create(&path), Err(OutputError::Busy { .. })));
        first.commit(|writer| writer.write_all(b"first")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"first");
    }

    #[cfg(unix)]
    #[test]
    fn permissions_are_those_of_an_ordinary_file() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let mode = |name: &str| fs::metadata(directory.path().join(name)).unwrap().permissions().mode();
        let write = |name: &str| {
            create(&directory.path().join(name)).unwrap().commit(|_| Ok(())).unwrap();
        };
        fs::write(directory.path().join("ordinary"), "").unwrap();
        write("ours");
        assert_eq!(mode("ours"), mode("ordinary"));
        fs::set_permissions(directory.path().join("ours"), fs::Permissions::from_mode(0o640)).unwrap();
        write("ours");
        assert_eq!(mode("ours") & 0o777, 0o640);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_followed_and_a_device_is_not_replaced() {
        use std::os::unix::fs::FileTypeExt;
        let directory = tempfile::tempdir().unwrap();
        let (link, file) = (directory.path().join("link"), directory.path().join("file"));
        fs::write(&file, "before").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        create(&link).unwrap().commit(|writer| writer.write_all(b"after")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"after");
        fs::remove_file(&file).unwrap();
        let other = directory.path().join("other");
        std::os::unix::fs::symlink("link", &other).unwrap();
        create(&other).unwrap().commit(|writer| writer.write_all(b"after")).unwrap();
        assert!(fs::symlink_metadata(&other).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"after", "a link to what is not there is followed too");
        assert_eq!(place_of(&other), place_of(&file));
        let slash = directory.path().join("slash");
        std::os::unix::fs::symlink("another/", &slash).unwrap();
        assert_eq!(place_of(&slash), place_of(&directory.path().join("another")));
        create(&slash).unwrap().commit(|writer| writer.write_all(b"after")).unwrap();
        assert_eq!(fs::read(directory.path().join("another")).unwrap(), b"after");
        create(Path::new("/dev/null")).unwrap().commit(|writer| writer.write_all(b"x")).unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    }

    #[test]
    fn what_cannot_be_a_target_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert!(create(directory.path()).unwrap_err().to_string().contains("is a directory"));
        let missing = directory.path().join("missing/x.npy");
        assert!(create(&missing).unwrap_err().to_string().contains("does not exist"));
    }
}
