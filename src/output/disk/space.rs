//! How much a disk can still take.

use std::path::Path;

use super::parent;

/// Bytes free for us on the file system of a path, whose end may not exist yet; none if it cannot be told.
pub fn free_space(path: &Path) -> Option<u64> {
    let existing = path.ancestors().find(|path| path.exists()).unwrap_or_else(|| parent(path));
    let existing = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
    // A device or a pipe keeps nothing.
    existing.metadata().ok().filter(|found| found.is_file() || found.is_dir())?;
    fs4::available_space(existing).ok()
}

/// Bytes as a person reads them.
pub fn readable_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} bytes") } else { format!("{value:.1} {}", UNITS[unit]) }
}
