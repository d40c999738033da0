//! How tensors are laid out in bytes: one file for each format.

mod dtype;
pub(super) mod npy;
pub(super) mod safetensors;

use std::{
    io::{self, Write},
    path::Path,
};

use super::{Array, Metadata};

pub use dtype::Dtype;

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// NumPy's `.npy`, one array.
    Npy,
    /// `.safetensors`, named tensors and metadata.
    Safetensors,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Npy, Self::Safetensors];

    /// The name, which is the extension too.
    pub fn name(self) -> &'static str {
        match self {
            Self::Npy => "npy",
            Self::Safetensors => "safetensors",
        }
    }

    /// The format that a file's extension names.
    pub fn of_path(path: &Path) -> Option<Self> {
        let extension = path.extension()?;
        Self::ALL.into_iter().find(|format| extension == format.name())
    }

    /// Writes tensors as a whole file of this format. An `.npy` holds one, and has no room for `metadata`; several
    /// make several files, one after the other, as `numpy.load` reads them in turn.
    ///
    /// # Errors
    /// `writer` fails.
    pub fn write(
        self,
        writer: &mut dyn Write,
        arrays: &[Array],
        dtype: Dtype,
        metadata: &Metadata,
    ) -> io::Result<()> {
        match self {
            Self::Npy => arrays.iter().try_for_each(|array| npy::write(writer, array, dtype)),
            Self::Safetensors => safetensors::write(writer, arrays, dtype, metadata),
        }
    }
}
