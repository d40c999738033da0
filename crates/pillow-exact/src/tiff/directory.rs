//! The first directory of a TIFF, read as Pillow reads it (`ImageFileDirectory_v2.load`): what is broken ends it, and what was read counts.

use std::collections::{HashMap, HashSet};

use crate::error::DecodeError;
use crate::format::TIFF as FORMAT;

/// Types of values.
const BYTE: u16 = 1;
const ASCII: u16 = 2;
const UNDEFINED: u16 = 7;

/// A field's type, count and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry<'a> {
    kind: u16,
    count: u64,
    data: &'a [u8],
}

/// The fields of the first picture.
#[derive(Debug)]
pub(super) struct Directory<'a> {
    pub(super) is_little: bool,
    entries: HashMap<u16, Entry<'a>>,
    /// Fields that Pillow passes over.
    skipped: HashSet<u16>,
    /// Nothing of it is missing.
    is_whole: bool,
}

/// Reads numbers in a file's byte order.
#[derive(Clone, Copy)]
struct File<'a> {
    bytes: &'a [u8],
    is_little: bool,
}

impl<'a> File<'a> {
    fn slice(&self, at: u64, size: u64) -> Option<&'a [u8]> {
        self.bytes.get(usize::try_from(at).ok()?..usize::try_from(at.checked_add(size)?).ok()?)
    }

    fn number(&self, at: u64, size: u64) -> Option<u64> {
        self.slice(at, size).map(|field| number(field, self.is_little))
    }
}

fn number(field: &[u8], is_little: bool) -> u64 {
    let add = |sum: u64, &byte: &u8| sum << 8 | u64::from(byte);
    if is_little { field.iter().rev().fold(0, add) } else { field.iter().fold(0, add) }
}

/// Bytes of a value of each type that Pillow reads.
fn size(kind: u16) -> Option<u64> {
    match kind {
        BYTE | ASCII | 6 | UNDEFINED => Some(1),
        3 | 8 => Some(2),
        4 | 9 | 11 | 13 => Some(4),
        5 | 10 | 12 | 16 => Some(8),
        _ => None,
    }
}

impl<'a> Directory<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (is_little, is_big_tiff) = match bytes.get(..4) {
            Some(b"II*\0") => (true, false),
            Some(b"MM\0*") => (false, false),
            Some(b"II+\0") => (true, true),
            // Pillow takes it for a classic one, whose directory is where no file has one.
            Some(b"MM\0+") => return Err(DecodeError::unsupported(FORMAT, "64-bit offsets, big-endian")),
            _ => return Err(DecodeError::unsupported(FORMAT, "a signature of mixed byte orders")),
        };
        let file = File { bytes, is_little };
        let truncated = || DecodeError::Truncated { format: FORMAT };
        let wide = if is_big_tiff { 8 } else { 4 };
        let start = file.number(if is_big_tiff { 8 } else { 4 }, wide).ok_or_else(truncated)?;
        if start == 0 {
            return Err(DecodeError::invalid(FORMAT, "no directory"));
        }
        let counter = if is_big_tiff { 8 } else { 2 };
        let count = file.number(start, counter).ok_or_else(truncated)?;
        let mut directory =
            Self { is_little, entries: HashMap::new(), skipped: HashSet::new(), is_whole: false };
        let mut outside = 0u64;
        for index in 0..count {
            let step = index.checked_mul(4 + 2 * wide).and_then(|step| step.checked_add(start + counter));
            let Some(at) = step else { return Ok(directory) };
            let Some(fields) = file.slice(at, 4 + 2 * wide) else { return Ok(directory) };
            let (tag, kind) =
                (file.number(at, 2).unwrap_or(0) as u16, number(&fields[2..4], is_little) as u16);
            let (count, place) = fields[4..].split_at(wide as usize);
            if directory.entries.contains_key(&tag) {
                continue;
            }
            let (Some(unit), count) = (size(kind), number(count, is_little)) else {
                directory.skipped.insert(tag);
                continue;
            };
            let length = count.saturating_mul(unit);
            let data = if length <= wide {
                &place[..length as usize]
            } else {
                outside = outside.saturating_add(length);
                if outside > bytes.len() as u64 {
                    directory.skipped.insert(tag);
                    continue;
                }
                let Some(data) = file.slice(number(place, is_little), length) else { return Ok(directory) };
                data
            };
            // Pillow goes by the first of several entries that it likes, libtiff by the first.
            if data.is_empty() {
                directory.skipped.insert(tag);
            } else if directory.skipped.contains(&tag) {
                return Err(DecodeError::unsupported(FORMAT, format!("two values of tag {tag}")));
            } else {
                directory.entries.insert(tag, Entry { kind, count, data });
            }
        }
        // The offset of the next one follows, which libtiff wants to be there.
        let end = start.saturating_add(counter).saturating_add(count.saturating_mul(4 + 2 * wide));
        directory.is_whole = file.slice(end, wide).is_some();
        Ok(directory)
    }

    /// Whether libtiff reads the same fields as Pillow: it refuses what is cut off, or has another type than it knows.
    pub(super) fn is_whole(&self, tags: &[u16]) -> bool {
        self.is_whole && tags.iter().all(|tag| !self.skipped.contains(tag))
    }

    pub(super) fn has(&self, tag: u16) -> bool {
        self.entries.contains_key(&tag)
    }

    /// A field's bytes as they are, which have no order.
    pub(super) fn bytes(&self, tag: u16) -> Option<&'a [u8]> {
        self.entries.get(&tag).filter(|entry| matches!(entry.kind, BYTE | UNDEFINED)).map(|entry| entry.data)
    }

    /// A field's whole numbers, of a type that Pillow and libtiff both take for numbers.
    pub(super) fn numbers(&self, tag: u16) -> Result<Option<Vec<u64>>, DecodeError> {
        let Some(entry) = self.entries.get(&tag) else { return Ok(None) };
        if !matches!(entry.kind, 3 | 4 | 13 | 16) {
            return Err(DecodeError::unsupported(FORMAT, format!("tag {tag} of type {}", entry.kind)));
        }
        let unit = entry.data.len() / entry.count as usize;
        Ok(Some(entry.data.chunks_exact(unit).map(|value| number(value, self.is_little)).collect()))
    }

    /// A field of one whole number.
    pub(super) fn number(&self, tag: u16) -> Result<Option<u64>, DecodeError> {
        match self.numbers(tag)?.as_deref() {
            None => Ok(None),
            Some([value]) => Ok(Some(*value)),
            Some(values) => {
                Err(DecodeError::unsupported(FORMAT, format!("{} values of tag {tag}", values.len())))
            }
        }
    }
}
