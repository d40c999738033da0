//! Where images come from, one file for each kind of [`Input`], and the one place where they are chosen.
//!
//! An input gives [`Item`]s: a name for the output, and where the bytes are. Nothing here decodes a picture; a folder only looks at
//! first bytes to tell pictures from other files.

mod absence;
mod distinct;
mod file;
mod folder;
mod images;
mod item;
mod list;
mod no_list;
mod shard;
mod source;
mod stdin;
mod stream;

use std::{
    fmt::Debug,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

pub use absence::Absence;
pub use distinct::{Distinct, Seen, distinct};
use file::File;
use folder::Folder;
pub use images::{Images, PassedOver, gather};
pub use item::Item;
pub use list::{List, Separator};
pub use no_list::NoList;
use shard::Shard;
pub use shard::expand;
pub use source::{InputError, Source, Stat};
use stdin::Stdin;
pub use stream::look_at_stdin;

/// What images come from, as it was named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inputs {
    /// Files, directories and tars; `-` is standard input.
    Paths(Vec<PathBuf>),
    /// A list of such files and tars.
    List(List),
}

impl Inputs {
    /// What each is.
    #[doc(hidden)]
    pub fn choose(&self) -> Vec<Box<dyn Input>> {
        match self {
            Self::Paths(paths) => paths.iter().map(|path| choose(path)).collect(),
            Self::List(list) => vec![Box::new(list.clone())],
        }
    }
}

/// Something that images come from.
pub trait Input: Debug + Send + Sync {
    /// Whether it is a single image, whatever it holds.
    fn is_one(&self) -> bool {
        false
    }

    /// Whether all that it holds are tar shards, which a directory of outputs can repeat one by one; none if that is not known.
    fn is_sharded(&self) -> Option<bool> {
        Some(false)
    }

    /// The directory, of one that is a directory.
    fn directory(&self) -> Option<&Path> {
        None
    }

    /// The file that is read for it, beside its images' own, as far as that is known: a list, or what standard input was redirected from.
    fn file(&self) -> Option<&Path> {
        None
    }

    /// Whether some of what it holds are tar shards; none if that is not known.
    fn holds_shards(&self) -> Option<bool> {
        self.is_sharded()
    }

    /// How many places in a listing it takes; none if that is not known.
    fn places(&self) -> Option<usize> {
        Some(1)
    }

    /// Of one that is plainly not there, the [`Item`] that will fail; nothing is opened, since a pipe waits for its writer.
    ///
    /// # Errors
    /// As [`Input::images`].
    fn absent(&self) -> Result<Option<Item>, InputError> {
        Ok(None)
    }

    /// Its images.
    ///
    /// # Errors
    /// It cannot be opened. What cannot be read within it is an [`Item`] that fails.
    fn images(self: Box<Self>) -> Result<Images, InputError>;
}

/// The input that a path names: `-` is standard input, a tar if it was looked at and is one.
fn choose(path: &Path) -> Box<dyn Input> {
    match path {
        path if path.as_os_str() == "-" && stream::is_tar() => Box::new(Shard(path.to_owned())),
        path if path.as_os_str() == "-" => Box::new(Stdin),
        path if path.is_dir() => Box::new(Folder(path.to_owned())),
        path if crate::shard::is_shard(path) => Box::new(Shard(path.to_owned())),
        path => Box::new(File(path.to_owned())),
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
