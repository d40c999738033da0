//! Files that are ours by their name: what is begun, journals, ledgers. Opening one never reaches through its name to another's file.

use std::{
    fs::{self, File, Metadata, OpenOptions, TryLockError},
    io,
    path::Path,
};

use same_file::Handle;

use super::whole::lock;
use crate::output::OutputError;

/// Opens a file of ours to read and write, and makes it where there is none. One that has another name too, as a backup made of links
/// gives it, becomes a file of its own first.
///
/// # Errors
/// A link is there, or no regular file, or the system refuses.
pub(in crate::output) fn open_own(path: &Path) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => return Err(in_the_way(path)),
        Ok(found) if has_other_names(&found) && !is_locked(path)? => separate(path)?,
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    // What takes the name meanwhile.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(in_the_way(path));
    }
    Ok(file)
}

/// The same, locked: only one process may write it. `target` is what it is to become, for messages.
///
/// # Errors
/// As [`open_own`], or another process has it.
pub(in crate::output) fn open_locked(path: &Path, target: &Path) -> Result<File, OutputError> {
    let io_error = |source| OutputError::Io { path: target.to_owned(), source };
    loop {
        let file = open_own(path).map_err(io_error)?;
        lock(&file, target)?;
        // Between our opening and our locking it, its last owner may have renamed it: then it is a finished output
        // under another name, and must not be touched.
        let ours = Handle::from_file(file).map_err(io_error)?;
        match Handle::from_path(path) {
            Ok(current) if current == ours => return ours.as_file().try_clone().map_err(io_error),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error(error)),
            _ => {}
        }
    }
}

/// Makes a directory of ours where there is none.
///
/// # Errors
/// A link is there, or something else, or the system refuses.
pub(in crate::output) fn make_own_directory(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_dir() => Err(in_the_way(path)),
        _ => fs::create_dir_all(path),
    }
}

fn in_the_way(path: &Path) -> io::Error {
    let path = path.display();
    io::Error::other(format!("{path} is in the way: a link, or no file of ours\nhint: remove it"))
}

#[cfg(unix)]
fn has_other_names(file: &Metadata) -> bool {
    std::os::unix::fs::MetadataExt::nlink(file) > 1
}

#[cfg(not(unix))]
fn has_other_names(_: &Metadata) -> bool {
    false
}

/// Whether another process has it.
fn is_locked(path: &Path) -> io::Result<bool> {
    Ok(matches!(File::open(path)?.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Puts a copy in a file's place.
fn separate(path: &Path) -> io::Result<()> {
    let copy = path.with_extension("own");
    match fs::remove_file(&copy) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let copied = fs::copy(path, &copy).and_then(|_| fs::rename(&copy, path));
    if copied.is_err() {
        let _ = fs::remove_file(&copy);
    }
    copied
}

#[cfg(all(test, unix))]
mod tests {
    use std::{io::Write, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn what_leads_elsewhere_is_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("victim"), "precious").unwrap();
        symlink("victim", at("link")).unwrap();
        symlink("missing", at("dangling")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        fs::create_dir(at("directory")).unwrap();
        for name in ["link", "dangling", "pipe", "directory"] {
            let error = open_own(&at(name)).unwrap_err().to_string();
            assert!(error.contains(&format!("{name} is in the way")) && error.contains("hint"), "{error}");
        }
        assert!(!at("missing").exists());

        symlink("directory", at("elsewhere")).unwrap();
        for name in ["elsewhere", "victim"] {
            assert!(make_own_directory(&at(name)).unwrap_err().to_string().contains("is in the way"));
        }
        make_own_directory(&at("directory")).unwrap();

        fs::hard_link(at("victim"), at("other")).unwrap();
        let mut file = open_locked(&at("other"), &at("target")).unwrap();
        assert!(matches!(open_locked(&at("other"), &at("target")), Err(OutputError::Busy { .. })));
        file.set_len(0).unwrap();
        file.write_all(b"ours").unwrap();
        assert_eq!(fs::read(at("other")).unwrap(), b"ours");
        assert_eq!(fs::read(at("victim")).unwrap(), b"precious");
        // What another process writes keeps its names.
        fs::hard_link(at("other"), at("linked")).unwrap();
        assert!(matches!(open_locked(&at("linked"), &at("target")), Err(OutputError::Busy { .. })));
        assert!(Handle::from_path(at("linked")).unwrap() == Handle::from_path(at("other")).unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 8);
    }
}
