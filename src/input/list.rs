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
    path: PathBuf,
    reader: Option<Box<dyn BufRead + Send>>,
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
        Ok(Self { path: path.to_owned(), reader: Some(reader), separator })
    }

    #[cfg(test)]
    fn of(bytes: &'static [u8], separator: Separator) -> Self {
        Self { path: "list".into(), reader: Some(Box::new(bytes)), separator }
    }
}

/// Empty lines are passed over; an error of the reader is one unreadable item, the last.
impl Iterator for List {
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

    fn paths(list: List) -> Vec<String> {
        list.map(|item| item.source.to_string()).collect()
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
