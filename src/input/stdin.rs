//! The bytes of one image on standard input.

use std::path::Path;

use super::{Images, Input, InputError, Item, source::STDIN};

/// Standard input, as one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stdin;

impl Input for Stdin {
    fn is_one(&self) -> bool {
        true
    }

    fn file(&self) -> Option<&Path> {
        Some(Path::new(STDIN))
    }

    fn images(self: Box<Self>) -> Result<Images, InputError> {
        Ok(Images::one(Item::stdin()))
    }
}
