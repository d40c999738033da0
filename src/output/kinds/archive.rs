//! Named tensors in one `.safetensors`, or in shards of it with an index as the hub writes it.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Asked, Claim};
use crate::output::{
    Array, Contents, Destination, Dtype, Format, Metadata, OutputError, OutputFile,
    format::safetensors::{self, ALIGNMENT, Entry},
    manifest::Manifest,
    parts::{Layout, Many, Names, Placed, file_name, remove},
};

pub(super) fn claim(asked: &Asked) -> Claim {
    let names = |path: PathBuf| Names { path, format: Format::Safetensors, shard_size: asked.shard_size };
    let many = |path| Box::new(Many { names: names(path), layout: &Archive }) as Box<dyn Destination>;
    Some(asked.many(Format::Safetensors)?.map(many))
}

#[derive(Debug)]
struct Archive;

impl Layout for Archive {
    fn check(&self, _path: &Path, _contents: &Contents) -> Result<(), OutputError> {
        Ok(())
    }

    /// For each tensor of each image its key, escaped as JSON, and a line of types, sizes and offsets. Images that are not
    /// known in advance get a megabyte; a header that outgrows its room costs a copy of the file.
    fn room(&self, names: &Names, contents: &Contents, planned: &[&Path]) -> usize {
        const LINE: usize = 160;
        const FIXED: usize = 16 << 10;
        const UNKNOWN: usize = 1 << 20;
        if planned.is_empty() {
            return UNKNOWN;
        }
        let split = contents.split();
        let tensors = split.len().max(1);
        let tensor = split.iter().map(|tensor| tensor.len()).max().unwrap_or(0);
        let lines = planned.iter().map(|name| tensors * (2 * name.as_os_str().len() + tensor + LINE));
        let room = match (contents.image_bytes(), names.shard_size) {
            (Some(image), Some(shard)) => {
                let most = (shard / image.max(1)) as usize + 1;
                lines.clone().sum::<usize>().min(lines.max().unwrap_or(0).saturating_mul(most))
            }
            _ => lines.sum(),
        };
        (FIXED + room).next_multiple_of(ALIGNMENT)
    }

    fn data_start(&self, room: usize) -> u64 {
        8 + room as u64
    }

    /// Under its image's key, and, where an image has several, its own name below that.
    fn entry(&self, key: &str, array: &Array, several: bool) -> Entry {
        let key = if several { format!("{key}/{}", array.name) } else { key.to_owned() };
        Entry { key, shape: array.shape.clone() }
    }

    fn is_uniform(&self) -> bool {
        false
    }

    fn header(
        &self,
        entries: &[Entry],
        dtype: Dtype,
        metadata: &Metadata,
        start: usize,
    ) -> io::Result<Vec<u8>> {
        let text = safetensors::header_text(entries, dtype, metadata);
        let room = text.len().next_multiple_of(ALIGNMENT).max(start - 8);
        Ok(safetensors::frame(&text, room))
    }

    fn write_index(
        &self,
        names: &Names,
        contents: &Contents,
        files: &[PathBuf],
        images: &[Placed<'_>],
    ) -> Result<(), OutputError> {
        if files.len() == 1 {
            // Of an older archive that had shards.
            let removed = remove(&names.index());
            return removed.map_err(|source| OutputError::Io { path: names.path.clone(), source });
        }
        let mut weight_map = BTreeMap::new();
        let mut total_size = 0;
        for &Placed { shard, entries, .. } in images {
            for entry in entries {
                total_size += entry.bytes(contents.dtype);
                weight_map.insert(entry.key.clone(), file_name(&files[shard]));
            }
        }
        let index = json!({"metadata": {"total_size": total_size}, "weight_map": weight_map});
        OutputFile::create_in_tree(&names.index())?.commit(|writer| writeln!(writer, "{index:#}"))
    }

    fn indexed(&self, index: &Path) -> Result<Vec<PathBuf>, OutputError> {
        #[derive(Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, PathBuf>,
        }
        let text = fs::read(index).map_err(|source| OutputError::Io { path: index.to_owned(), source })?;
        let index: Index = serde_json::from_slice(&text).map_err(|error| OutputError::Taken {
            path: index.to_owned(),
            reason: format!("is no index of ours: {error}"),
        })?;
        Ok(index.weight_map.into_values().collect())
    }

    fn read(
        &self,
        names: &Names,
        files: &[PathBuf],
        contents: &Contents,
    ) -> Result<HashSet<String>, OutputError> {
        let split = contents.split();
        let mut keys = HashSet::new();
        for file in files {
            let mut header = read_header(file).ok_or_else(|| OutputError::Taken {
                path: names.path.clone(),
                reason: "exists, and is not a safetensors file that was made here".into(),
            })?;
            let metadata = header.remove("__metadata__").unwrap_or_default();
            let settings: Metadata = serde_json::from_value(metadata).unwrap_or_default();
            Manifest { settings }.check(&contents.settings, &names.path)?;
            // Of several tensors the last one tells that its image is complete.
            keys.extend(header.into_iter().filter_map(|(key, _)| match split.last() {
                None => Some(key),
                Some(tensor) => Some(key.strip_suffix(tensor)?.strip_suffix('/')?.to_owned()),
            }));
        }
        Ok(keys)
    }
}

/// The header of a safetensors file; none if there is no such thing.
fn read_header(path: &Path) -> Option<Map<String, Value>> {
    let mut file = File::open(path).ok()?;
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    let mut text = Vec::new();
    // The format's own limit; a file of another kind could announce anything.
    let length = Some(u64::from_le_bytes(length)).filter(|&length| length <= 100_000_000)?;
    file.take(length).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}
