//! Where images come from, one file for each kind of [`Input`], and the one place where they are chosen.
//!
//! An input gives [`Item`]s: a name for the output, and where the bytes are. Nothing here decodes a picture; a folder only looks at
//! first bytes to tell pictures from other files.

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

use std::{fmt::Debug, path::Path};

pub use distinct::{Distinct, Seen, distinct};
pub use file::File;
pub use folder::Folder;
pub use images::{Images, PassedOver, gather};
pub use item::Item;
pub use list::{List, Separator};
pub use no_list::NoList;
pub use shard::{Shard, expand};
pub use source::{InputError, Source, Stat};
pub use stdin::Stdin;
pub use stream::look_at_stdin;

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
pub fn choose(path: &Path) -> Box<dyn Input> {
    match path {
        path if path.as_os_str() == "-" && stream::is_tar() => Box::new(Shard(path.to_owned())),
        path if path.as_os_str() == "-" => Box::new(Stdin),
        path if path.is_dir() => Box::new(Folder(path.to_owned())),
        path if crate::shard::is_shard(path) => Box::new(Shard(path.to_owned())),
        path => Box::new(File(path.to_owned())),
    }
}
