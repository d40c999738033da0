//! One file.

use std::path::PathBuf;

use super::{Images, Input, InputError, Item};

/// A file, whatever its name, which need not exist: then its image fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File(pub(super) PathBuf);

impl Input for File {
    fn is_one(&self) -> bool {
        true
    }

    fn absent(&self) -> Result<Option<Item>, InputError> {
        Ok(Item::absent(&self.0))
    }

    fn images(self: Box<Self>) -> Result<Images, InputError> {
        Ok(Images::one(Item::file(self.0)))
    }
}
