//! Paths that lead to a person's screen, to which nothing binary is written.

use std::path::Path;

/// Whether a path leads to a terminal, as `/dev/tty` does.
#[cfg(unix)]
pub(crate) fn is_terminal(path: &Path) -> bool {
    use std::{
        fs::{self, File},
        io::IsTerminal,
        os::unix::fs::FileTypeExt,
    };

    // To open a pipe would wait for its other end.
    let is_device = fs::metadata(path).is_ok_and(|found| found.file_type().is_char_device());
    is_device && File::open(path).is_ok_and(|device| device.is_terminal())
}

/// Where terminals have no paths, none leads to one.
#[cfg(not(unix))]
pub(crate) fn is_terminal(_: &Path) -> bool {
    false
}

/// Whether standard output was closed when the process began: Rust opens `/dev/null` in its place, for reading too, which no shell's
/// redirection does.
#[cfg(target_os = "linux")]
pub(crate) fn is_closed_stdout() -> bool {
    let is_null = std::fs::read_link("/proc/self/fd/1").is_ok_and(|path| path == Path::new("/dev/null"));
    let facts = std::fs::read_to_string("/proc/self/fdinfo/1").unwrap_or_default();
    let flags = facts.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    is_null && flags.is_some_and(|flags| flags & 3 == 2)
}

/// Elsewhere it cannot be told.
#[cfg(not(target_os = "linux"))]
pub(crate) fn is_closed_stdout() -> bool {
    false
}
