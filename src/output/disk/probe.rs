//! Whether something could be written, found out before anything is.

use std::{io, path::Path};

use super::{Disk, OutputFile, hidden_sibling, parent};
use crate::output::OutputError;

/// How the file ends that is made where none without a name can be.
pub(in crate::output) const PROBE: &str = ".probe";

/// Sees that files can be made beside `path`. What is there stays as it is.
///
/// # Errors
/// There is no such directory, or the system refuses.
pub(in crate::output) fn probe_sibling(path: &Path) -> Result<(), OutputError> {
    OutputFile::check_directory(path)?;
    if can_make_nameless(parent(path)) {
        return Ok(());
    }
    let probe = hidden_sibling(path, PROBE);
    let disk = Disk::default();
    let probed = match disk.create(&probe) {
        // Another process looks at the same moment.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        probed => probed.and_then(|_| disk.remove(&probe)).map(drop),
    };
    probed.map_err(|source| OutputError::Io { path: path.to_owned(), source })
}

/// Whether a file without a name can be made in a directory, of which not even a power cut leaves anything. Not all file systems have such.
#[cfg(target_os = "linux")]
fn can_make_nameless(directory: &Path) -> bool {
    let mut options = std::fs::OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::custom_flags(options.write(true), libc::O_TMPFILE);
    options.open(directory).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn can_make_nameless(_: &Path) -> bool {
    false
}

/// Sees that a `file` can be made below `root`, or `root` where it would be.
///
/// # Errors
/// The system refuses.
pub(in crate::output) fn probe_tree(root: &Path, file: &Path) -> Result<(), OutputError> {
    let mut places = [file].into_iter().chain(root.ancestors());
    match places.find(|path| OutputFile::check_directory(path).is_ok()) {
        Some(path) => probe_sibling(path).map_err(|error| error.at(root)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        probe_sibling(&directory.path().join("x.npy")).unwrap();
        let tree = directory.path().join("a/b");
        probe_tree(&tree, &tree.join("x")).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        let missing = probe_sibling(&directory.path().join("a/x.npy")).unwrap_err();
        assert!(missing.to_string().contains("does not exist"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_the_system_refuses_is_told_of_the_path_that_was_given() {
        // Nobody makes files there, not even root.
        let tree = probe_tree(Path::new("/proc/a/b"), Path::new("/proc/a/b/x"));
        for error in [probe_sibling(Path::new("/proc/x.npy")), tree] {
            assert!(error.unwrap_err().to_string().starts_with("/proc/"));
        }
    }
}
