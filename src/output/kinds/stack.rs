//! Rows of one `.npy`, in order, beside it an index that says which image each row is, and a manifest.

use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Asked, Claim};
use crate::bounded::read_piece;
use crate::output::{
    Array, Contents, Dtype, Format, Metadata, OutputError, OutputFile,
    format::{npy, safetensors::Entry},
    manifest::Manifest,
    parts::{Held, Layout, Names, Placed, file_name},
};

pub(super) fn claim(asked: &Asked) -> Claim {
    asked.many(Format::Npy, &Stack)
}

#[derive(Debug)]
struct Stack;

/// A longer line of the index is none of ours.
const LONGEST_ROW: usize = 1 << 20;

/// A row of the index.
#[derive(Serialize, Deserialize)]
struct Row {
    /// The file, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shard: Option<String>,
    row: usize,
    path: String,
}

impl Layout for Stack {
    fn check(&self, path: &Path, contents: &Contents) -> Result<(), OutputError> {
        match contents.tensors.len() {
            1 => Ok(()),
            tensors => Err(OutputError::OneTensor { path: path.to_owned(), tensors }),
        }
    }

    fn room(&self, _names: &Names, _contents: &Contents, _planned: &[&Path]) -> usize {
        0
    }

    fn data_start(&self, _room: usize) -> u64 {
        npy::STACK_HEADER as u64
    }

    fn room_before(&self, _start: u64) -> usize {
        0
    }

    /// A row has no leading dimension of 1: that is where the stack grows.
    fn entry(&self, key: &str, array: &Array, _several: bool) -> Entry {
        let row = array.shape.strip_prefix(&[1]).unwrap_or(&array.shape);
        Entry { key: key.to_owned(), shape: row.to_vec() }
    }

    fn is_uniform(&self) -> bool {
        true
    }

    fn header(
        &self,
        entries: &[Entry],
        dtype: Dtype,
        _metadata: &Metadata,
        _start: usize,
    ) -> io::Result<Vec<u8>> {
        let row = entries.first().map(|entry| entry.shape.as_slice()).unwrap_or_default();
        npy::stack_header(entries.len(), row, dtype)
    }

    fn beside(&self, names: &Names) -> Vec<PathBuf> {
        vec![names.index(), names.manifest()]
    }

    fn check_beside(&self, names: &Names) -> Result<(), OutputError> {
        Manifest::read(&names.manifest()).map(drop)
    }

    fn write_index(
        &self,
        names: &Names,
        contents: &Contents,
        files: &[PathBuf],
        images: &[Placed<'_>],
    ) -> Result<Vec<OutputFile>, OutputError> {
        let index = OutputFile::create_in_tree(&names.index())?.write(|writer| {
            let (mut current, mut row) = (0, 0);
            for &Placed { shard, key, .. } in images {
                if shard != current {
                    (current, row) = (shard, 0);
                }
                let file = (files.len() > 1).then(|| file_name(&files[shard]));
                serde_json::to_writer(&mut *writer, &Row { shard: file, row, path: key.to_owned() })?;
                writeln!(writer)?;
                row += 1;
            }
            Ok(())
        })?;
        let manifest = Manifest { settings: contents.settings.clone() }.prepare(&names.manifest())?;
        Ok(vec![index, manifest])
    }

    fn line_bytes(&self, key: usize, _tensors: usize) -> usize {
        r#"{"row":0,"path":""}"#.len() + 1 + key
    }

    fn indexed(&self, index: &Path) -> Result<Vec<PathBuf>, OutputError> {
        Ok(read_index(index)?.into_iter().filter_map(|row| row.shard).map(PathBuf::from).collect())
    }

    fn held(&self, names: &Names, files: &[PathBuf], _contents: &Contents) -> Result<Vec<Held>, OutputError> {
        let mut held = Vec::new();
        let rows = read_index(&names.index())?;
        for file in files {
            let io_error = |source| OutputError::Io { path: file.clone(), source };
            let row = npy::row_shape(file).map_err(io_error)?;
            let is_here = |found: &&Row| match &found.shard {
                Some(shard) => file_name(file) == *shard,
                None => *file == names.path,
            };
            let entry = |found: &Row| {
                let entry = Entry { key: found.path.clone(), shape: row.clone() };
                (found.path.clone(), vec![entry])
            };
            let images = rows.iter().filter(is_here).map(entry).collect();
            held.push(Held { start: npy::STACK_HEADER as u64, images });
        }
        Ok(held)
    }

    fn read(
        &self,
        names: &Names,
        files: &[PathBuf],
        contents: &Contents,
    ) -> Result<HashSet<String>, OutputError> {
        let unknown = |reason: String| OutputError::Taken { path: names.path.clone(), reason };
        let manifest = Manifest::read(&names.manifest())?
            .ok_or_else(|| unknown("exists, and no manifest beside it says how it was made".into()))?;
        manifest.check(&contents.settings, &names.path)?;
        let mut keys = HashSet::new();
        // A file of which the index says nothing has no rows.
        let mut rows: BTreeMap<PathBuf, usize> = files.iter().map(|file| (file.clone(), 0)).collect();
        for row in read_index(&names.index())? {
            let file = row.shard.map_or(names.path.clone(), |shard| names.path.with_file_name(shard));
            *rows.entry(file).or_default() += 1;
            keys.insert(row.path);
        }
        for (file, rows) in rows {
            let io_error = |source| OutputError::Io { path: file.clone(), source };
            if !npy::is_stack(&file, rows).map_err(io_error)? {
                let reason = "is not the stack that its index speaks of".into();
                return Err(OutputError::Taken { path: file, reason });
            }
        }
        Ok(keys)
    }
}

fn read_index(path: &Path) -> Result<Vec<Row>, OutputError> {
    let io_error = |source| OutputError::Io { path: path.to_owned(), source };
    let mut file = BufReader::new(File::open(path).map_err(io_error)?);
    let mut rows = Vec::new();
    while let Some(line) = read_piece(&mut file, b'\n', LONGEST_ROW).map_err(io_error)? {
        let row = serde_json::from_slice(&line.bytes).map_err(|error| OutputError::Taken {
            path: path.to_owned(),
            reason: format!("is no index of ours: {error}"),
        })?;
        rows.push(row);
    }
    Ok(rows)
}
