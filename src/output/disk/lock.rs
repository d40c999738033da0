//! The lock of an output: a file of its own, which nobody reads, and which is gone when the run ends.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

use same_file::Handle;

use super::super::OutputError;

/// A lock that is held. It does not outlive its process, whatever ends that.
#[derive(Debug)]
pub(in crate::output) struct Lock {
    path: PathBuf,
    _handle: Handle,
}

impl Lock {
    /// Takes a lock. `target` is what it is of, for messages.
    ///
    /// # Errors
    /// [`OutputError::Busy`] where another process holds it, or the system refuses.
    pub(in crate::output) fn take(path: &Path, target: &Path) -> Result<Self, OutputError> {
        let io_error = |source| OutputError::Io { path: target.to_owned(), source };
        loop {
            let file = open(path).map_err(io_error)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(OutputError::Busy { path: target.to_owned() }),
                // Some network file systems have no locks. There, one process a target is the user's to see to.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
                Err(TryLockError::Error(source)) => return Err(io_error(source)),
            }
            // Between our opening and our locking it, its last owner may have removed it.
            let handle = Handle::from_file(file).map_err(io_error)?;
            match Handle::from_path(path) {
                Ok(current) if current == handle => {
                    return Ok(Self { path: path.to_owned(), _handle: handle });
                }
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error(error)),
                _ => {}
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    // What a link leads to is not ours to lock.
    if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        fs::remove_file(path)?;
    }
    OpenOptions::new().write(true).create(true).truncate(false).open(path)
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // nobody reads it
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_and_it_is_gone_afterwards() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".x.lock");
        let target = Path::new("x");
        let first = Lock::take(&path, target).unwrap();
        assert!(matches!(Lock::take(&path, target), Err(OutputError::Busy { .. })));
        drop(first);
        assert!(!path.exists());
        // As a killed process leaves it.
        fs::write(&path, "").unwrap();
        drop(Lock::take(&path, target).unwrap());
        assert!(!path.exists());
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("victim", &path).unwrap();
            drop(Lock::take(&path, target).unwrap());
            assert!(!path.exists() && !directory.path().join("victim").exists());
        }
    }
}
