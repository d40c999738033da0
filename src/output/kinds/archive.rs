//! Named tensors in one `.safetensors`, or in shards of it with an index as the hub writes it.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt,
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, Visitor},
};
use serde_json::json;

use super::{Asked, Claim};
use crate::output::{
    Array, Contents, Dtype, Format, Metadata, OutputError, OutputFile,
    format::safetensors::{self, ALIGNMENT, Entry},
    manifest::Manifest,
    parts::{Held, Layout, Names, Placed, file_name, sign_of_many},
};

pub(super) fn claim(asked: &Asked) -> Claim {
    asked.many(Format::Safetensors, &Archive)
}

#[derive(Debug)]
struct Archive;

impl Layout for Archive {
    fn check(&self, _path: &Path, _contents: &Contents) -> Result<(), OutputError> {
        Ok(())
    }

    /// For each tensor of each image its key, escaped as JSON, and a line of types, sizes and offsets. Images that are not
    /// known in advance get a megabyte, or what so many take as a file of limited size can hold; a header that outgrows its room costs a
    /// copy of the file.
    fn room(&self, names: &Names, contents: &Contents, planned: &[&Path]) -> usize {
        const LINE: usize = 160;
        const FIXED: usize = 16 << 10;
        const UNKNOWN: usize = 1 << 20;
        /// Longer than most paths.
        const PATH: usize = 128;
        let split = contents.split();
        let tensors = split.len().max(1);
        let tensor = split.iter().map(|tensor| tensor.len()).max().unwrap_or(0);
        if planned.is_empty() {
            let (Some(image), Some(shard)) = (contents.image_bytes(), names.shard_size) else {
                return UNKNOWN;
            };
            let most = (shard / image.max(1)) as usize + 1;
            let room = FIXED.saturating_add(most.saturating_mul(tensors * (2 * PATH + tensor + LINE)));
            return room.min(UNKNOWN).next_multiple_of(ALIGNMENT);
        }
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

    fn room_before(&self, start: u64) -> usize {
        start.saturating_sub(8) as usize
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
    ) -> Result<Vec<OutputFile>, OutputError> {
        if files.len() == 1 {
            return Ok(Vec::new());
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
        let index =
            OutputFile::create_in_tree(&names.index())?.write(|writer| writeln!(writer, "{index:#}"))?;
        Ok(vec![index])
    }

    fn line_bytes(&self, key: usize, tensors: usize) -> usize {
        tensors * (r#""":{"dtype":"F32","shape":[],"data_offsets":[0,0]}"#.len() + key)
    }

    fn indexed(&self, index: &Path) -> Result<Vec<PathBuf>, OutputError> {
        let io_error = |source| OutputError::Io { path: index.to_owned(), source };
        let file = BufReader::new(File::open(index).map_err(io_error)?);
        let found: Index = serde_json::from_reader(file).map_err(|error| OutputError::Taken {
            path: index.to_owned(),
            reason: format!("is no index of ours: {error}"),
        })?;
        Ok(found.weight_map.0.into_iter().collect())
    }

    fn held(&self, names: &Names, files: &[PathBuf], contents: &Contents) -> Result<Vec<Held>, OutputError> {
        let split = contents.split();
        let unknown = || OutputError::Taken {
            path: names.path.clone(),
            reason: "is an archive whose tensors do not lie as they are laid here".into(),
        };
        files
            .iter()
            .map(|file| {
                let (start, tensors) = read_tensors(file).ok_or_else(unknown)?;
                let mut images: Vec<(String, Vec<Entry>)> = Vec::new();
                let mut end = 0;
                for (key, Tensor { shape, data_offsets: [from, to] }) in tensors {
                    let entry = Entry { key, shape };
                    if from != end || to != from.saturating_add(entry.bytes(contents.dtype)) {
                        return Err(unknown());
                    }
                    end = to;
                    match split.first() {
                        None => images.push((entry.key.clone(), vec![entry])),
                        // Of several tensors the first one begins an image.
                        Some(first) => {
                            match entry.key.strip_suffix(first).and_then(|key| key.strip_suffix('/')) {
                                Some(key) => images.push((key.to_owned(), vec![entry])),
                                None => images.last_mut().ok_or_else(unknown)?.1.push(entry),
                            }
                        }
                    }
                }
                Ok(Held { start, images })
            })
            .collect()
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
            let taken = |reason: &str| OutputError::Taken { path: file.clone(), reason: reason.into() };
            let damaged = || OutputError::Damaged {
                path: file.clone(),
                reason: "its tensors do not end where the file does".into(),
            };
            let Some(Header { settings, tensors, end }) = read_header(file) else {
                let is_cut = is_cut(file).unwrap_or(false);
                let stranger = || taken("exists, and is not a safetensors file that was made here");
                return Err(if is_cut { damaged() } else { stranger() });
            };
            if settings.get("path").is_some() {
                return Err(taken("holds one image, and is no archive"));
            }
            Manifest { settings }.check(&contents.settings, &names.path)?;
            // Whatever is called complete must be there to read.
            if file.metadata().map_or(0, |file| file.len()) != end {
                return Err(damaged());
            }
            // Of several tensors the last one tells that its image is complete.
            keys.extend(tensors.into_iter().filter_map(|key| match split.last() {
                None => Some(key),
                Some(tensor) => Some(key.strip_suffix(tensor)?.strip_suffix('/')?.to_owned()),
            }));
        }
        Ok(keys)
    }
}

/// Whether many images are at a path in one file, or in its parts, finished or begun.
pub(super) fn holds_many(path: &Path) -> bool {
    sign_of_many(path) || Format::of_path(path) == Some(Format::Safetensors) && is_archive(path)
}

/// Whether a file is an archive that was made here: unlike one image's, its metadata name no picture.
fn is_archive(path: &Path) -> bool {
    let settings = read_header(path).map(|header| header.settings).unwrap_or_default();
    settings.get("tool") == Some(env!("CARGO_PKG_NAME")) && settings.get("path").is_none()
}

/// Whether a file ends before its header says, or within it. Something else of that name is not cut.
pub(super) fn is_cut(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let Some(start) = header_length(&mut file).map(|header| 8 + header) else { return Ok(length < 8) };
    if length < start {
        return Ok(true);
    }
    // Faster than as a stream, which a directory of a million files is worth.
    let mut header = Vec::new();
    file.take(start - 8).read_to_end(&mut header)?;
    let header = serde_json::from_slice(&header);
    Ok(header.is_ok_and(|header: Header| length < start.saturating_add(header.end)))
}

/// The header of a safetensors file; none if there is no such thing.
fn read_header(path: &Path) -> Option<Header> {
    let mut file = File::open(path).ok()?;
    let length = header_length(&mut file)?;
    let mut header: Header = serde_json::from_reader(BufReader::new(file.take(length))).ok()?;
    header.end = header.end.saturating_add(8 + length);
    Some(header)
}

/// Where a tensor lies, and its shape.
#[derive(Deserialize)]
struct Tensor {
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

/// Where the tensors of a safetensors file begin, and what they are, in the order in which they lie; none if there is no such file.
fn read_tensors(path: &Path) -> Option<(u64, Vec<(String, Tensor)>)> {
    let mut file = File::open(path).ok()?;
    let length = header_length(&mut file)?;
    let mut entries: BTreeMap<String, serde_json::Value> =
        serde_json::from_reader(BufReader::new(file.take(length))).ok()?;
    entries.remove("__metadata__");
    let tensor = |(key, value)| Some((key, serde_json::from_value(value).ok()?));
    let mut tensors: Vec<(String, Tensor)> = entries.into_iter().map(tensor).collect::<Option<_>>()?;
    tensors.sort_by_key(|(_, tensor)| tensor.data_offsets);
    Some((8 + length, tensors))
}

/// The length of the header that follows; none if there is none.
fn header_length(file: &mut File) -> Option<u64> {
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    // The format's own limit; a file of another kind could announce anything.
    Some(u64::from_le_bytes(length)).filter(|&length| length <= 100_000_000)
}

/// What is of interest in the header of an archive, which may be of a million tensors.
#[derive(Default)]
struct Header {
    settings: Metadata,
    tensors: Vec<String>,
    /// The length of the file, by its tensors' offsets.
    end: u64,
}

/// Where a tensor lies.
#[derive(Deserialize)]
struct Extent {
    data_offsets: [u64; 2],
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("the header of a safetensors file")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut entries: M) -> Result<Header, M::Error> {
                let mut header = Header::default();
                while let Some(key) = entries.next_key::<String>()? {
                    if key == "__metadata__" {
                        header.settings = entries.next_value()?;
                    } else {
                        let Extent { data_offsets: [_, end] } = entries.next_value()?;
                        header.end = header.end.max(end);
                        header.tensors.push(key);
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// An index, of which only the files are of interest.
#[derive(Deserialize)]
struct Index {
    weight_map: Files,
}

/// The values of a map, each once: few, where the map has an entry for each tensor.
struct Files(BTreeSet<PathBuf>);

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values;
        impl<'de> Visitor<'de> for Values {
            type Value = Files;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map from tensors to files")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut entries: M) -> Result<Files, M::Error> {
                let mut files = BTreeSet::new();
                while let Some((IgnoredAny, file)) = entries.next_entry()? {
                    files.insert(file);
                    if files.len() > MOST_FILES {
                        return Err(de::Error::custom(format!("it names more than {MOST_FILES} files")));
                    }
                }
                Ok(Files(files))
            }
        }
        deserializer.deserialize_map(Values)
    }
}

/// The names of shards have room for so many.
const MOST_FILES: usize = 99_999;
