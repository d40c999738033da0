//! The lock that keeps two processes from fetching the same blob.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::Path,
    thread,
    time::Duration,
};

use super::{HubError, cache::create_parent};

/// A held lock; dropping it, or the end of the process, lets the next one in.
#[derive(Debug)]
pub(super) struct BlobLock {
    _file: Option<File>,
}

impl BlobLock {
    /// Waits until no one else holds the lock; `waiting` is called once if someone does.
    ///
    /// It is the lock that Python's filelock takes (`flock` on Unix), on the same file, so that Python and this
    /// program wait for one another. Like filelock, it leaves the file in place: deleting it would let in two.
    pub(super) fn acquire(path: &Path, waiting: impl FnOnce()) -> Result<Self, HubError> {
        let io_error = |source| HubError::Io { path: path.to_owned(), source };
        create_parent(path).map_err(io_error)?;
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        // Writable by the group, as huggingface_hub makes it, for users who share a cache.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o664);
        let file = options.open(path).map_err(io_error)?;
        let mut waiting = Some(waiting);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: Some(file) }),
                Err(TryLockError::WouldBlock) => {}
                // Some network file systems have no locks. Going on is safe: whoever writes a partial file writes
                // the same bytes to the same places, and it is checked before it counts.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                    return Ok(Self { _file: None });
                }
                Err(TryLockError::Error(error)) => return Err(io_error(error)),
            }
            if let Some(waiting) = waiting.take() {
                waiting();
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn the_second_waits_for_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("locks/x.lock");
        let first = BlobLock::acquire(&path, || panic!("no one holds it")).unwrap();
        let (sender, events) = mpsc::channel();
        thread::scope(|scope| {
            let path = &path;
            scope.spawn(move || {
                let waiting = sender.clone();
                let _second = BlobLock::acquire(path, move || waiting.send("waiting").unwrap()).unwrap();
                sender.send("held").unwrap();
            });
            assert_eq!(events.recv().unwrap(), "waiting");
            assert!(events.try_recv().is_err());
            drop(first);
            assert_eq!(events.recv().unwrap(), "held");
        });
    }
}
