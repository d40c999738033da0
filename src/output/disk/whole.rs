//! A file that is whole or absent.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf, absolute},
};

use sha2::{Digest, Sha256};

use super::own::open_locked;
use crate::output::OutputError;

/// An output being written: a hidden `.NAME.partial` beside the target, renamed over it by [`OutputFile::commit`].
///
/// Dropped without a commit, it leaves the target as it was. A process that is killed leaves at most the partial
/// file, which the next write of the same target takes over; a lock keeps two processes from sharing it.
#[derive(Debug)]
pub struct OutputFile {
    /// What was asked for, for messages.
    path: PathBuf,
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    Replace {
        partial: Partial,
        target: PathBuf,
    },
    /// A target that exists and is no regular file, such as `/dev/null` or a named pipe: a rename would replace it.
    Direct(File),
}

/// The partial file, removed when it is dropped without having been renamed.
#[derive(Debug)]
struct Partial {
    file: File,
    path: PathBuf,
    renamed: bool,
}

impl Partial {
    /// Opens and locks the partial file, empty. `path` is the target, for messages.
    fn open(partial: PathBuf, path: &Path) -> Result<Self, OutputError> {
        let file = open_locked(&partial, path)?;
        file.set_len(0).map_err(|source| OutputError::Io { path: path.to_owned(), source })?;
        Ok(Self { file, path: partial, renamed: false })
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.renamed {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Where the links at `path`, if it is one, lead to what may not be there yet.
pub(in crate::output) fn end_of_links(path: &Path) -> PathBuf {
    /// As many as Linux follows. What leads in a circle is refused by the system before.
    const MOST: usize = 40;
    let mut end = path.to_owned();
    for _ in 0..MOST {
        let Ok(link) = fs::read_link(&end) else { break };
        // Without a slash at its end, which no file's path has.
        end = end.parent().unwrap_or(Path::new("")).join(link.components().as_path());
    }
    end
}

impl OutputFile {
    /// Opens the output for `path`. A symbolic link is followed, as an ordinary write would.
    ///
    /// # Errors
    /// The directory does not exist or is not writable, the target is a directory, or another process is writing it.
    pub fn create(path: &Path) -> Result<Self, OutputError> {
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
            return Err(OutputError::IsDirectory { path: path.to_owned() });
        }
        if existing.as_ref().is_some_and(|metadata| !metadata.is_file()) {
            let file = OpenOptions::new().write(true).open(path).map_err(io_error)?;
            return Ok(Self { path: path.to_owned(), sink: Sink::Direct(file) });
        }
        let target = match existing {
            Some(_) => fs::canonicalize(path).map_err(io_error)?,
            None => end_of_links(path),
        };
        let output = Self::replace(target, path)?;
        if let (Some(existing), Sink::Replace { partial, .. }) = (existing, &output.sink) {
            partial.file.set_permissions(existing.permissions()).map_err(io_error)?;
        }
        Ok(output)
    }

    /// Sees that `path` can be written, and leaves it as it is.
    ///
    /// # Errors
    /// As [`OutputFile::create`].
    pub fn probe(path: &Path) -> Result<(), OutputError> {
        match fs::metadata(path) {
            // To open a pipe and close it again would tell its reader that this was all.
            Ok(metadata) if !metadata.is_file() && !metadata.is_dir() => Ok(()),
            _ => Self::create(path).map(drop),
        }
    }

    /// Opens the output for a path below a directory that is ours. A symbolic link there is replaced, not followed.
    ///
    /// # Errors
    /// As [`OutputFile::create`].
    pub fn create_in_tree(path: &Path) -> Result<Self, OutputError> {
        Self::replace(path.to_owned(), path)
    }

    /// Sees that the directory for an output is there; nothing is touched.
    ///
    /// # Errors
    /// It is not.
    pub fn check_directory(path: &Path) -> Result<(), OutputError> {
        let directory = parent(path);
        if directory.is_dir() {
            return Ok(());
        }
        check_way(path)?;
        Err(OutputError::NoDirectory { path: path.to_owned(), directory: directory.to_owned() })
    }

    /// Sees that a file can have a name, as far as its length and what is there tell.
    ///
    /// # Errors
    /// It is too long, or a directory's.
    pub(in crate::output) fn check_name(path: &Path) -> Result<(), OutputError> {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => Err(OutputError::IsDirectory { path: path.to_owned() }),
            Err(source) if source.kind() == io::ErrorKind::InvalidFilename => {
                Err(OutputError::Io { path: path.to_owned(), source })
            }
            _ => Ok(()),
        }
    }

    fn replace(target: PathBuf, path: &Path) -> Result<Self, OutputError> {
        Self::check_directory(&target)?;
        let partial = Partial::open(hidden_sibling(&target, ".partial"), path)?;
        Ok(Self { path: path.to_owned(), sink: Sink::Replace { partial, target } })
    }

    /// Writes all of a file's content through `write`, syncs it and puts it in place.
    ///
    /// # Errors
    /// The disk is full or fails; the target is then as it was before.
    pub fn commit(self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), OutputError> {
        self.write(write)?.place()
    }

    /// Writes all of a file's content and syncs it, beside the target.
    pub(in crate::output) fn write(
        self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Self, OutputError> {
        let path = self.path.clone();
        let io_error = |source| OutputError::Io { path: path.clone(), source };
        let file = match &self.sink {
            Sink::Replace { partial, .. } => &partial.file,
            Sink::Direct(file) => file,
        };
        let mut writer = BufWriter::with_capacity(1 << 18, file);
        write(&mut writer).and_then(|()| writer.flush()).map_err(io_error)?;
        drop(writer);
        if let Sink::Replace { partial, .. } = &self.sink {
            partial.file.sync_all().map_err(io_error)?;
        }
        Ok(self)
    }

    /// Puts what was written in place of the target.
    pub(in crate::output) fn place(mut self) -> Result<(), OutputError> {
        let path = self.path.clone();
        let io_error = |source| OutputError::Io { path: path.clone(), source };
        if let Sink::Replace { partial, target } = &mut self.sink {
            fs::rename(&partial.path, &*target).map_err(io_error)?;
            partial.renamed = true;
            sync_directory(parent(target)).map_err(io_error)?;
        }
        Ok(())
    }
}

/// Takes the lock of a file that only one process may write; it is released when the file is closed.
pub(super) fn lock(file: &File, path: &Path) -> Result<(), OutputError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(OutputError::Busy { path: path.to_owned() }),
        // Some network file systems have no locks. There, one process a target is the user's to see to.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        Err(TryLockError::Error(source)) => Err(OutputError::Io { path: path.to_owned(), source }),
    }
}

