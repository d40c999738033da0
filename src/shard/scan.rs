//! What a tar that was made here holds, whole or not.

use std::{
    cell::Cell,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
};

use tar::{Archive, Entry, EntryType, Header, PaxExtensions};

use super::{
    reader::{LARGEST_EXTENSIONS, is_header},
    writer::{BLOCK, END, SETTINGS, padded},
};

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// What it says of itself; none if it was not made here.
    pub(crate) settings: Option<String>,
    /// The keys of its whole samples, in order.
    pub(crate) keys: Vec<String>,
    /// Where the last of them ends.
    pub(crate) end: u64,
    /// Whether the mark of the end follows there, and nothing else.
    pub(crate) is_finished: bool,
}

/// Looks at the headers of a tar of which each sample ends in a member `KEY` and `last`. What is cut, or has a damaged header, and all
/// after it, does not count. The members' contents are not read.
///
/// # Errors
/// The disk fails.
pub(crate) fn scan(file: &File, last: &str) -> io::Result<Scanned> {
    let length = file.metadata()?.len();
    let mut found = Scanned::default();
    let left = Cell::new(0);
    let mut archive = Archive::new(Bounded { file, left: &left });
    let mut entries = archive.entries_with_seek()?;
    // Of the sample that has not ended.
    let mut members: Vec<Vec<u8>> = Vec::new();
    loop {
        left.set(LARGEST_EXTENSIONS);
        let Some(Ok(mut entry)) = entries.next() else { break };
        left.set(u64::MAX);
        let end = padded(entry.raw_file_position().saturating_add(entry.size()));
        if end > length {
            break;
        }
        if let Some(settings) = settings_in(&mut entry)? {
            found.settings = Some(settings);
            found.end = end;
            continue;
        }
        let path = entry.path_bytes();
        if let Some(key) = path.strip_suffix(last.as_bytes()) {
            // A long name has no checksum, but each member of a sample has it.
            let is_of_key = |name: Vec<u8>| name.strip_prefix(key).is_some_and(|rest| rest.starts_with(b"."));
            if !members.drain(..).all(is_of_key) {
                break;
            }
            found.keys.push(String::from_utf8_lossy(key).into_owned());
            found.end = end;
        } else {
            members.push(path.into_owned());
        }
    }
    let rest = length.saturating_sub(found.end);
    found.is_finished = rest == END && is_zeros(&read_last(file, rest)?);
    Ok(found)
}

/// Whether a tar ends as one that is finished, by its last bytes: in a whole member and the mark of the end. One that was cut does not.
///
/// # Errors
/// The disk fails.
pub(crate) fn ends_whole(file: &File) -> io::Result<bool> {
    /// Enough for the last member of nearly every tar that was made here, and of any.
    const LAST: [u64; 2] = [16 << 10, 64 << 20];
    let length = file.metadata()?.len();
    if length < END || !length.is_multiple_of(BLOCK) {
        return Ok(false);
    }
    for last in LAST {
        let bytes = read_last(file, last.min(length))?;
        let (members, mark) = bytes.split_at(bytes.len() - END as usize);
        if !is_zeros(mark) {
            return Ok(false);
        }
        // A header whose member ends where the mark begins.
        let is_last = |(blocks, block): (usize, &[u8])| {
            let size = || Header::from_byte_slice(block).entry_size().ok();
            is_header(block) && size().map(padded) == Some(blocks as u64 * BLOCK)
        };
        if members.rchunks_exact(BLOCK as usize).enumerate().any(is_last) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_zeros(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

fn read_last(mut file: &File, bytes: u64) -> io::Result<Vec<u8>> {
    // Negative numbers count from the end; none is read where there are fewer.
    let mut last = Vec::new();
    file.seek(SeekFrom::End(-i64::try_from(bytes).unwrap_or(i64::MAX)))?;
    file.take(bytes).read_to_end(&mut last)?;
    Ok(last)
}

/// What a tar says of itself at its beginning; none if it was not made here.
///
/// # Errors
/// The disk fails.
pub(crate) fn settings(file: &File) -> io::Result<Option<String>> {
    let left = Cell::new(LARGEST_EXTENSIONS);
    let mut archive = Archive::new(Bounded { file, left: &left });
    match archive.entries()?.next() {
        Some(Ok(mut entry)) => settings_in(&mut entry),
        _ => Ok(None),
    }
}

/// A file of which so much is read and no more, before somebody allows it again.
struct Bounded<'a> {
    file: &'a File,
    left: &'a Cell<u64>,
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left.get()).unwrap_or(usize::MAX));
        let count = self.file.read(&mut buffer[..most])?;
        self.left.set(self.left.get() - count as u64);
        Ok(count)
    }
}

impl Seek for Bounded<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

fn settings_in(entry: &mut Entry<'_, impl Read>) -> io::Result<Option<String>> {
    /// More than the settings of any run take.
    const LARGEST: u64 = 1 << 20;
    if entry.header().entry_type() != EntryType::XGlobalHeader || entry.size() > LARGEST {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes)?;
    let value = PaxExtensions::new(&bytes).flatten().find(|record| record.key() == Ok(SETTINGS));
    Ok(value.and_then(|record| Some(record.value().ok()?.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::TarWriter;

    #[test]
    fn an_extended_header_without_end_is_where_a_tar_ends() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(EntryType::GNULongName);
        header.set_size(1 << 40);
        header.set_cksum();
        std::fs::write(path.path(), header.as_bytes()).unwrap();
        let file = File::options().read(true).write(true).open(path.path()).unwrap();
        // A hole of a terabyte: only so much of it is read.
        file.set_len((1 << 40) + 1024).unwrap();
        assert_eq!(scan(&file, ".features.json").unwrap(), Scanned::default());
    }

    #[test]
    fn only_whole_samples_count() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let mut writer = TarWriter::new(File::create(path.path()).unwrap());
        writer.settings("{\"a\": \"b\"}").unwrap();
        for key in ["x", "d/y"] {
            for (extension, size) in [("npy", 2000), ("features.json", 20)] {
                writer
                    .member(&format!("{key}.{extension}"), size, |to| to.write_all(&vec![1; size as usize]))
                    .unwrap();
            }
        }
        let length = writer.get_mut().metadata().unwrap().len();
        let at = |length: u64| {
            let file = File::options().read(true).write(true).open(path.path()).unwrap();
            file.set_len(length).unwrap();
            scan(&file, ".features.json").unwrap()
        };
        let whole = at(length);
        assert_eq!(whole.settings.as_deref(), Some("{\"a\": \"b\"}"));
        assert_eq!((whole.keys.len(), whole.end), (2, length));
        let cut = at(length - 1);
        assert_eq!(cut.keys, ["x"]);
        assert_eq!(cut.end, 1024 + 512 + 2048 + 1024);
        assert_eq!(at(1500).keys.len(), 0);
        assert_eq!(at(100), Scanned::default());
    }
}
