//! `manifest.json`: what the outputs of one place were made with, where their format has no room for it.

use std::{
    io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{Metadata, OutputError, OutputFile};
use crate::bounded;

/// More than the settings of any run take.
const LARGEST: u64 = 1 << 20;

/// Its name in a directory of outputs.
pub(in crate::output) const MANIFEST: &str = "manifest.json";

/// The settings that all outputs of one place share.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::output) struct Manifest {
    pub(in crate::output) settings: Metadata,
}

impl Manifest {
    /// Reads a manifest; none if there is no such file.
    pub(in crate::output) fn read(path: &Path) -> Result<Option<Self>, OutputError> {
        let is_none = |error: String| OutputError::Taken {
            path: path.to_owned(),
            reason: format!("is no manifest of ours: {error}"),
        };
        let text = match bounded::read_to_string(path, LARGEST) {
            Ok(text) => text,
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound => return Ok(None),
                io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge => {
                    return Err(is_none(error.to_string()));
                }
                _ => return Err(OutputError::Io { path: path.to_owned(), source: error }),
            },
        };
        serde_json::from_str(&text).map(Some).map_err(|error| is_none(error.to_string()))
    }

    /// Writes a manifest, in one piece.
    pub(in crate::output) fn write(&self, path: &Path) -> Result<(), OutputError> {
        self.prepare(path)?.place()
    }

    /// Writes a manifest, ready to be put in place.
    pub(in crate::output) fn prepare(&self, path: &Path) -> Result<OutputFile, OutputError> {
        let text = serde_json::to_string_pretty(self).expect("a manifest has only string keys");
        OutputFile::create_in_tree(path)?.write(|writer| writeln!(writer, "{text}"))
    }

    /// Sees that the manifest of a directory says so, whoever writes it: several parts of a job may begin at once.
    pub(in crate::output) fn settle(&self, root: &Path, overwrite: bool) -> Result<(), OutputError> {
        const PATIENCE: Duration = Duration::from_secs(10);
        let (path, started) = (root.join(MANIFEST), Instant::now());
        loop {
            if !overwrite && let Some(found) = Self::read(&path)? {
                return found.check(&self.settings, root);
            }
            match self.write(&path) {
                Err(OutputError::Busy { .. }) if started.elapsed() < PATIENCE => {
                    thread::sleep(Duration::from_millis(20));
                }
                written => return written,
            }
        }
    }

    /// Refuses to mix outputs of other settings with ours; `path` is where they are.
    pub(in crate::output) fn check(&self, settings: &Metadata, path: &Path) -> Result<(), OutputError> {
        self.settings.check(settings, path, "holds outputs of other settings")
    }
}
