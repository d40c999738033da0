//! Where images come from: each kind of [`Input`], and the one place where they are chosen.
//!
//! An input gives [`Item`]s: a name for the output, and where the bytes are. Nothing here decodes a picture; a folder only looks at
//! first bytes to tell pictures from other files.

mod absence;
mod distinct;
mod folder;
mod images;
mod item;
mod list;
mod no_list;
mod shard;
mod source;
mod stream;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use absence::Absence;
pub use distinct::{Distinct, Seen, distinct};
pub use images::{Images, PassedOver, gather};
pub use item::Item;
pub use list::{List, Separator};
pub use no_list::NoList;
pub use shard::expand;
pub use source::{InputError, Source, Stat};
use source::{STDIN, is_stdin};
pub use stream::look_at_stdin;

/// What images come from, as it was named.
///
/// ```
/// use clip_features::{Inputs, job::Job};
///
/// let mut job = Job::default();
/// job.inputs = Inputs::Paths(vec!["cat.jpg".into()]);
/// assert!(job.clone().choose()?.is_one());
/// job.inputs = Inputs::Paths(vec!["cat.jpg".into(), "photos/".into(), "shards/00042.tar".into()]);
/// assert!(!job.choose()?.is_one());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inputs {
    /// Files, directories and tars; `-` is standard input.
    Paths(Vec<PathBuf>),
    /// A list of such files and tars.
    List(List),
}

impl Default for Inputs {
    /// None.
    fn default() -> Self {
        Self::Paths(Vec::new())
    }
}

impl Inputs {
    /// What each is.
    #[doc(hidden)]
    pub fn choose(&self) -> Vec<Input> {
        match self {
            Self::Paths(paths) => paths.iter().map(|path| Input::named(path)).collect(),
            Self::List(list) => vec![Input::List(list.clone())],
        }
    }
}

/// Something that images come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Standard input, as one image.
    Stdin,
    /// A file, whatever its name, which need not exist: then its image fails.
    File(PathBuf),
    /// A directory and those below it.
    Folder(PathBuf),
    /// A tar, compressed or not; `-` is standard input.
    Shard(PathBuf),
    /// A list of paths.
    List(List),
}

impl Input {
    /// The input that a path names: `-` is standard input, a tar if it was looked at and is one.
    fn named(path: &Path) -> Self {
        match path.to_owned() {
            path if is_stdin(&path) && stream::is_tar() => Self::Shard(path),
            path if is_stdin(&path) => Self::Stdin,
            path if path.is_dir() => Self::Folder(path),
            path if crate::shard::is_shard(&path) => Self::Shard(path),
            path => Self::File(path),
        }
    }

    /// Whether it is a single image, whatever it holds.
    pub fn is_one(&self) -> bool {
        matches!(self, Self::Stdin | Self::File(_))
    }

    /// Whether all that it holds are tar shards, which a directory of outputs can repeat one by one; none if that is not known.
    pub fn is_sharded(&self) -> Option<bool> {
        match self {
            Self::Stdin | Self::File(_) => Some(false),
            Self::Folder(root) => Some(folder::is_sharded(root)),
            Self::Shard(_) => Some(true),
            Self::List(_) => None,
        }
    }

    /// Whether some of what it holds are tar shards; none if that is not known.
    pub fn holds_shards(&self) -> Option<bool> {
        match self {
            Self::Folder(root) => Some(folder::holds_shards(root)),
            _ => self.is_sharded(),
        }
    }

    /// The directory, of one that is a directory.
    pub fn directory(&self) -> Option<&Path> {
        if let Self::Folder(root) = self { Some(root) } else { None }
    }

    /// The file that is read for it, beside its images' own, as far as that is known: a list, or what standard input was redirected from.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Stdin => Some(Path::new(STDIN)),
            Self::Shard(path) | Self::List(List { path, .. }) if is_stdin(path) => Some(Path::new(STDIN)),
            Self::List(list) => Some(&list.path),
            Self::File(_) | Self::Folder(_) | Self::Shard(_) => None,
        }
    }

    /// How many places in a listing it takes; none if that is not known.
    pub fn places(&self) -> Option<usize> {
        match self {
            Self::Folder(root) => Some(folder::images(root.clone()).known().len()),
            Self::List(_) => None,
            Self::Stdin | Self::File(_) | Self::Shard(_) => Some(1),
        }
    }

    /// Of one that is plainly not there, the [`Item`] that will fail; nothing is opened, since a pipe waits for its writer.
    ///
    /// # Errors
    /// As [`Input::images`].
    pub fn absent(&self) -> Result<Option<Item>, InputError> {
        match self {
            Self::File(path) | Self::Shard(path) if !is_stdin(path) => Ok(Item::absent(path)),
            Self::List(list) => list.check().map(|()| None),
            Self::Stdin | Self::File(_) | Self::Folder(_) | Self::Shard(_) => Ok(None),
        }
    }

    /// Its images.
    ///
    /// # Errors
    /// It cannot be opened. What cannot be read within it is an [`Item`] that fails.
    fn images(self) -> Result<Images, InputError> {
        Ok(match self {
            Self::Stdin => Images::one(Item::stdin()),
            Self::File(path) => Images::one(Item::file(path)),
            Self::Folder(root) => folder::images(root),
            Self::Shard(path) => Images::one(Item::shard(path)),
            Self::List(list) => Images::Listed(Box::new(list.open()?)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_what_it_is() {
        let inputs = Inputs::Paths(["-", "a.png", "src", "a.tar.gz"].map(PathBuf::from).to_vec());
        let expected = "[Stdin, File(\"a.png\"), Folder(\"src\"), Shard(\"a.tar.gz\")]";
        assert_eq!(format!("{:?}", inputs.choose()), expected);
    }
}
