//! Safetensors on disk: one file or several shards, read tensor by tensor.
//!
//! Tensors are read with positioned reads, not through a memory map: a mapped page counts as the process's
//! memory beside the copy that the tower keeps, and a file that is cut short while mapped kills the process.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use half::{bf16, f16, slice::HalfFloatSliceExt};
use rayon::prelude::*;
use safetensors::{Dtype, tensor::Metadata};
use serde::Deserialize;

use super::names::{Names, Scope, is_of_the_tower};
use crate::model::error::ModelError;

/// The opened files of a checkpoint and the place of each vision tensor in them.
#[derive(Debug)]
pub struct Checkpoint {
    /// The file or index that was opened, for messages.
    path: PathBuf,
    files: Vec<(PathBuf, File)>,
    /// Vision tensors by their name in a full CLIPModel.
    pub(in crate::model) tensors: BTreeMap<String, Entry>,
    /// How the files spell the names.
    names: Names,
    /// Of a tower that is another checkpoint: what was opened, and how it spells names.
    tower: Option<(PathBuf, Names)>,
}

/// Where a tensor lies.
#[derive(Debug)]
pub(in crate::model) struct Entry {
    file: usize,
    pub(in crate::model) dtype: Dtype,
    pub(in crate::model) shape: Vec<usize>,
    offset: u64,
    pub(in crate::model) len: u64,
}

impl Checkpoint {
    /// Opens `model.safetensors` or, where `path` ends in `.json`, the shards that the index names.
    ///
    /// Of the tensors only the headers are read. Shards without a tensor in `scope` are not opened.
    ///
    /// # Errors
    /// A file is missing, its header is corrupt, or it is shorter than its header says.
    pub fn open(path: &Path, scope: Scope) -> Result<Self, ModelError> {
        let (files, names) = (Vec::new(), Names::default());
        let mut checkpoint =
            Self { path: path.to_owned(), files, tensors: BTreeMap::new(), names, tower: None };
        let mut tensors = BTreeMap::new();
        if path.extension().is_some_and(|extension| extension == "json") {
            for shard in vision_shards(path, scope)? {
                checkpoint.add_file(shard, &mut tensors)?;
            }
        } else {
            checkpoint.add_file(path.to_owned(), &mut tensors)?;
        }
        checkpoint.names = Names::of(tensors.keys(), scope);
        for (name, entry) in tensors {
            if let Some(name) = checkpoint.names.canonical(&name) {
                checkpoint.tensors.insert(name, entry);
            }
        }
        Ok(checkpoint)
    }

    /// The same with another checkpoint's tower, unless it holds a tower itself.
    ///
    /// # Errors
    /// Those of `open`.
    pub(in crate::model) fn or_tower(
        mut self,
        open: impl FnOnce() -> Result<Self, ModelError>,
    ) -> Result<Self, ModelError> {
        if self.tensors.keys().any(|name| is_of_the_tower(name)) {
            return Ok(self);
        }
        let other = open()?;
        let first = self.files.len();
        for (name, entry) in other.tensors.into_iter().filter(|(name, _)| is_of_the_tower(name)) {
            self.tensors.insert(name, Entry { file: first + entry.file, ..entry });
        }
        self.files.extend(other.files);
        self.tower = Some((other.path, other.names));
        Ok(self)
    }

    /// Whether there is such a tensor; `name` is spelled as in a full CLIPModel.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Reads a tensor of the expected shape, in row-major order, widened to float32. All threads do: a cached file is
    /// copied at memory speed, which one core does not reach.
    ///
    /// # Errors
    /// The tensor is missing, has another shape, is no float of 16 or 32 bits, or cannot be read.
    pub fn read(&self, name: &str, expected: &[usize]) -> Result<Vec<f32>, ModelError> {
        const CHUNK: usize = 1 << 18;
        let entry = self.find(name, expected)?;
        let mut values = vec![0f32; expected.iter().product()];
        let chunks = values.par_chunks_mut(CHUNK).enumerate();
        chunks.try_for_each(|(chunk, values)| self.read_elements(entry, chunk * CHUNK, values))?;
        Ok(values)
    }

    /// The tensor of the expected shape.
    pub(in crate::model) fn find(&self, name: &str, expected: &[usize]) -> Result<&Entry, ModelError> {
        let (path, names) = match &self.tower {
            Some((path, names)) if is_of_the_tower(name) => (path, names),
            _ => (&self.path, &self.names),
        };
        let tensor = || names.spell(name);
        let Some(entry) = self.tensors.get(name) else {
            let (path, expected) = (path.clone(), expected.to_vec());
            return Err(ModelError::MissingTensor { path, tensor: tensor(), expected });
        };
        let path = || self.files[entry.file].0.clone();
        if entry.shape != expected {
            let (expected, found) = (expected.to_vec(), entry.shape.clone());
            return Err(ModelError::TensorShape { path: path(), tensor: tensor(), expected, found });
        }
        match entry.dtype {
            Dtype::F32 | Dtype::F16 | Dtype::BF16 => Ok(entry),
            other => {
                Err(ModelError::TensorDtype { path: path(), tensor: tensor(), dtype: other.to_string() })
            }
        }
    }

