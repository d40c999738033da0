//! Tensors → bytes that the Python ecosystem opens, in files that are whole or absent.

mod atomic;
mod dtype;
mod error;
mod metadata;
mod npy;
mod safetensors;

pub use atomic::OutputFile;
pub use dtype::Dtype;
pub use error::OutputError;
pub use metadata::Metadata;

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

    /// Writes one tensor as a whole file of this format. An `.npy` has no room for `metadata`.
    ///
    /// # Errors
    /// `writer` fails.
    pub fn write(
        self,
        writer: &mut dyn Write,
        array: &Array,
        dtype: Dtype,
        metadata: &Metadata,
    ) -> io::Result<()> {
        match self {
            Self::Npy => npy::write(writer, array, dtype),
            Self::Safetensors => safetensors::write(writer, array, dtype, metadata),
        }
    }
}
