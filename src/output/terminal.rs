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
