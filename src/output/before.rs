//! What stands in the place of one image's file, and may be replaced by it unasked: features of the same kind, which the same command
//! made before, or an empty file.

use std::{collections::BTreeMap, fs::File, io::Read, path::Path};

use serde::Deserialize;

use super::{
    Contents, Format, Metadata, OutputError, TensorSpec,
    format::{npy, safetensors},
    found::owner_of,
};

/// A header of one image's tensors is no longer.
const LONGEST_HEADER: u64 = 1 << 20;

const OF_MANY: &str = "holds several images, and the manifest that speaks of them is not beside it";

/// Refuses a file that is no array, or no tensors, of the shapes, the type and the settings that are to be written.
///
/// # Errors
/// As said, or it is one of those that a manifest lists.
pub(super) fn check_before(
    path: &Path,
    format: Format,
    tensors: &[TensorSpec],
    contents: &Contents,
) -> Result<(), OutputError> {
    let taken = |reason: String| OutputError::Taken { path: path.to_owned(), reason };
    if let Some(directory) = owner_of(path) {
        let reason = format!("is an output of another run, as the manifest in {} says", directory.display());
        return Err(taken(reason));
    }
    // What is no regular file, such as a pipe, is written to rather than replaced.
    if !path.is_file() {
        return Ok(());
    }
    // What cannot be read is nobody's.
    let Ok(mut file) = File::open(path) else { return Ok(()) };
    let length = file.metadata().map_or(0, |found| found.len());
    match (format, tensors) {
        _ if length == 0 => Ok(()),
        (Format::Npy, [tensor]) => {
            let mut start = Vec::new();
            let _ = file.take(npy::HEADER as u64).read_to_end(&mut start); // what is short is no array
            match npy::begins_as(&start, tensor.shape.as_deref(), contents.dtype) {
                true => Ok(()),
                false if npy::rows(&start).is_some_and(|rows| rows > 1) => Err(taken(OF_MANY.into())),
                false => Err(taken(format!("exists, and is no array of {}", described(tensor, contents)))),
            }
        }
        (Format::Safetensors, tensors) => {
            let header = header(&mut file);
            let header = header.ok_or_else(|| taken("exists, and is no .safetensors of one image".into()))?;
            if header.metadata.get("path").is_none() {
                let is_ours = header.metadata.get("tool") == Some(env!("CARGO_PKG_NAME"));
                let reason = if is_ours { OF_MANY } else { "exists, and was not made here" };
                return Err(taken(reason.into()));
            }
            header.metadata.of(&contents.settings).check(&contents.settings, path)?;
            let differs = |tensor: &&TensorSpec| !header.has(tensor, contents);
            match tensors.iter().find(differs) {
                Some(tensor) => Err(taken(format!("exists, and holds no {}", described(tensor, contents)))),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// `last_hidden_state [1, 257, 1024] f32`
fn described(tensor: &TensorSpec, contents: &Contents) -> String {
    let shape = tensor.shape.as_ref().map(|shape| format!(" {shape:?}")).unwrap_or_default();
    format!("{}{shape} {}", tensor.name, contents.dtype.name())
}

/// The header of a `.safetensors`.
#[derive(Deserialize)]
struct Header {
    #[serde(rename = "__metadata__", default)]
    metadata: Metadata,
    #[serde(flatten)]
    tensors: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
}

impl Header {
    fn has(&self, tensor: &TensorSpec, contents: &Contents) -> bool {
        self.tensors.get(&tensor.name).is_some_and(|found| {
            found.dtype == safetensors::name(contents.dtype)
                && tensor.shape.as_ref().is_none_or(|shape| *shape == found.shape)
        })
    }
}

/// None of what is no such file.
fn header(file: &mut File) -> Option<Header> {
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    let length = u64::from_le_bytes(length);
    let mut text = Vec::new();
    file.take(length.min(LONGEST_HEADER)).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}
