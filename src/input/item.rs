//! An input with the name that its output will have.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Absence, NoList, Source};
use crate::{
    output::key,
    shard::{Sample, Unusable, inner_path, is_shard, stem},
};

/// One image of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Where its bytes are.
    pub source: Source,
    /// Its path within the outputs: relative, without `.` and `..`, with its own extension.
    pub name: PathBuf,
    /// Of an image in a tar shard: its sample.
    pub sample: Option<Arc<Sample>>,
}

impl Item {
    /// An image, or a shard, given by its path: the output's path repeats what of it can lie inside a directory.
    pub fn file(path: PathBuf) -> Self {
        Self::named(inner_path(&path), path)
    }

    /// A tar shard given by its path.
    pub fn shard(path: PathBuf) -> Self {
        let name = if path.as_os_str() == "-" { "stdin.tar".into() } else { inner_path(&path) };
        Self { source: Source::Shard(path), name, sample: None }
    }

    /// An image or a shard found in a directory: the output's path is relative to that directory.
    pub fn found(root: &Path, path: PathBuf) -> Self {
        Self::named(inner_path(path.strip_prefix(root).unwrap_or(&path)), path)
    }

    fn named(name: PathBuf, path: PathBuf) -> Self {
        let source = if is_shard(&path) { Source::Shard(path) } else { Source::File(path) };
        Self { source, name, sample: None }
    }

    /// What names it, whatever the output: its path below the input that it came from; of a tar's member the tar's path and the member's.
    pub fn key(&self) -> String {
        match &self.sample {
            Some(sample) => match self.name.strip_prefix(stem(&sample.shard)) {
                Ok(member) => key(&sample.shard.join(member)),
                Err(_) => key(&self.name),
            },
            None => key(&self.name),
        }
    }

    /// Whether it is a shard, which stands for all of its images.
    pub fn is_shard(&self) -> bool {
        matches!(self.source, Source::Shard(_))
    }

    /// A place that could not be looked into.
    pub fn unreadable(path: PathBuf, reason: String) -> Self {
        let name = inner_path(&path);
        Self { source: Source::Unusable(path, Unusable::Unreadable(reason)), name, sample: None }
    }

    /// Where a list turns out to be none.
    pub(super) fn no_list(path: PathBuf, reason: NoList) -> Self {
        let name = inner_path(&path);
        Self { source: Source::NoList { list: path, reason }, name, sample: None }
    }

    /// A path at which there is nothing; none where there is something.
    pub(super) fn absent(path: &Path) -> Option<Self> {
        let error = std::fs::metadata(path).err()?;
        Some(Self::unreadable(path.to_owned(), Absence::reason(path, &error)))
    }

    /// The image on standard input.
    pub fn stdin() -> Self {
        Self { source: Source::Stdin, name: "stdin".into(), sample: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        assert_eq!(Item::file("../../etc/cat.jpg".into()).name, Path::new("etc/cat.jpg"));
        assert_eq!(Item::found(Path::new("a/b"), "a/b/c/cat.jpg".into()).name, Path::new("c/cat.jpg"));
    }

    #[test]
    fn a_listed_tar_is_a_shard() {
        assert_eq!(Item::file("a/00042.tar".into()).source, Source::Shard("a/00042.tar".into()));
    }
}
