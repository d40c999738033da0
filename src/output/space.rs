//! How much a disk can still take.

use std::path::Path;

use super::file::parent;

/// Bytes free for us on the file system of a path, whose end may not exist yet; none if it cannot be told.
pub fn free_space(path: &Path) -> Option<u64> {
    let existing = path.ancestors().find(|path| path.exists()).unwrap_or_else(|| parent(path));
    let existing = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
    fs4::available_space(existing).ok()
}
