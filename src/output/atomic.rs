//! A file that is whole or absent.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use tempfile::{Builder, NamedTempFile};

use super::OutputError;

/// An output being written: a temporary file beside the target, renamed over it by [`OutputFile::commit`].
///
/// Dropped without a commit, it leaves the target as it was. A target that exists and is no regular file, such as
/// `/dev/null` or a named pipe, is written directly, since a rename would replace it.
#[derive(Debug)]
pub struct OutputFile {
    sink: Sink,
    path: PathBuf,
}

#[derive(Debug)]
enum Sink {
    Replace { temporary: BufWriter<NamedTempFile>, target: PathBuf },
    Direct(BufWriter<File>),
}

impl OutputFile {
    /// Opens the output for `path`. A symbolic link is followed, as an ordinary write would.
    ///
    /// # Errors
    /// The directory does not exist or is not writable, or the target is a directory.
    pub fn create(path: &Path) -> Result<Self, OutputError> {
        let io_error = |source| OutputError::Io { path: path.to_owned(), source };
        let existing = match fs::metadata(path) {
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(io_error(error)),
        };
        if existing.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(OutputError::IsDirectory { path: path.to_owned() });
        }
        if existing.as_ref().is_some_and(|metadata| !metadata.is_file()) {
            let file = OpenOptions::new().write(true).open(path).map_err(io_error)?;
            return Ok(Self { sink: Sink::Direct(BufWriter::new(file)), path: path.to_owned() });
        }
        let target = match existing {
            Some(_) => fs::canonicalize(path).map_err(io_error)?,
            None => path.to_owned(),
        };
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = parent.unwrap_or(Path::new("."));
        if !directory.is_dir() {
            return Err(OutputError::NoDirectory { path: path.to_owned(), directory: directory.to_owned() });
        }
        let mut builder = Builder::new();
        builder.prefix(".clip-features-").suffix(".tmp");
        if let Some(permissions) = ordinary_permissions() {
            builder.permissions(permissions);
        }
        let temporary = builder.tempfile_in(directory).map_err(io_error)?;
        if let Some(existing) = existing {
            temporary.as_file().set_permissions(existing.permissions()).map_err(io_error)?;
        }
        let sink = Sink::Replace { temporary: BufWriter::new(temporary), target };
        Ok(Self { sink, path: path.to_owned() })
    }

    /// Writes all of a file's content through `write`, syncs it and puts it in place.
    ///
    /// # Errors
    /// The disk is full or fails; the target is then as it was before.
    pub fn commit(mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), OutputError> {
        let io_error = |source| OutputError::Io { path: self.path.clone(), source };
        match &mut self.sink {
            Sink::Replace { temporary, .. } => write(temporary).and_then(|()| temporary.flush()),
            Sink::Direct(file) => write(file).and_then(|()| file.flush()),
        }
        .map_err(io_error)?;
        if let Sink::Replace { temporary, target } = self.sink {
            let temporary = temporary.into_inner().map_err(|error| io_error(error.into_error()))?;
            temporary.as_file().sync_all().map_err(io_error)?;
            temporary.persist(&target).map_err(|error| io_error(error.error))?;
            sync_directory(&target).map_err(io_error)?;
        }
        Ok(())
    }
}

/// What `open` gives a new file: read and write for all, less the umask.
#[cfg(unix)]
#[allow(clippy::unnecessary_wraps)]
fn ordinary_permissions() -> Option<Permissions> {
    Some(std::os::unix::fs::PermissionsExt::from_mode(0o666))
}

#[cfg(not(unix))]
fn ordinary_permissions() -> Option<Permissions> {
    None
}

/// Makes a rename last through a power loss.
#[cfg(unix)]
fn sync_directory(target: &Path) -> io::Result<()> {
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
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

    #[cfg(unix)]
    #[test]
    fn permissions_are_those_of_an_ordinary_file() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let mode = |name: &str| fs::metadata(directory.path().join(name)).unwrap().permissions().mode();
        fs::write(directory.path().join("ordinary"), "").unwrap();
        OutputFile::create(&directory.path().join("ours")).unwrap().commit(|_| Ok(())).unwrap();
        assert_eq!(mode("ours"), mode("ordinary"));
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
