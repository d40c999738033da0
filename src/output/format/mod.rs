//! How the bytes of a file are laid out: one file for each format.

mod dtype;
pub(super) mod npy;
pub(super) mod safetensors;

use std::{
    io::{self, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{Content, Metadata};

pub use dtype::Dtype;

/// The format of a file.
///
/// ```
/// use std::path::Path;
///
/// use clip_features::Format;
///
/// assert_eq!(Format::of_path(Path::new("features.safetensors")), Some(Format::Safetensors));
/// assert_eq!(Format::of_path(Path::new("features.pt")), None); // no pickles
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Format {
    /// NumPy's `.npy`, one array.
    Npy,
    /// `.safetensors`, named tensors and metadata.
    Safetensors,
    /// `.tar`, samples as WebDataset lays them out.
    Tar,
    /// `.png`, a picture that is drawn.
    Png,
}

impl Format {
    /// The formats of tensors.
    pub const OF_TENSORS: [Self; 3] = [Self::Npy, Self::Safetensors, Self::Tar];

    /// The name, which is the extension too.
    pub fn name(self) -> &'static str {
        match self {
            Self::Npy => "npy",
            Self::Safetensors => "safetensors",
            Self::Tar => "tar",
            Self::Png => "png",
        }
    }

    /// The format that a file's extension names.
    pub fn of_path(path: &Path) -> Option<Self> {
        let extension = path.extension()?;
        let is_named = |format: &Self| match format {
            Self::Png => extension.eq_ignore_ascii_case(format.name()),
            format => extension == format.name(),
        };
        Self::OF_TENSORS.into_iter().chain([Self::Png]).find(is_named)
    }

    /// Writes one image as a whole file. An `.npy` holds one tensor, and has no room for `metadata`; several make several files, one
    /// after the other, as `numpy.load` reads them in turn.
    ///
    /// # Errors
    /// `writer` fails.
    #[doc(hidden)]
    pub fn write(
        self,
        writer: &mut dyn Write,
        content: Content<'_>,
        dtype: Dtype,
        metadata: &Metadata,
    ) -> io::Result<()> {
        match (self, content) {
            (_, Content::Picture(bytes)) => writer.write_all(bytes),
            (Self::Safetensors, Content::Tensors(arrays)) => {
                safetensors::write(writer, arrays, dtype, metadata)
            }
            (_, Content::Tensors(arrays)) => {
                arrays.iter().try_for_each(|array| npy::write(writer, array, dtype))
            }
        }
    }
}
