//! Tensors → bytes that the Python ecosystem opens, in files that are whole or absent.

mod archive;
mod archive_names;
mod dtype;
mod error;
mod file;
mod finished;
mod journal;
mod ledger;
mod manifest;
mod metadata;
mod name;
mod npy;
mod resume;
mod safetensors;
mod shard;
mod space;
mod tree;

pub use archive::Archive;
pub use archive_names::ArchiveNames;
pub use dtype::Dtype;
pub use error::OutputError;
pub use file::OutputFile;
pub use metadata::Metadata;
pub use name::key;
pub use space::free_space;
pub use tree::{Tree, TreeNames};

use std::{
    io::{self, Write},
    path::Path,
};

/// One tensor to write, in float32 as it was computed.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Its name, the key in a safetensors file.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements, in row-major order.
    pub values: Vec<f32>,
}

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// NumPy's `.npy`, one array.
    Npy,
    /// `.safetensors`, named tensors and metadata.
    Safetensors,
}

impl Format {
    /// The format that a file's extension names.
    pub fn of_path(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "npy" => Some(Self::Npy),
            "safetensors" => Some(Self::Safetensors),
            _ => None,
        }
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
