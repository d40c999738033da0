//! The names of an archive's files, before and after it is finished.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use super::line::JOURNAL;
use crate::output::{
    Format, OutputError,
    disk::{hidden_sibling, parent},
    manifest::Manifest,
};

/// Where an archive goes, and in how many pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::output) struct Names {
    /// The target, `x.safetensors` or `x.npy`.
    pub(in crate::output) path: PathBuf,
    pub(in crate::output) format: Format,
    /// The most bytes of one file; one file holds all if there is none.
    pub(in crate::output) shard_size: Option<u64>,
}

impl Names {
    /// The hidden directory beside the target that holds it until it is finished.
    pub(super) fn unfinished(&self) -> PathBuf {
        hidden_sibling(&self.path, ".parts")
    }

    /// The index: of a stack's rows, `x.index.jsonl`; of safetensors shards, `x.safetensors.index.json` as the hub
    /// names it.
    pub(in crate::output) fn index(&self) -> PathBuf {
        self.sibling(match self.format {
            Format::Npy => ".index.jsonl",
            Format::Safetensors => ".safetensors.index.json",
        })
    }

    /// What a stack was made with, for which its format has no room: `x.manifest.json`.
    pub(in crate::output) fn manifest(&self) -> PathBuf {
        self.sibling(".manifest.json")
    }

    /// The journal in that directory.
    pub(super) fn journal(&self) -> PathBuf {
        self.unfinished().join(JOURNAL)
    }

    /// The file of a shard in that directory, counted from 1.
    pub(super) fn begun_shard(&self, number: usize) -> PathBuf {
        self.unfinished().join(format!("shard-{number:05}"))
    }

    /// The files of a finished archive of so many shards: the target itself, or `x-00001-of-00003.npy` and so on.
    pub(super) fn shards(&self, count: usize) -> Vec<PathBuf> {
        if count == 1 {
            return vec![self.path.clone()];
        }
        (1..=count).map(|number| self.shard(number, count)).collect()
    }

    fn shard(&self, number: usize, count: usize) -> PathBuf {
        self.sibling(&format!("-{number:05}-of-{count:05}.{}", self.format.name()))
    }

    /// The files that are named as shards of an archive, if there are some and its last one is among them. Parts of a job are counted
    /// from 0, so that none is.
    pub(super) fn unlisted(&self) -> Result<Vec<PathBuf>, OutputError> {
        let found = self.numbers()?;
        let counts = found.iter().filter(|(one, all)| one == all).map(|(_, count)| *count);
        let files = counts.filter(|&count| count > 1).flat_map(|count| self.shards(count));
        Ok(files.map(|file| file_name(&file).into()).collect())
    }

    /// All files that are there under names of shards, where there are shards.
    pub(super) fn like_shards(&self) -> Result<Vec<PathBuf>, OutputError> {
        if self.shard_size.is_none() {
            return Ok(Vec::new());
        }
        let mut found = self.numbers()?;
        found.sort_unstable();
        Ok(found.into_iter().map(|(number, count)| self.shard(number, count)).collect())
    }

    /// The numbers in the names of shards that are there.
    fn numbers(&self) -> Result<Vec<(usize, usize)>, OutputError> {
        let io_error = |source| OutputError::Io { path: self.path.clone(), source };
        let start = file_name(&self.sibling("-"));
        let end = format!(".{}", self.format.name());
        let number = |digits: &str| digits.parse().ok().filter(|_| digits.len() == 5);
        let mut found = Vec::new();
        for entry in fs::read_dir(parent(&self.path)).map_err(io_error)? {
            let name = entry.map_err(io_error)?.file_name().to_string_lossy().into_owned();
            let numbers = || {
                let (one, all) = name.strip_prefix(&start)?.strip_suffix(&end)?.split_once("-of-")?;
                Some((number(one)?, number(all)?))
            };
            found.extend(numbers());
        }
        Ok(found)
    }

    /// The target with its extension replaced by an ending.
    fn sibling(&self, ending: &str) -> PathBuf {
        let has_extension = self.path.extension() == Some(OsStr::new(self.format.name()));
        let stem = if has_extension { self.path.file_stem() } else { self.path.file_name() };
        let mut name = stem.unwrap_or_default().to_owned();
        name.push(ending);
        self.path.with_file_name(name)
    }
}

/// Whether an index, a stack's manifest, or what is begun tells that there is an archive of many images at a path.
pub(in crate::output) fn sign_of_many(path: &Path) -> bool {
    let names = |format| Names { path: path.to_owned(), format, shard_size: None };
    let names = Format::of_path(path).map(names);
    let has_manifest = |names: &Names| matches!(Manifest::read(&names.manifest()), Ok(Some(_)));
    names.is_some_and(|names| {
        names.index().exists()
            || names.unfinished().exists()
            || names.format == Format::Npy && has_manifest(&names)
    })
}

/// The name of a file, for an index beside it.
pub(in crate::output) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_named_as_on_the_hub() {
        let names =
            Names { path: "out/x.safetensors".into(), format: Format::Safetensors, shard_size: Some(1) };
        assert_eq!(names.shards(1), [Path::new("out/x.safetensors")]);
        let shards =
            ["out/x-00001-of-00002.safetensors", "out/x-00002-of-00002.safetensors"].map(PathBuf::from);
        assert_eq!(names.shards(2), shards);
        assert_eq!(names.index(), Path::new("out/x.safetensors.index.json"));
    }

    #[test]
    fn a_stack_has_an_index_and_a_manifest() {
        let names = Names { path: "x.npy".into(), format: Format::Npy, shard_size: None };
        assert_eq!(names.index(), Path::new("x.index.jsonl"));
        assert_eq!(names.manifest(), Path::new("x.manifest.json"));
    }
}
