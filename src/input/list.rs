//! `--files-from`: paths from a file or a pipe, one at a time.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use super::{InputError, Item, NoList, Source, no_list::LONGEST_PATH, source::is_stdin};
use crate::bounded::{Piece, read_piece};

/// What ends a path in a list.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, mut job, model) = given::job()?;
/// # let (list, path) = (directory.path().join("photos.0"), directory.path().join("photos/cat.ppm"));
/// use clip_features::{Inputs, List, Separator};
///
/// std::fs::write(&list, format!("{}\0", path.display()))?; // find photos -name '*.ppm' -print0 > photos.0
/// job.inputs = Inputs::List(List { path: list, separator: Separator::Nul });
/// assert_eq!(given::records(job, &model)?.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Separator {
    /// A line feed, or a carriage return and a line feed.
    Newline,
    /// A NUL byte, as `find -print0` writes it.
    Nul,
}

/// A list of paths in a file; `-` is standard input.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, mut job, model) = given::job()?;
/// # let (list, cat) = (directory.path().join("photos.txt"), directory.path().join("photos/cat.ppm"));
/// use clip_features::{Inputs, List, Separator};
///
/// std::fs::write(&list, format!("{}\n", cat.display()))?;
/// job.inputs = Inputs::List(List { path: list, separator: Separator::Newline });
/// let records = given::records(job, &model)?; // runs the job
/// assert_eq!(records[0].input, cat.display().to_string());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// The file.
    pub path: PathBuf,
    /// What ends a path.
    pub separator: Separator,
}

impl List {
    /// Of a file the first paths are looked at, so that what is no list is told at once.
    pub(super) fn check(&self) -> Result<(), InputError> {
        const FIRST: usize = 100;
        if is_stdin(&self.path) {
            return Ok(());
        }
        let list_error = |source| InputError::List { path: self.path.clone(), source };
        let kind = std::fs::metadata(&self.path).map_err(list_error)?;
        if kind.is_file() || kind.is_dir() {
            self.open()?.take(FIRST).try_for_each(|item| item.source.refused())?;
        }
        Ok(())
    }

    pub(super) fn open(&self) -> Result<impl Iterator<Item = Item> + Send + use<>, InputError> {
        let Self { path, separator } = self.clone();
        let reader: Box<dyn BufRead + Send> = if is_stdin(&path) {
            Box::new(BufReader::new(io::stdin()))
        } else {
            if path.is_dir() {
                return Err(InputError::NoList { path, reason: NoList::Directory });
            }
            let file = File::open(&path);
            Box::new(BufReader::new(file.map_err(|source| InputError::List { path: path.clone(), source })?))
        };
        Ok(Lines::new(path, reader, separator))
    }
}

/// An open list, read as it comes: a producer may still be writing it.
struct Lines {
    path: PathBuf,
    reader: Option<Box<dyn BufRead + Send>>,
    separator: Separator,
    /// Whether nothing was read yet.
    is_new: bool,
    /// How many empty paths came last.
    empty: usize,
}

impl Lines {
    fn new(path: PathBuf, reader: Box<dyn BufRead + Send>, separator: Separator) -> Self {
        Self { path, reader: Some(reader), separator, is_new: true, empty: 0 }
    }

    fn end(&self) -> u8 {
        match self.separator {
            Separator::Newline => b'\n',
            Separator::Nul => b'\0',
        }
    }

