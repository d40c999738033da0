//! A manifest read in pieces, on a few threads at a time.

use std::{
    fs::File,
    hash::BuildHasher,
    io,
    ops::Range,
    thread::{self, available_parallelism},
};

use hashbrown::DefaultHashBuilder;
use memchr::{memchr, memchr2, memmem};

use super::line::{LONGEST_LINE, Line, checked};
use crate::read_at::read_exact_at;

/// Bytes that a thread reads at a time. What is being read is held beside what is kept. In tests as few as make lines lie across.
const PIECE: u64 = if cfg!(test) { 300 } else { 4 << 20 };

/// The most threads: the rest of the work is done one line after the other.
const MOST_THREADS: usize = 4;

/// How the lines of a manifest, or of a piece of it, end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With a whole line.
    Whole,
    /// In the middle of a line, as a killed run or a power cut leaves it.
    Cut,
    /// With a line that is not as it was written, from this byte on.
    Garbled(u64),
}

/// An entry as far as it is kept.
pub(super) struct Brief {
    pub(super) line: u64,
    pub(super) line_bytes: u32,
    /// Where its key begins among those of the piece.
    pub(super) key: u64,
    pub(super) key_bytes: u32,
    pub(super) hash: u64,
    /// Its file, by its place among those of the piece; of no meaning where each image has its own.
    pub(super) file: u32,
}

/// The lines that begin in a range of bytes.
pub(super) struct Piece {
    pub(super) briefs: Vec<Brief>,
    pub(super) keys: Vec<u8>,
    /// The names of files, one after the other as they are spoken of.
    pub(super) files: Vec<String>,
    /// The lines that are no entries, each with the number of entries before it.
    pub(super) others: Vec<(usize, Line)>,
    pub(super) ending: Ending,
    /// Bytes of its lines.
    pub(super) parsed: u64,
}

/// The pieces of a manifest whose entries begin at `begin`, in batches that are read at the same time.
pub(super) fn pieces(begin: u64, length: u64) -> impl Iterator<Item = Vec<Range<u64>>> {
    let threads = available_parallelism().map_or(1, usize::from).min(MOST_THREADS) as u64;
    let at = move |piece: u64| (begin + piece * PIECE).min(length);
    let count = (length - begin).div_ceil(PIECE);
    (0..count)
        .step_by(threads as usize)
        .map(move |first| (first..count.min(first + threads)).map(|piece| at(piece)..at(piece + 1)).collect())
}

impl Piece {
    /// Reads pieces, each on a thread of its own. No pool is used: its threads would not survive a fork.
    pub(super) fn parse_all(
        file: &File,
        ranges: &[Range<u64>],
        is_shared: bool,
        hasher: &DefaultHashBuilder,
    ) -> io::Result<Vec<Self>> {
        let Some((last, before)) = ranges.split_last() else { return Ok(Vec::new()) };
        let parse = |range: &Range<u64>| Self::parse(file, range.clone(), is_shared, hasher);
        thread::scope(|scope| {
            // Where no thread can be had, the piece is read here.
            let started: Vec<_> = before
                .iter()
                .map(|range| (range, thread::Builder::new().spawn_scoped(scope, move || parse(range))))
                .collect();
            let last = parse(last);
            let join = |(range, started): (&Range<u64>, io::Result<thread::ScopedJoinHandle<'_, _>>)| {
                match started {
                    Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                    Err(_) => parse(range),
                }
            };
            started.into_iter().map(join).chain([last]).collect()
        })
    }