/// `dir/name` → `dir/.name` and a suffix; a name near the longest that file systems take is replaced by its hash.
pub(in crate::output) fn hidden_sibling(path: &Path, suffix: &str) -> PathBuf {
    const LONGEST: usize = 255;
    let name = path.file_name().unwrap_or_default();
    let mut hidden = OsString::from(".");
    if 1 + name.len() + suffix.len() <= LONGEST {
        hidden.push(name);
    } else {
        let digest = Sha256::digest(name.as_encoded_bytes());
        hidden.push(digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    }
    hidden.push(suffix);
    path.with_file_name(hidden)
}

/// The directory that a path lies in; `.` for a bare name.
pub(in crate::output) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Sees that no file is where a directory on the way to `path` would be.
///
/// # Errors
/// One is.
pub(in crate::output) fn check_way(path: &Path) -> Result<(), OutputError> {
    // Nothing is at `file/` where `file` is no directory.
    let bare = path.components().as_path();
    match bare.ancestors().skip(1).find(|above| above.exists()) {
        Some(file) if !file.is_dir() => {
            Err(OutputError::NotDirectory { path: path.to_owned(), file: file.to_owned() })
        }
        _ => Ok(()),
    }
}

/// Where a file lies, or would lie if it were written: one place has one path.
pub(crate) fn place_of(path: &Path) -> PathBuf {
    let end = end_of_links(path);
    let missing = || Some(parent(&end).canonicalize().ok()?.join(end.file_name()?));
    end.canonicalize().ok().or_else(missing).unwrap_or_else(|| whole_path(&end))
}

/// A path from the root, without looking at the disk, so that one can be told to lie below another.
pub(crate) fn whole_path(path: &Path) -> PathBuf {
    absolute(path).unwrap_or_else(|_| path.to_owned()).components().collect()
}

/// Makes renames in a directory last through a power loss.
#[cfg(unix)]
pub(in crate::output) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
pub(in crate::output) fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn a_commit_replaces_the_target_and_leaves_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.npy");
        for content in [b"one", b"two"] {
            OutputFile::create(&path).unwrap().commit(|writer| writer.write_all(content)).unwrap();
            assert_eq!(fs::read(&path).unwrap(), content);
            assert_eq!(entries(directory.path()), 1);
        }
    }

    #[test]
    fn a_failed_write_leaves_the_target_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.npy");
        fs::write(&path, "before").unwrap();
        let output = OutputFile::create(&path).unwrap();
        let result = output.commit(|writer| {
            writer.write_all(b"half")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        });
        assert!(result.unwrap_err().to_string().contains("x.npy: cannot be written"));
        assert_eq!(fs::read(&path).unwrap(), b"before");
        assert_eq!(entries(directory.path()), 1);
    }

    #[test]
    fn what_a_killed_process_left_is_taken_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.npy");
        fs::write(directory.path().join(".x.npy.partial"), "half of something longer").unwrap();
        OutputFile::create(&path).unwrap().commit(|writer| writer.write_all(b"whole")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(entries(directory.path()), 1);
    }

    #[test]
    fn two_writers_of_one_target_exclude_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.npy");
        let first = OutputFile::create(&path).unwrap();
        assert!(matches!(OutputFile::create(&path), Err(OutputError::Busy { .. })));
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
            OutputFile::create(&directory.path().join(name)).unwrap().commit(|_| Ok(())).unwrap();
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
        OutputFile::create(&link).unwrap().commit(|writer| writer.write_all(b"after")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"after");
        fs::remove_file(&file).unwrap();
        let other = directory.path().join("other");
        std::os::unix::fs::symlink("link", &other).unwrap();
        OutputFile::create(&other).unwrap().commit(|writer| writer.write_all(b"after")).unwrap();
        assert!(fs::symlink_metadata(&other).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"after", "a link to what is not there is followed too");
        assert_eq!(place_of(&other), place_of(&file));
        let slash = directory.path().join("slash");
        std::os::unix::fs::symlink("another/", &slash).unwrap();
        assert_eq!(place_of(&slash), place_of(&directory.path().join("another")));
        OutputFile::create(&slash).unwrap().commit(|writer| writer.write_all(b"after")).unwrap();
        assert_eq!(fs::read(directory.path().join("another")).unwrap(), b"after");
        OutputFile::create_in_tree(&link).unwrap().commit(|writer| writer.write_all(b"ours")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_file());
        assert_eq!(fs::read(&file).unwrap(), b"after");
        OutputFile::create(Path::new("/dev/null")).unwrap().commit(|writer| writer.write_all(b"x")).unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    }

    #[test]
    fn what_cannot_be_a_target_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(OutputFile::create(directory.path()), Err(OutputError::IsDirectory { .. })));
        let missing = directory.path().join("missing/x.npy");
        assert!(matches!(OutputFile::create(&missing), Err(OutputError::NoDirectory { .. })));
    }
}
