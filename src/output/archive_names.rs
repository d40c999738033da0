//! The names of an archive's files.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use super::{
    Format, Metadata, OutputError,
    file::hidden_sibling,
    finished,
    journal::{JOURNAL, Line},
};

/// Where an archive goes, and in how many pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveNames {
    /// The target, `x.safetensors` or `x.npy`.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// The most bytes of one file; one file holds all if there is none.
    pub shard_size: Option<u64>,
    /// The tensors of one image, where there are several: each has an entry under its own name below the image's.
    pub split: Vec<String>,
}

impl ArchiveNames {
    /// The images that are complete, in an unfinished archive by its journal; nothing is touched.
    ///
    /// # Errors
    /// The archive that is there, or is begun, has other settings, or is none.
    pub fn peek(&self, settings: &Metadata) -> Result<HashSet<String>, OutputError> {
        let journal = hidden_sibling(&self.path, ".parts").join(JOURNAL);
        let Ok(text) = std::fs::read_to_string(journal) else {
            return Ok(finished::read(self, settings)?.unwrap_or_default());
        };
        let mut keys = HashSet::new();
        for line in text.lines().map(serde_json::from_str) {
            match line {
                Ok(Line::Start { settings: theirs, .. }) => self.check_begun(&theirs, settings)?,
                Ok(Line::Image { key, .. }) => drop(keys.insert(key)),
                _ => {}
            }
        }
        Ok(keys)
    }

    /// Refuses to go on with an archive that was begun with other settings.
    pub(super) fn check_begun(&self, begun: &Metadata, settings: &Metadata) -> Result<(), OutputError> {
        let what = "is begun by another run, interrupted or still at work, of other settings";
        begun.check(settings, &self.path, what)
    }

    /// Refuses a target for one image where an archive of many is.
    ///
    /// # Errors
    /// There is one.
    pub fn check_absent(path: &Path) -> Result<(), OutputError> {
        let Some(format) = Format::of_path(path) else { return Ok(()) };
        let names = Self { path: path.to_owned(), format, shard_size: None, split: Vec::new() };
        let parts = hidden_sibling(path, ".parts");
        match [names.index(), parts].into_iter().find(|sign| sign.exists()) {
            None => Ok(()),
            Some(sign) => Err(OutputError::Taken {
                path: path.to_owned(),
                reason: format!("is an archive of several images, as {} says", file_name(&sign)),
            }),
        }
    }

    /// The files of an archive of so many shards: the target itself, or `x-00001-of-00003.npy` and so on.
    pub(super) fn shards(&self, count: usize) -> Vec<PathBuf> {
        if count == 1 {
            return vec![self.path.clone()];
        }
        let name = |shard| self.sibling(&format!("-{shard:05}-of-{count:05}.{}", self.extension()));
        (1..=count).map(name).collect()
    }

    /// The index: of a stack's rows, `x.index.jsonl`; of safetensors shards, `x.safetensors.index.json` as the hub
    /// names it.
    pub(super) fn index(&self) -> PathBuf {
        match self.format {
            Format::Npy => self.sibling(".index.jsonl"),
            Format::Safetensors => self.sibling(".safetensors.index.json"),
        }
    }

    /// The manifest of a stack, whose format has no room for metadata.
    pub(super) fn manifest(&self) -> PathBuf {
        self.sibling(".manifest.json")
    }

    fn extension(&self) -> &'static str {
        match self.format {
            Format::Npy => "npy",
            Format::Safetensors => "safetensors",
        }
    }

    /// The target with its extension replaced by an ending.
    fn sibling(&self, ending: &str) -> PathBuf {
        let has_extension = self.path.extension().is_some_and(|extension| extension == self.extension());
        let stem = if has_extension { self.path.file_stem() } else { self.path.file_name() };
        let mut name = stem.unwrap_or_default().to_owned();
        name.push(ending);
        self.path.with_file_name(name)
    }
}

/// The name of a file, for an index beside it.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_named_as_on_the_hub() {
        let names = ArchiveNames {
            path: "out/x.safetensors".into(),
            format: Format::Safetensors,
            shard_size: Some(1),
            split: Vec::new(),
        };
        assert_eq!(names.shards(1), [Path::new("out/x.safetensors")]);
        let shards =
            ["out/x-00001-of-00002.safetensors", "out/x-00002-of-00002.safetensors"].map(PathBuf::from);
        assert_eq!(names.shards(2), shards);
        assert_eq!(names.index(), Path::new("out/x.safetensors.index.json"));
    }

    #[test]
    fn a_stack_has_an_index_and_a_manifest() {
        let names =
            ArchiveNames { path: "x.npy".into(), format: Format::Npy, shard_size: None, split: Vec::new() };
        assert_eq!(names.index(), Path::new("x.index.jsonl"));
        assert_eq!(names.manifest(), Path::new("x.manifest.json"));
    }
}