    fn parse(
        file: &File,
        range: Range<u64>,
        is_shared: bool,
        hasher: &DefaultHashBuilder,
    ) -> io::Result<Self> {
        // The byte before tells whether a line begins here.
        let begin = range.start - 1;
        let mut bytes = vec![0; (range.end - begin) as usize];
        read_exact_at(file, &mut bytes, begin)?;
        finish_line(file, range.end, &mut bytes)?;
        let mut piece = Self {
            briefs: Vec::new(),
            keys: Vec::new(),
            files: Vec::new(),
            others: Vec::new(),
            ending: Ending::Whole,
            parsed: 0,
        };
        let Some(first) = memchr(b'\n', &bytes) else { return Ok(piece) };
        let mut at = first + 1;
        while at < bytes.len() && begin + (at as u64) < range.end {
            let Some(length) = memchr(b'\n', &bytes[at..]) else {
                let is_long = bytes.len() - at > LONGEST_LINE;
                piece.ending = if is_long { Ending::Garbled(begin + at as u64) } else { Ending::Cut };
                break;
            };
            if !piece.take(&bytes[at..at + length], begin + at as u64, is_shared, hasher) {
                piece.ending = Ending::Garbled(begin + at as u64);
                break;
            }
            at += length + 1;
        }
        piece.parsed = (at - first - 1) as u64;
        Ok(piece)
    }

    /// Takes in a line; false if it is not as it was written.
    fn take(&mut self, line: &[u8], offset: u64, is_shared: bool, hasher: &DefaultHashBuilder) -> bool {
        if checked(line).is_none() {
            return false;
        }
        let entry;
        let (key, file) = match plain_entry(line, is_shared) {
            Some(found) => found,
            None => match Line::decode(line) {
                // In a file of many it is in one place.
                Some(Line::Entry(found)) if !is_shared || found.at.len() == 1 => {
                    entry = found;
                    (&*entry.key, is_shared.then(|| &*entry.at[0].file))
                }
                Some(Line::Entry(_)) | None => return false,
                Some(other) => {
                    self.others.push((self.briefs.len(), other));
                    return true;
                }
            },
        };
        let file = file.map_or(0, |file| self.file(file));
        self.briefs.push(Brief {
            line: offset,
            line_bytes: line.len() as u32,
            key: self.keys.len() as u64,
            key_bytes: key.len() as u32,
            hash: hasher.hash_one(key.as_bytes()),
            file,
        });
        self.keys.extend(key.as_bytes());
        true
    }

    /// The place of a file among those that were spoken of, which is mostly the last one.
    fn file(&mut self, name: &str) -> u32 {
        if self.files.last().is_none_or(|last| last != name) {
            self.files.push(name.to_owned());
        }
        self.files.len() as u32 - 1
    }
}

/// The key of an entry and its file, where the line is written as it is written here and no letter of them is escaped: half of the time
/// that it takes to open a collection would go to what is skipped. That the line is whole is known. None of any other line.
fn plain_entry(line: &[u8], is_shared: bool) -> Option<(&str, Option<&str>)> {
    // No string of JSON can hold this, since its quotes would be escaped.
    const FILE: &[u8] = br#""at":[{"file":""#;
    let plain = |text: &[u8]| memchr2(b'"', b'\\', text).filter(|&end| text[end] == b'"');
    let rest = line.strip_prefix(br#"{"entry":{"key":""#)?;
    let key = std::str::from_utf8(&rest[..plain(rest)?]).ok()?;
    if !is_shared {
        return Some((key, None));
    }
    let rest = &line[memmem::find(line, FILE)? + FILE.len()..];
    Some((key, Some(std::str::from_utf8(&rest[..plain(rest)?]).ok()?)))
}

/// Reads on to the end of a line that has begun, or to that of the file.
pub(super) fn finish_line(file: &File, mut offset: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
    const STEP: u64 = 1 << 16;
    let length = file.metadata()?.len();
    let start = bytes.len();
    if bytes.last() == Some(&b'\n') {
        return Ok(());
    }
    while offset < length && bytes.len() - start <= LONGEST_LINE {
        let step = STEP.min(length - offset);
        let before = bytes.len();
        bytes.resize(before + step as usize, 0);
        read_exact_at(file, &mut bytes[before..], offset)?;
        offset += step;
        if let Some(end) = memchr(b'\n', &bytes[before..]) {
            bytes.truncate(before + end + 1);
            break;
        }
    }
    Ok(())
}
