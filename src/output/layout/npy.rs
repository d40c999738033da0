//! Rows of one `.npy`, in order. Which image each row is, the manifest says.

use std::path::Path;

use super::Layout;
use crate::output::{Contents, Image, OutputError, format::npy::HEADER, manifest::Held};

#[derive(Debug)]
pub(super) struct Stack;

impl Layout for Stack {
    fn check(&self, path: &Path, contents: &Contents) -> Result<(), OutputError> {
        match contents.tensors.len() {
            1 => Ok(()),
            tensors => {
                let reason = format!(
                    "a stack holds one tensor of an image, and {tensors} are asked for\n\
                     hint: write .safetensors, or into a directory"
                );
                Err(OutputError::refused(path, reason))
            }
        }
    }

    fn head_bytes(&self, _contents: &Contents) -> u64 {
        HEADER as u64
    }

    /// A row has no leading dimension of 1: that is where the stack grows.
    fn shape<'a>(&self, shape: &'a [usize]) -> &'a [usize] {
        shape.strip_prefix(&[1]).unwrap_or(shape)
    }

    /// All rows have one shape.
    fn admits(&self, first: Option<&Held>, image: &Image<'_>, _name: &str) -> Result<(), String> {
        let found = image.content.tensors().first().map(|array| self.shape(&array.shape)).unwrap_or_default();
        match first.map(|held| &*held.shapes[0]) {
            Some(row) if row != found => Err(format!(
                "{} has shape {found:?}, the rows before have {row:?}; \
                 .safetensors, .tar and a directory hold tensors of several shapes",
                image.key
            )),
            _ => Ok(()),
        }
    }
}
