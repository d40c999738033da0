//! Many images in one file, or in shards of it: what a stack and an archive of named tensors share.
//!
//! An unfinished one is a hidden directory `.NAME.parts` beside the target: a journal, and shards that grow as
//! tensors come. A run that is killed goes on after the last image in the journal; when all is done, the shards get
//! their headers and their names. So the target is whole or absent, and memory does not grow with it.

mod finished;
mod growing;
mod layout;
mod line;
mod names;
mod reopen;
mod resume;
mod shard;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use super::{
    Complete, Contents, Destination, Format, OutputError, OutputFile, Setting, Sink, check_shard_size,
    disk::{journal::Journal, probe_sibling, readable_size},
    key,
};

use growing::Growing;
use line::{Line, check_begun};

pub(super) use layout::{Held, Layout, Placed};
pub(super) use names::{Names, file_name, sign_of_many};

/// The destination of many images in one file.
#[derive(Debug)]
pub(super) struct Many {
    pub(super) names: Names,
    pub(super) layout: &'static dyn Layout,
}

/// The least that a file holds beside its images.
const SHARD_HEADER: u64 = 32 << 10;

impl Many {
    /// The images that are complete, in an unfinished archive by its journal; nothing is touched.
    fn keys(&self, contents: &Contents) -> Result<HashSet<String>, OutputError> {
        let lines = Journal::peek(&self.names.journal()).map_err(|error| error.at(&self.names.path))?;
        let Some(lines) = lines.filter(|lines| !lines.is_empty()) else {
            return Ok(finished::read(&self.names, self.layout, contents)?.unwrap_or_default());
        };
        let mut keys = HashSet::new();
        for line in lines {
            match line {
                Line::Start { settings, .. } => {
                    check_begun(&settings, &contents.settings, &self.names.path)?;
                }
                Line::Image { key, .. } => drop(keys.insert(key)),
                Line::Sealed { .. } | Line::Finished => {}
            }
        }
        Ok(keys)
    }
}

impl Destination for Many {
    fn describe(&self, _contents: &Contents) -> String {
        let path = self.names.path.display();
        match self.names.shard_size {
            None => format!("{path}, one archive"),
            Some(limit) => format!("{path}, in files of at most {}", readable_size(limit)),
        }
    }

    fn heeds(&self, setting: Setting) -> bool {
        !matches!(setting, Setting::KeepExtension | Setting::Keep)
    }

    fn format(&self) -> Option<Format> {
        Some(self.names.format)
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.names.path)
    }

    fn place(&self, _contents: &Contents, name: &Path) -> Option<PathBuf> {
        Some(key(name).into())
    }

    fn replaced(&self, _contents: &Contents) -> Vec<PathBuf> {
        let mut files = finished::files_of(&self.names, self.layout).unwrap_or_default();
        files.extend(self.names.like_shards().unwrap_or_default());
        files.push(self.names.path.clone());
        files.extend(self.layout.beside(&self.names));
        files
    }

    /// The journal is there until the index and the headers are.
    fn beside_bytes(&self, contents: &Contents, name: &Path) -> u64 {
        /// The shortest line, but for the keys.
        const IMAGE: usize = r#"{"image":{"key":"","tensors":[],"crc":0}}"#.len() + 1;
        const ENTRY: usize = r#"{"key":"","shape":[]}"#.len();
        let (key, tensors) = (key(name).len(), contents.tensors.len());
        (IMAGE + key + tensors * (ENTRY + key) + self.layout.line_bytes(key, tensors)) as u64
    }

    /// All but the last file are linked.
    fn copied_bytes(&self, contents: &Contents) -> u64 {
        if contents.overwrite || self.names.journal().exists() {
            return 0;
        }
        let files = finished::files_of(&self.names, self.layout).unwrap_or_default();
        files.last().and_then(|file| file.metadata().ok()).map_or(0, |file| file.len())
    }

    fn resumes(&self) -> bool {
        true
    }

    fn probe(&self) -> Result<(), OutputError> {
        probe_sibling(&self.names.path)
    }

    fn check(&self, contents: &Contents) -> Result<(), OutputError> {
        let path = &self.names.path;
        self.layout.check(path, contents)?;
        check_shard_size(path, self.names.shard_size, contents.image_bytes(), SHARD_HEADER)?;
        OutputFile::check_directory(path)?;
        self.layout.beside(&self.names).iter().try_for_each(|file| OutputFile::check_name(file))
    }

    fn complete(&self, contents: &Contents) -> Result<Complete, OutputError> {
        if contents.overwrite {
            return Ok(Complete::none());
        }
        let keys = self.keys(contents)?;
        Ok(Complete::when(move |name, _| keys.contains(&key(name))))
    }

    fn is_finished(&self, contents: &Contents) -> bool {
        !contents.overwrite
            && !self.names.journal().exists()
            && finished::read(&self.names, self.layout, contents).is_ok_and(|keys| keys.is_some())
    }

    fn open(&self, contents: &Contents, planned: &[&Path]) -> Result<Box<dyn Sink>, OutputError> {
        Ok(Box::new(Growing::open(&self.names, self.layout, contents, planned)?))
    }
}
