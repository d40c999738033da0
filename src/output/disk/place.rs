//! Where a path leads, and the names beside it.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf, absolute},
};

use sha2::{Digest, Sha256};

use super::super::OutputError;

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

/// Whether a path leads to something, if only to a link.
pub(in crate::output) fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// The directory that a path lies in; `.` for a bare name.
pub(crate) fn parent(path: &Path) -> &Path {
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
            let hint = "hint: give another path, or remove that file";
            Err(OutputError::refused(path, format!("{} is not a directory\n{hint}", file.display())))
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
