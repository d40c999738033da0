//! `--files-from`: paths from a file or a pipe, one at a time.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use super::Item;

/// What ends a path in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separator {
    /// A line feed, or a carriage return and a line feed.
    Newline,
    /// A NUL byte, as `find -print0` writes it.
    Nul,
}

/// A list of paths, read as it comes: a producer may still be writing it.
pub struct List {
    reader: Box<dyn BufRead + Send>,
    separator: Separator,
}

impl List {
    /// Opens a list; `-` is standard input.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path, separator: Separator) -> io::Result<Self> {
        let reader: Box<dyn BufRead + Send> = if path.as_os_str() == "-" {
            Box::new(BufReader::new(io::stdin()))
        } else {
            Box::new(BufReader::new(File::open(path)?))
        };
        Ok(Self { reader, separator })
    }

    #[cfg(test)]
    fn of(bytes: &'static [u8], separator: Separator) -> Self {
        Self { reader: Box::new(bytes), separator }
    }
}

/// Empty lines are passed over; an error of the reader ends the list.
impl Iterator for List {
    type Item = io::Result<Item>;

    fn next(&mut self) -> Option<Self::Item> {
        let end = match self.separator {
            Separator::Newline => b'\n',
            Separator::Nul => b'\0',
        };
        loop {
            let mut bytes = Vec::new();
            match self.reader.read_until(end, &mut bytes) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return Some(Err(error)),
            }
            if bytes.last() == Some(&end) {
                bytes.pop();
            }
            if self.separator == Separator::Newline && bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
            if !bytes.is_empty() {
                return Some(path_of(bytes).map(Item::file));
            }
        }
    }
}

#[cfg(unix)]
#[allow(clippy::unnecessary_wraps)] // other systems have names that bytes cannot spell
fn path_of(bytes: Vec<u8>) -> io::Result<PathBuf> {
    Ok(<OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes).into())
}

#[cfg(not(unix))]
fn path_of(bytes: Vec<u8>) -> io::Result<PathBuf> {
    String::from_utf8(bytes).map(|path| OsString::from(path).into()).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(list: List) -> Vec<String> {
        list.map(|item| item.unwrap().source.to_string()).collect()
    }

    #[test]
    fn lines_are_paths() {
        let list = List::of(b"a b.jpg\n\nc.jpg\r\nlast", Separator::Newline);
        assert_eq!(paths(list), ["a b.jpg", "c.jpg", "last"]);
    }

    #[test]
    fn nul_keeps_line_feeds_in_names() {
        let list = List::of(b"a\nb.jpg\0c.jpg\0", Separator::Nul);
        assert_eq!(paths(list), ["a\nb.jpg", "c.jpg"]);
    }
}
