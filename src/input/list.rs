//! `--files-from`: paths from a file or a pipe, one at a time.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::PathBuf,
};

use super::{Images, Input, InputError, Item, source::LONGEST_PATH};
use crate::bounded::read_piece;

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

    /// Of a file the first paths are looked at, so that what is no list is told at once.
    fn absent(&self) -> Result<Option<Item>, InputError> {
        const FIRST: usize = 100;
        if self.path.as_os_str() == "-" {
            return Ok(None);
        }
        let list_error = |source| InputError::List { path: self.path.clone(), source };
        let kind = std::fs::metadata(&self.path).map_err(list_error)?;
        if kind.is_file() || kind.is_dir() {
            self.open()?.take(FIRST).try_for_each(|item| item.source.refused())?;
        }
        Ok(None)
    }

    fn images(self: Box<Self>) -> Result<Images, InputError> {
        Ok(Images::Listed(Box::new(self.open()?)))
    }
}

impl List {
    fn open(&self) -> Result<Lines, InputError> {
        let Self { path, separator } = self.clone();
        let reader: Box<dyn BufRead + Send> = if path.as_os_str() == "-" {
            Box::new(BufReader::new(io::stdin()))
        } else {
            if path.is_dir() {
                return Err(InputError::ListedDirectory { path });
            }
            let file = File::open(&path);
            Box::new(BufReader::new(file.map_err(|source| InputError::List { path: path.clone(), source })?))
        };
        Ok(Lines { path, reader: Some(reader), separator })
    }
}

/// An open list, read as it comes: a producer may still be writing it.
struct Lines {
    path: PathBuf,
    reader: Option<Box<dyn BufRead + Send>>,
    separator: Separator,
}

/// Empty lines are passed over; an error of the reader is one unreadable item, the last. So is what no list of paths has, which ends the
/// run.
impl Iterator for Lines {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        let end = match self.separator {
            Separator::Newline => b'\n',
            Separator::Nul => b'\0',
        };
        loop {
            let mut reader = Read::take(&mut **self.reader.as_mut()?, LONGEST_PATH as u64 + 1);
            let piece = match read_piece(&mut reader, end, LONGEST_PATH) {
                Ok(piece) => piece?,
                Err(error) => {
                    self.reader = None;
                    return Some(Item::unreadable(self.path.clone(), error.to_string()));
                }
            };
            let has_nul = self.separator == Separator::Newline && piece.bytes.contains(&b'\0');
            if has_nul || piece.is_cut() {
                self.reader = None;
                return Some(Item::no_list(self.path.clone(), has_nul));
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
    fn what_is_no_list_is_refused_where_it_shows() {
        let refused = |bytes: Box<dyn BufRead + Send>, separator| {
            let items: Vec<Item> = Lines { path: "list".into(), reader: Some(bytes), separator }.collect();
            assert_eq!(items[0].source.to_string(), "a.jpg");
            (items.len(), items[1].source.refused().unwrap_err().to_string())
        };
        // Neither has an end.
        let long = Box::new(BufReader::new(b"a.jpg\n".chain(io::repeat(b'x'))));
        let (count, message) = refused(long, Separator::Newline);
        assert_eq!(
            (count, message.as_str()),
            (2, "list: is no list of paths: one is longer than 65536 bytes")
        );
        let nul = Box::new(BufReader::new(b"a.jpg\nb\0.jpg\n".chain(io::repeat(b'\n'))));
        let (count, message) = refused(nul, Separator::Newline);
        assert_eq!((count, message.as_str()), (2, "list: is no list of paths: a line has a NUL byte"));
        let long = Box::new(BufReader::new(b"a.jpg\0".chain(io::repeat(b'x'))));
        assert_eq!(refused(long, Separator::Nul).0, 2);
    }

    #[test]
    fn nul_keeps_line_feeds_in_names() {
        assert_eq!(paths(b"a\nb.jpg\0c.jpg\0", Separator::Nul), ["a\nb.jpg", "c.jpg"]);
    }
}
