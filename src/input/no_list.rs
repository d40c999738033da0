//! What a list of paths never has.

use std::fmt;

/// Longer than any system's paths. A list that has one is none, and may have no end.
pub(super) const LONGEST_PATH: usize = 1 << 16;

/// What shows that a list of paths is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NoList {
    /// It is a directory.
    Directory,
    /// Two bytes for a character.
    Utf16,
    /// A NUL byte in a line.
    NulInLine,
    /// Lines, and not one NUL byte to end a path.
    OnlyLines,
    /// A path longer than any that a system opens; it may have no end.
    Long,
    /// Nothing but ends of paths for as long; there may be no end to them.
    Ends,
}

impl fmt::Display for NoList {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory => formatter.write_str("it is a directory"),
            Self::Utf16 => formatter.write_str("it is UTF-16 text"),
            Self::NulInLine => formatter.write_str("a line has a NUL byte"),
            Self::OnlyLines => formatter.write_str("it has line feeds, and no NUL byte that ends a path"),
            Self::Long => write!(formatter, "one is longer than {LONGEST_PATH} bytes"),
            Self::Ends => write!(formatter, "more than {LONGEST_PATH} empty ones follow each other"),
        }
    }
}