    /// Reads as many of a tensor's elements as there is room for, from the one at `first` on.
    pub(in crate::model) fn read_elements(
        &self,
        entry: &Entry,
        first: usize,
        into: &mut [f32],
    ) -> Result<(), ModelError> {
        let start = first as u64 * (entry.dtype.bitsize() / 8) as u64;
        if entry.dtype == Dtype::F32 {
            self.read_raw(entry, start, bytemuck::cast_slice_mut(into))?;
            into.iter_mut().for_each(|value| *value = f32::from_bits(u32::from_le(value.to_bits())));
            return Ok(());
        }
        let mut bits = vec![0u16; into.len()];
        self.read_raw(entry, start, bytemuck::cast_slice_mut(&mut bits))?;
        bits.iter_mut().for_each(|bits| *bits = u16::from_le(*bits));
        match entry.dtype {
            Dtype::BF16 => bytemuck::cast_slice::<u16, bf16>(&bits).convert_to_f32_slice(into),
            _ => bytemuck::cast_slice::<u16, f16>(&bits).convert_to_f32_slice(into),
        }
        Ok(())
    }

    /// Reads raw bytes of a tensor, from `start` within it.
    pub(in crate::model) fn read_raw(
        &self,
        entry: &Entry,
        start: u64,
        buffer: &mut [u8],
    ) -> Result<(), ModelError> {
        let (path, file) = &self.files[entry.file];
        read_exact_at(file, buffer, entry.offset + start)
            .map_err(|source| ModelError::Io { path: path.clone(), source })
    }

    fn add_file(&mut self, path: PathBuf, tensors: &mut BTreeMap<String, Entry>) -> Result<(), ModelError> {
        let file = File::open(&path).map_err(|source| ModelError::Io { path: path.clone(), source })?;
        let (metadata, data_start) = read_header(&file, &path)?;
        for (name, info) in metadata.tensors() {
            let (start, end) = info.data_offsets;
            let entry = Entry {
                file: self.files.len(),
                dtype: info.dtype,
                shape: info.shape.clone(),
                offset: data_start + start as u64,
                len: (end - start) as u64,
            };
            tensors.insert(name, entry);
        }
        self.files.push((path, file));
        Ok(())
    }
}

/// The header and the offset at which the tensors begin.
fn read_header(file: &File, path: &Path) -> Result<(Metadata, u64), ModelError> {
    let corrupt = |reason: String| ModelError::Corrupt { path: path.to_owned(), reason };
    let io_error = |source| ModelError::Io { path: path.to_owned(), source };
    /// The format's own limit.
    const LARGEST_HEADER: u64 = 100_000_000;
    let kind = file.metadata().map_err(io_error)?;
    if !kind.is_file() {
        return Err(corrupt("not a regular file".into()));
    }
    let file_len = kind.len();
    let mut len = [0u8; 8];
    if file_len < 8 {
        return Err(corrupt(format!("{file_len} bytes are too few for a safetensors file")));
    }
    read_exact_at(file, &mut len, 0).map_err(io_error)?;
    let len = u64::from_le_bytes(len);
    if len > LARGEST_HEADER || len > file_len - 8 {
        return Err(corrupt(format!(
            "not a safetensors file, or a damaged one: it announces a header of {len} bytes"
        )));
    }
    let mut header = vec![0u8; len as usize];
    read_exact_at(file, &mut header, 8).map_err(io_error)?;
    // Deserializing checks that offsets are contiguous and fit the shapes.
    let metadata: Metadata = serde_json::from_slice(&header)
        .map_err(|error| corrupt(format!("corrupt safetensors header: {error}")))?;
    let expected = 8 + len + metadata.data_len() as u64;
    if expected != file_len {
        return Err(corrupt(format!(
            "{} safetensors file: {file_len} bytes, its header says {expected}",
            if file_len < expected { "truncated" } else { "overlong" }
        )));
    }
    Ok((metadata, 8 + len))
}

/// The shards of an index (`model.safetensors.index.json`) that hold tensors in `scope`, in order.
///
/// # Errors
/// The index cannot be read, or names files that do not lie beside it.
pub fn vision_shards(path: &Path, scope: Scope) -> Result<Vec<PathBuf>, ModelError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let text =
        std::fs::read_to_string(path).map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
    let corrupt = |reason: String| ModelError::Corrupt { path: path.to_owned(), reason };
    let index: Index =
        serde_json::from_str(&text).map_err(|error| corrupt(format!("not an index of shards: {error}")))?;
    let spelling = Names::of(index.weight_map.keys(), scope);
    let mut names: Vec<&String> = index
        .weight_map
        .iter()
        .filter(|(name, _)| spelling.canonical(name).is_some())
        .map(|(_, file)| file)
        .collect();
    names.sort_unstable();
    names.dedup();
    let directory = path.parent().unwrap_or(Path::new(""));
    names
        .into_iter()
        .map(|name| match Path::new(name).file_name() {
            // Shards lie beside their index; a name with a directory in it would read elsewhere.
            Some(file_name) if file_name == name.as_str() => Ok(directory.join(name)),
            _ => Err(corrupt(format!("shard name {name:?} is not a plain file name"))),
        })
        .collect()
}

#[cfg(unix)]
fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buffer, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                buffer = &mut buffer[read..];
                offset += read as u64;
            }
        }
    }
    Ok(())
}
