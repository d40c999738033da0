//! Safetensors on disk: one file or several shards, read tensor by tensor.
//!
//! Tensors are read with positioned reads, not through a memory map: a mapped page counts as the process's
//! memory beside the copy that the tower keeps, and a file that is cut short while mapped kills the process.

use std::{
    collections::{BTreeMap, btree_map},
    fs::File,
    io,
    path::{Path, PathBuf},
};

use half::{bf16, f16, slice::HalfFloatSliceExt};
use rayon::prelude::*;
use safetensors::Dtype;

use super::{
    element::Element,
    entry::{Entry, Part, Stored},
    header::read_header,
    names::{Names, Scope, is_of_the_tower},
    shards::shards_of,
    spelling::{Form, transpose},
};
use crate::{
    bounded::{self, excerpt},
    model::{error::ModelError, index::weight_map},
    read_at::read_exact_at,
};

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
    /// Where none of the names is the tower's, how they begin.
    strange: Option<String>,
    /// The first name of a change to a weight, of a checkpoint that has such: an adapter, or a model that was not merged with its own.
    change: Option<String>,
}

impl Checkpoint {
    /// Opens `model.safetensors` or, where `path` ends in `.json`, the shards that the index names.
    ///
    /// Of the tensors only the headers are read. Shards without a tensor in `scope` are not opened.
    ///
    /// # Errors
    /// A file is missing, its header is corrupt, or it is shorter than its header says.
    pub fn open(path: &Path, scope: Scope) -> Result<Self, ModelError> {
        let (files, names) = (Vec::new(), Names::of(std::iter::empty(), scope));
        let mut checkpoint = Self {
            path: path.to_owned(),
            files,
            tensors: BTreeMap::new(),
            names,
            tower: None,
            strange: None,
            change: None,
        };
        let mut tensors = BTreeMap::new();
        if path.extension().is_some_and(|extension| extension == "json") {
            let map = weight_map(path)?;
            for shard in shards_of(path, &map, scope)? {
                if !shard.exists() {
                    return Err(no_shard(path, &shard));
                }
                checkpoint.add_file(shard, &mut tensors)?;
            }
            checkpoint.strange = common_beginning(map.keys());
            checkpoint.change = map.keys().find(|name| is_change(name)).map(|name| excerpt(name));
        } else {
            checkpoint.add_file(path.to_owned(), &mut tensors)?;
            checkpoint.strange = common_beginning(tensors.keys());
            checkpoint.change = tensors.keys().find(|name| is_change(name)).map(|name| excerpt(name));
        }
        checkpoint.names = Names::of(tensors.keys(), scope);
        for (name, stored) in tensors {
            for (name, form) in checkpoint.names.in_tower(&name) {
                let entry = Entry::new(stored.clone(), form);
                match checkpoint.tensors.entry(name) {
                    btree_map::Entry::Vacant(place) => drop(place.insert(entry)),
                    btree_map::Entry::Occupied(mut place) => place.get_mut().join(entry),
                }
            }
        }
        if checkpoint.has_tower() {
            checkpoint.strange = None;
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
        if self.has_tower() {
            return Ok(self);
        }
        let other = open()?;
        let first = self.files.len();
        for (name, entry) in other.tensors.into_iter().filter(|(name, _)| is_of_the_tower(name)) {
            self.tensors.insert(name, entry.after(first));
        }
        self.files.extend(other.files);
        self.tower = Some((other.path, other.names));
        (self.strange, self.change) = (other.strange, other.change);
        Ok(self)
    }

    /// Whether any of its tensors is a vision tower's.
    pub(in crate::model) fn has_tower(&self) -> bool {
        self.tensors.keys().any(|name| is_of_the_tower(name))
    }

    /// What was opened for a tensor, and how it spells names.
    fn origin(&self, name: &str) -> (&Path, &Names) {
        match &self.tower {
            Some((path, names)) if is_of_the_tower(name) => (path, names),
            _ => (&self.path, &self.names),
        }
    }

    /// Whether there is such a tensor; `name` is spelled as in a full CLIPModel.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// What the files call a tensor; the first of several that it lies in.
    pub(in crate::model) fn spell(&self, name: &str) -> String {
        self.origin(name).1.in_files(name).swap_remove(0).0
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
        let (path, names) = self.origin(name);
        let entry = self.tensors.get(name);
        for (tensor, form) in names.in_files(name) {
            let expected = form.in_file(expected);
            let Some(Part { stored, .. }) = entry.and_then(|entry| entry.part(form)) else {
                let path = path.to_owned();
                return Err(match (&self.change, &self.strange) {
                    (Some(change), _) => ModelError::Adapter { path, tensor, change: change.clone() },
                    (None, Some(names)) if is_of_the_tower(name) => {
                        ModelError::NoTower { path, tensor, names: names.clone() }
                    }
                    _ => ModelError::MissingTensor { path, tensor, expected },
                });
            };
            let path = || self.files[stored.file].0.clone();
            if stored.shape != expected {
                let found = stored.shape.clone();
                return Err(ModelError::TensorShape { path: path(), tensor, expected, found });
            }
            if !matches!(stored.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
                let dtype = stored.dtype.to_string();
                return Err(ModelError::TensorDtype { path: path(), tensor, dtype });
            }
        }
        Ok(entry.expect("a tensor lies somewhere"))
    }

    /// Reads as many of a tensor's elements as there is room for, from the one at `first` on, widened to float32.
    pub(in crate::model) fn read_elements(
        &self,
        entry: &Entry,
        first: usize,
        into: &mut [f32],
    ) -> Result<(), ModelError> {
        fn halves<T: Element>(
            checkpoint: &Checkpoint,
            part: &Part,
            start: u64,
            count: usize,
        ) -> Result<Vec<T>, ModelError> {
            let mut values = vec![T::zeroed(); count];
            checkpoint.read_floats(part, start, &mut values)?;
            Ok(values)
        }
        self.read_parts(entry, first, into, |part, start, into| match part.stored.dtype {
            Dtype::F32 => self.read_floats(part, start, into),
            Dtype::BF16 => {
                halves::<bf16>(self, part, start, into.len())?.convert_to_f32_slice(into);
                Ok(())
            }
            _ => {
                halves::<f16>(self, part, start, into.len())?.convert_to_f32_slice(into);
                Ok(())
            }
        })
    }

    /// The same of a tensor that is stored in this type, as it is.
    pub(super) fn read_stored<T: Element>(
        &self,
        entry: &Entry,
        first: usize,
        into: &mut [T],
    ) -> Result<(), ModelError> {
        self.read_parts(entry, first, into, |part, start, into| self.read_floats(part, start, into))
    }

    /// Reads as many of a tensor's elements as there is room for, from the one at `first` on, by what reads a part from a byte on.
    fn read_parts<T>(
        &self,
        entry: &Entry,
        first: usize,
        into: &mut [T],
        read: impl Fn(&Part, u64, &mut [T]) -> Result<(), ModelError>,
    ) -> Result<(), ModelError> {
        let size = |part: &Part| (part.stored.dtype.bitsize() / 8) as u64;
        let elements = |part: &Part| (part.bytes().end - part.bytes().start) / size(part);
        let mut rest = into;
        for (part, here) in entry.over(first as u64..(first + rest.len()) as u64, elements) {
            let (values, others) = rest.split_at_mut((here.end - here.start) as usize);
            read(part, here.start * size(part), values)?;
            rest = others;
        }
        Ok(())
    }

    /// Reads as many of a part's elements as there is room for, from the byte `start` on.
    fn read_floats<T: Element>(&self, part: &Part, start: u64, into: &mut [T]) -> Result<(), ModelError> {
        self.read_part(part, start, bytemuck::cast_slice_mut(into))?;
        into.iter_mut().for_each(|value| *value = T::from_le(*value));
        if T::all_finite(into) {
            return Ok(());
        }
        Err(ModelError::NotFinite {
            path: self.files[part.stored.file].0.clone(),
            tensor: part.stored.name.clone(),
        })
    }

    /// Reads raw bytes of a tensor, from `start` within it.
    pub(in crate::model) fn read_raw(
        &self,
        entry: &Entry,
        start: u64,
        buffer: &mut [u8],
    ) -> Result<(), ModelError> {
        let mut rest = buffer;
        let bytes = |part: &Part| part.bytes().end - part.bytes().start;
        for (part, here) in entry.over(start..start + rest.len() as u64, bytes) {
            let (buffer, others) = rest.split_at_mut((here.end - here.start) as usize);
            self.read_part(part, here.start, buffer)?;
            rest = others;
        }
        Ok(())
    }

    /// Reads raw bytes of a part, from `start` within it.
    fn read_part(&self, part: &Part, start: u64, buffer: &mut [u8]) -> Result<(), ModelError> {
        let stored = &part.stored;
        let (path, file) = &self.files[stored.file];
        let io_error = |source: io::Error| match source.kind() {
            // It was as long as its header says when it was opened.
            io::ErrorKind::UnexpectedEof => {
                ModelError::Cut { path: path.clone(), tensor: stored.name.clone() }
            }
            _ => ModelError::Io { path: path.clone(), source },
        };
        let size = stored.dtype.bitsize() / 8;
        let (Form::Transposed, &[rows, columns], 1..) = (part.form, stored.shape.as_slice(), size) else {
            let start = stored.offset + part.bytes().start + start;
            return read_exact_at(file, buffer, start).map_err(io_error);
        };
        // Small, and not to be had otherwise.
        if part.transposed.get().is_none() {
            let mut bytes = vec![0; stored.len as usize];
            read_exact_at(file, &mut bytes, stored.offset).map_err(io_error)?;
            let _ = part.transposed.set(transpose(&bytes, [rows, columns], size));
        }
        let bytes = part.transposed.get().expect("just set, by this thread or another");
        buffer.copy_from_slice(&bytes[start as usize..start as usize + buffer.len()]);
        Ok(())
    }

    fn add_file(&mut self, path: PathBuf, tensors: &mut BTreeMap<String, Stored>) -> Result<(), ModelError> {
        let file = bounded::open(&path).map_err(|source| ModelError::Io { path: path.clone(), source })?;
        let (metadata, data_start) = read_header(&file, &path)?;
        for (name, info) in metadata.tensors() {
            let (start, end) = info.data_offsets;
            let stored = Stored {
                file: self.files.len(),
                name: name.clone(),
                dtype: info.dtype,
                shape: info.shape.clone(),
                offset: data_start + start as u64,
                len: (end - start) as u64,
            };
            tensors.insert(name, stored);
        }
        self.files.push((path, file));
        Ok(())
    }
}

fn no_shard(index: &Path, shard: &Path) -> ModelError {
    let name = shard.file_name().unwrap_or_default().to_string_lossy();
    ModelError::NotACheckpoint {
        path: index.to_owned(),
        reason: format!("says that tensors are in {name}, which is not there"),
        hint: "put it beside the index, where all of its shards belong".into(),
    }
}

/// Whether a tensor is one by which PEFT changes a weight, or a weight that it changes.
fn is_change(name: &str) -> bool {
    name.contains(".lora_") || name.contains(".base_layer.")
}

/// The modules that all names begin with, or the first name where there are none; nothing where there are no names.
fn common_beginning<'a>(mut names: impl Iterator<Item = &'a String>) -> Option<String> {
    let first = names.next()?;
    let modules = |name: &str| name.rfind('.').map_or(0, |end| end + 1);
    let mut shared = &first[..modules(first)];
    for name in names {
        while !name.starts_with(shared) {
            shared = &shared[..modules(&shared[..shared.len() - 1])];
        }
    }
    Some(excerpt(if shared.is_empty() { first } else { shared }))
}
