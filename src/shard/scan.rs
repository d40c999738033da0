//! What a tar that was made here holds, whole or not.

use std::{
    fs::File,
    io::{self, Read},
};

use tar::{Archive, Entry, EntryType, PaxExtensions};

use super::writer::{SETTINGS, padded};

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// What it says of itself; none if it was not made here.
    pub(crate) settings: Option<String>,
    /// The keys of its whole samples, in order.
    pub(crate) keys: Vec<String>,
    /// Where the last of them ends.
    pub(crate) end: u64,
}

/// Looks at the headers of a tar of which each sample ends in a member `KEY` and `last`. What is cut or damaged, and all after
/// it, does not count.
///
/// # Errors
/// The disk fails.
pub(crate) fn scan(file: &File, last: &str) -> io::Result<Scanned> {
    let length = file.metadata()?.len();
    let mut found = Scanned::default();
    let mut archive = Archive::new(file);
    for entry in archive.entries_with_seek()? {
        let Ok(mut entry) = entry else { break };
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
            found.keys.push(String::from_utf8_lossy(key).into_owned());
            found.end = end;
        }
    }
    Ok(found)
}

/// What a tar says of itself at its beginning; none if it was not made here.
///
/// # Errors
/// The disk fails.
pub(crate) fn settings(file: &File) -> io::Result<Option<String>> {
    let mut archive = Archive::new(file);
    match archive.entries()?.next() {
        Some(Ok(mut entry)) => settings_in(&mut entry),
        _ => Ok(None),
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
