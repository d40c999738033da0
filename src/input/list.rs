//! `--files-from`: paths from a file or a pipe, one at a time.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, BufRead, BufReader},
    path::PathBuf,
};

use super::{Images, Input, InputError, Item};

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
            let mut bytes = Vec::new();
            match self.reader.as_mut()?.read_until(end, &mut bytes) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => {
                    self.reader = None;
                    return Some(Item::unreadable(self.path.clone(), error.to_string()));
                }
            }
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
    fn nul_keeps_line_feeds_in_names() {
        assert_eq!(paths(b"a\nb.jpg\0c.jpg\0", Separator::Nul), ["a\nb.jpg", "c.jpg"]);
    }
}
