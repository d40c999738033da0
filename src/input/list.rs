//! `--files-from`: paths from a file or a pipe, one at a time.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, BufRead, BufReader},
    path::PathBuf,
};

use super::{Images, Input, InputError, Item};
use crate::bounded::read_piece;

/// Longer paths than any system takes are passed over: a picture that is given as a list has such lines.
const LONGEST_PATH: usize = 1 << 16;

/// What ends a path in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separator {
    /// A line feed, or a carriage return and a line feed.
    Newline,
    /// A NUL byte, as `find -print0` writes it.
    Nul,
}

/// A list of paths in a file; `-` is standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// The file.
    pub path: PathBuf,
    /// What ends a path.
    pub separator: Separator,
}

impl Input for List {
    /// It is not read before the run.
    fn is_sharded(&self) -> Option<bool> {
        None
    }

    fn places(&self) -> Option<usize> {
        None
    }

    fn absent(&self) -> Result<Option<Item>, InputError> {
        match std::fs::metadata(&self.path) {
            Err(source) if self.path.as_os_str() != "-" => {
                Err(InputError::List { path: self.path.clone(), source })
            }
            _ => Ok(None),
        }
    }

    fn images(self: Box<Self>) -> Result<Images, InputError> {
        let Self { path, separator } = *self;
        let reader: Box<dyn BufRead + Send> = if path.as_os_str() == "-" {
            Box::new(BufReader::new(io::stdin()))
        } else {
            let file = File::open(&path);
            Box::new(BufReader::new(file.map_err(|source| InputError::List { path: path.clone(), source })?))
        };
        Ok(Images::Listed(Box::new(Lines { path, reader: Some(reader), separator })))
    }
}

/// An open list, read as it comes: a producer may still be writing it.
struct Lines {
    path: PathBuf,
    reader: Option<Box<dyn BufRead + Send>>,
    separator: Separator,
}

/// Empty lines are passed over; an error of the reader is one unreadable item, the last.
impl Iterator for Lines {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        let end = match self.separator {
            Separator::Newline => b'\n',
            Separator::Nul => b'\0',
        };
        loop {
            let piece = match read_piece(&mut **self.reader.as_mut()?, end, LONGEST_PATH) {
                Ok(piece) => piece?,
                Err(error) => {
                    self.reader = None;
                    return Some(Item::unreadable(self.path.clone(), error.to_string()));
                }
            };
            if piece.is_cut() {
                let length = piece.length;
                let reason =
                    format!("holds a path of {length} bytes, which no system opens: is it a list of paths?");
                return Some(Item::unreadable(self.path.clone(), reason));
            }
            let mut bytes = piece.bytes;
            if bytes.last() == Some(&end) {
                bytes.pop();
            }
            if self.separator == Separator::Newline && bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
            if !bytes.is_empty() {
                return Some(item_of(bytes));
            }
        }
    }
}

#[cfg(unix)]
fn item_of(bytes: Vec<u8>) -> Item {
    Item::file(<OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes).into())
}

/// Other systems have names that bytes cannot spell.
#[cfg(not(unix))]
fn item_of(bytes: Vec<u8>) -> Item {
    match String::from_utf8(bytes) {
        Ok(path) => Item::file(OsString::from(path).into()),
        Err(error) => {
            let path = String::from_utf8_lossy(error.as_bytes()).into_owned();
            Item::unreadable(path.into(), "the path in the list is no UTF-8".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(bytes: &'static [u8], separator: Separator) -> Vec<String> {
        let lines = Lines { path: "list".into(), reader: Some(Box::new(bytes)), separator };
        lines.map(|item| item.source.to_string()).collect()
    }

    #[test]
    fn lines_are_paths() {
        let list = b"a b.jpg\n\nc.jpg\r\nlast";
        assert_eq!(paths(list, Separator::Newline), ["a b.jpg", "c.jpg", "last"]);
    }

    #[test]
    fn a_path_that_no_system_opens_is_one_failure() {
        let mut list = b"a.jpg\n".to_vec();
        list.resize(list.len() + 3 * LONGEST_PATH, b'x');
        list.extend(b"\nb.jpg\n");
        let bytes: &'static [u8] = list.leak();
        let lines =
            Lines { path: "list".into(), reader: Some(Box::new(bytes)), separator: Separator::Newline };
        let items: Vec<Item> = lines.collect();
        assert_eq!(items.len(), 3);
        let error = items[1].source.read().unwrap_err().to_string();
        assert!(error.contains("a path of 196609 bytes"), "{error}");
        assert_eq!(items[2].source.to_string(), "b.jpg");
    }

    #[test]
    fn nul_keeps_line_feeds_in_names() {
        assert_eq!(paths(b"a\nb.jpg\0c.jpg\0", Separator::Nul), ["a\nb.jpg", "c.jpg"]);
    }
}