    /// What a piece shows.
    fn no_list(&self, piece: &Piece) -> Option<NoList> {
        let Piece { bytes, .. } = piece;
        let (lines, has_nul) = (self.separator == Separator::Newline, bytes.contains(&b'\0'));
        let has_mark = self.is_new && (bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff"));
        // A name may begin with its bytes. What a NUL byte ends is no more of it.
        let is_name = || if lines { !has_nul } else { is_there(bytes.strip_suffix(b"\0").unwrap_or(bytes)) };
        // A name may have line feeds, and the last one need not be ended.
        let only_lines =
            || self.is_new && !has_nul && bytes.contains(&b'\n') && (piece.is_cut() || !is_there(bytes));
        if has_mark && !is_name() {
            Some(NoList::Utf16)
        } else if lines && has_nul {
            Some(NoList::NulInLine)
        } else if !lines && only_lines() {
            Some(NoList::OnlyLines)
        } else if piece.is_cut() {
            Some(NoList::Long)
        } else {
            (self.empty > LONGEST_PATH).then_some(NoList::Ends)
        }
    }
}

/// Empty lines are passed over, and the mark that some editors begin lines of UTF-8 with; an error of the reader is one unreadable
/// item, the last. So is what no list of paths has, which ends the run.
impl Iterator for Lines {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        let end = self.end();
        loop {
            let mut reader = Read::take(&mut **self.reader.as_mut()?, LONGEST_PATH as u64 + 1);
            let piece = match read_piece(&mut reader, end, LONGEST_PATH) {
                Ok(piece) => piece?,
                Err(error) => {
                    self.reader = None;
                    return Some(match error.kind() {
                        io::ErrorKind::IsADirectory => Item::no_list(self.path.clone(), NoList::Directory),
                        _ => Item::unreadable(self.path.clone(), error.to_string()),
                    });
                }
            };
            if let Some(reason) = self.no_list(&piece) {
                self.reader = None;
                return Some(Item::no_list(self.path.clone(), reason));
            }
            let mut bytes = piece.bytes;
            if bytes.last() == Some(&end) {
                bytes.pop();
            }
            if self.separator == Separator::Newline {
                if bytes.last() == Some(&b'\r') {
                    bytes.pop();
                }
                if self.is_new && bytes.starts_with("\u{feff}".as_bytes()) && !is_there(&bytes) {
                    bytes.drain(..'\u{feff}'.len_utf8());
                }
            }
            self.is_new = false;
            if !bytes.is_empty() {
                self.empty = 0;
                return Some(item_of(bytes));
            }
            self.empty += 1;
        }
    }
}

/// Whether bytes spell the path of something.
fn is_there(bytes: &[u8]) -> bool {
    matches!(item_of(bytes.to_vec()).source, Source::File(path) | Source::Shard(path) if path.exists())
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
        let lines = Lines::new("list".into(), Box::new(bytes), separator);
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
            let items: Vec<Item> = Lines::new("list".into(), bytes, separator).collect();
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
        for (end, separator) in [(b'\0', Separator::Nul), (b'\n', Separator::Newline)] {
            let start: &[u8] = if end == b'\0' { b"a.jpg\0" } else { b"a.jpg\n" };
            let empty = Box::new(BufReader::new(start.chain(io::repeat(end))));
            let (count, message) = refused(empty, separator);
            let reason = "list: is no list of paths: more than 65536 empty ones follow each other";
            assert_eq!((count, message.as_str()), (2, reason));
        }
    }

    #[test]
    fn another_way_to_write_a_list_is_told() {
        let reason = |bytes: &'static [u8], separator| {
            let mut items = Lines::new("list".into(), Box::new(bytes), separator);
            let reason = items.next().unwrap().source.refused().unwrap_err().to_string();
            assert_eq!(items.next(), None);
            reason.rsplit_once(": ").unwrap().1.to_owned()
        };
        for separator in [Separator::Newline, Separator::Nul] {
            assert_eq!(reason(b"\xff\xfea\0.\0\n\0b\0", separator), "it is UTF-16 text");
            assert_eq!(reason(b"\xfe\xff\0a\0.\0\n\0b", separator), "it is UTF-16 text");
        }
        let lines = "it has line feeds, and no NUL byte that ends a path";
        assert_eq!(reason(b"a.jpg\nb.jpg\n", Separator::Nul), lines);
        let many = b"a.jpg\n".repeat(LONGEST_PATH);
        assert_eq!(reason(many.leak(), Separator::Nul), lines);
        assert_eq!(paths(b"a.jpg\0b\nc.jpg", Separator::Nul), ["a.jpg", "b\nc.jpg"]);
        assert_eq!(paths(b"\xef\xbb\xbfa.jpg\r\nb.jpg\r\n", Separator::Newline), ["a.jpg", "b.jpg"]);
    }

    #[test]
    fn nul_keeps_line_feeds_in_names() {
        assert_eq!(paths(b"a\nb.jpg\0c.jpg\0", Separator::Nul), ["a\nb.jpg", "c.jpg"]);
    }
}
