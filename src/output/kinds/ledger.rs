//! Which outputs of a directory are complete: one line an image, written just before its files are put in place.
//!
//! A file that exists and has a line is whole and of the manifest's settings; one without a line is somebody else's,
//! or of settings that were overwritten. A line without a file is an image that a killed run did not finish.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::output::{OutputError, Part, disk::journal::Journal, key};

/// The ledger's name in a directory of outputs.
pub(super) const LEDGER: &str = "manifest.jsonl";

/// The ledger's name for a part of a job: `manifest-00003-of-00016.jsonl`.
pub(super) fn file_name(part: Option<Part>) -> PathBuf {
    part.map_or(LEDGER.into(), |part| part.file(Path::new(LEDGER)))
}

/// The ledgers in a directory, one for each part of a job that wrote there.
fn all(root: &Path) -> Result<Vec<PathBuf>, OutputError> {
    let io_error = |source| OutputError::Io { path: root.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(root).map_err(io_error)? {
        let name = entry.map_err(io_error)?.file_name();
        let middle = name.to_str().and_then(|name| name.strip_prefix("manifest")?.strip_suffix(".jsonl"));
        if middle.is_some_and(|middle| middle.is_empty() || middle.contains("-of-")) {
            found.push(root.join(name));
        }
    }
    found.sort();
    Ok(found)
}

/// The images of all ledgers in a directory, which nobody need have open.
pub(super) fn peek_all(root: &Path) -> Result<HashSet<String>, OutputError> {
    let mut keys = HashSet::new();
    for path in all(root)? {
        keys.extend(Ledger::peek(&path)?);
    }
    Ok(keys)
}

/// Removes the ledgers of parts. None may be in use.
pub(super) fn remove_others(root: &Path) -> Result<(), OutputError> {
    for path in all(root)?.into_iter().filter(|path| path.file_name() != Some(LEDGER.as_ref())) {
        Ledger::open(&path).map_err(|error| error.at(root))?.clear()?;
        fs::remove_file(&path).map_err(|source| OutputError::Io { path, source })?;
    }
    Ok(())
}

/// A line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    /// The image's key.
    path: String,
}

/// What an image's line takes, at least.
pub(super) fn line_bytes(name: &Path) -> u64 {
    (r#"{"path":""}"#.len() + 1 + key(name).len()) as u64
}

/// An open ledger, locked: one process at a time writes into a directory.
#[derive(Debug)]
pub(super) struct Ledger {
    journal: Journal,
    keys: HashSet<String>,
    /// Where the last line ends that counts.
    end: u64,
}

impl Ledger {
    /// Opens the ledger at `path`, creating it if there is none. What is there stays until [`Ledger::settle`].
    pub(super) fn open(path: &Path) -> Result<Self, OutputError> {
        let (journal, lines) = Journal::open::<Line>(path)?;
        let end = lines.last().map_or(0, |(_, end)| *end);
        let keys = lines.into_iter().map(|(line, _)| line.path).collect();
        Ok(Self { journal, keys, end })
    }

    /// Lets no image count.
    pub(super) fn forget(&mut self) {
        self.keys.clear();
        self.end = 0;
    }

    /// Cuts off what does not count, before images are added: not before the run is sure to go on, since a refused one changes nothing.
    pub(super) fn settle(&mut self) -> Result<(), OutputError> {
        self.journal.truncate(self.end)
    }

    /// The images of a ledger that nobody need have open.
    fn peek(path: &Path) -> Result<Vec<String>, OutputError> {
        let lines = Journal::peek::<Line>(path)?.unwrap_or_default();
        Ok(lines.into_iter().map(|line| line.path).collect())
    }

    /// The images that have a line.
    pub(super) fn keys(&self) -> &HashSet<String> {
        &self.keys
    }

    /// Forgets all images.
    pub(super) fn clear(&mut self) -> Result<(), OutputError> {
        self.forget();
        self.settle()
    }

    /// Adds an image, once.
    pub(super) fn add(&mut self, key: &str) -> Result<(), OutputError> {
        if self.keys.insert(key.to_owned()) {
            self.journal.append(&Line { path: key.to_owned() })?;
        }
        Ok(())
    }
}
