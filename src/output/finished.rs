//! A finished archive: giving its files their names, and reading what it holds.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    Dtype, Format, Metadata, OutputError, OutputFile,
    archive_names::{ArchiveNames, file_name},
    file::{parent, sync_directory},
    journal::Line,
    manifest::Manifest,
    npy,
    resume::shard_path,
};

/// A row of a stack's index.
#[derive(Serialize, Deserialize)]
struct Row {
    /// The file, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shard: Option<String>,
    row: usize,
    path: String,
}

/// Renames sealed shards to their final names and writes the index. Can be repeated after a kill at any point.
pub(super) fn publish(
    names: &ArchiveNames,
    dtype: Dtype,
    settings: &Metadata,
    directory: &Path,
    lines: &[Line],
) -> Result<(), OutputError> {
    let io_error = |source| OutputError::Io { path: names.path.clone(), source };
    let count = lines.iter().filter(|line| matches!(line, Line::Sealed { .. })).count();
    let files = names.shards(count);
    let before = files_of(names)?;
    for (number, file) in files.iter().enumerate() {
        match fs::rename(shard_path(directory, number + 1), file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && file.exists() => {} // renamed before a kill
            renamed => renamed.map_err(io_error)?,
        }
    }
    match names.format {
        Format::Npy => {
            write_rows(names, &files, lines)?;
            Manifest { settings: settings.clone() }.write(&names.manifest())?;
        }
        Format::Safetensors if count > 1 => write_weight_map(names, dtype, &files, lines)?,
        Format::Safetensors => remove(&names.index()).map_err(io_error)?,
    }
    // What an older archive of the same name left: its other number of shards.
    for file in before.iter().filter(|file| !files.contains(file)) {
        remove(file).map_err(io_error)?;
    }
    sync_directory(parent(&names.path)).map_err(io_error)
}

/// Each image with its entries and its shard, counted from 0.
fn placed(lines: &[Line]) -> impl Iterator<Item = (usize, &Line)> {
    let mut shard = 0;
    lines.iter().filter_map(move |line| match line {
        Line::Sealed { .. } => {
            shard += 1;
            None
        }
        Line::Image { .. } => Some((shard, line)),
        _ => None,
    })
}

fn write_rows(names: &ArchiveNames, files: &[PathBuf], lines: &[Line]) -> Result<(), OutputError> {
    OutputFile::create_in_tree(&names.index())?.commit(|writer| {
        let (mut current, mut row) = (0, 0);
        for (shard, line) in placed(lines) {
            if shard != current {
                (current, row) = (shard, 0);
            }
            if let Line::Image { key, .. } = line {
                let file = (files.len() > 1).then(|| file_name(&files[shard]));
                serde_json::to_writer(&mut *writer, &Row { shard: file, row, path: key.clone() })?;
                writeln!(writer)?;
                row += 1;
            }
        }
        Ok(())
    })
}

fn write_weight_map(
    names: &ArchiveNames,
    dtype: Dtype,
    files: &[PathBuf],
    lines: &[Line],
) -> Result<(), OutputError> {
    let mut weight_map = BTreeMap::new();
    let mut total_size = 0;
    for (shard, line) in placed(lines) {
        if let Line::Image { tensors, .. } = line {
            for tensor in tensors {
                total_size += tensor.bytes(dtype);
                weight_map.insert(tensor.key.clone(), file_name(&files[shard]));
            }
        }
    }
    let index = json!({"metadata": {"total_size": total_size}, "weight_map": weight_map});
    OutputFile::create_in_tree(&names.index())?.commit(|writer| writeln!(writer, "{index:#}"))
}

/// The images' keys of a finished archive; none if there is no archive. One of other settings, or something else of that
/// name, is refused.
pub(super) fn read(
    names: &ArchiveNames,
    settings: &Metadata,
) -> Result<Option<HashSet<String>>, OutputError> {
    let files = files_of(names)?;
    if files.is_empty() {
        return Ok(None);
    }
    let unknown = |what: &str| OutputError::Taken { path: names.path.clone(), reason: what.into() };
    let mut keys = HashSet::new();
    match names.format {
        Format::Npy => {
            let manifest = Manifest::read(&names.manifest())?
                .ok_or_else(|| unknown("exists, and no manifest beside it says how it was made"))?;
            manifest.check(settings, &names.path)?;
            let mut rows: BTreeMap<PathBuf, usize> = BTreeMap::new();
            for row in read_index(&names.index())? {
                let file = row.shard.map_or(names.path.clone(), |shard| parent(&names.path).join(shard));
                *rows.entry(file).or_default() += 1;
                keys.insert(row.path);
            }
            for (file, rows) in rows {
                if !npy::is_stack(&file, rows)
                    .map_err(|source| OutputError::Io { path: file.clone(), source })?
                {
                    return Err(unknown(&format!(
                        "{} is not the stack that its index speaks of",
                        file.display()
                    )));
                }
            }
        }
        Format::Safetensors => {
            for file in &files {
                let mut header = read_header(file)
                    .ok_or_else(|| unknown("exists, and is not a safetensors file that was made here"))?;
                let metadata = header.remove("__metadata__").unwrap_or_default();
                let theirs: Metadata = serde_json::from_value(metadata).unwrap_or_default();
                Manifest { settings: theirs }.check(settings, &names.path)?;
                // Of several tensors the last one tells that its image is complete.
                keys.extend(header.into_iter().filter_map(|(key, _)| match names.split.last() {
                    None => Some(key),
                    Some(tensor) => Some(key.strip_suffix(tensor)?.strip_suffix('/')?.to_owned()),
                }));
            }
        }
    }
    Ok(Some(keys))
}

/// The files of the archive that is there now: the target, or what its index names.
fn files_of(names: &ArchiveNames) -> Result<Vec<PathBuf>, OutputError> {
    let index = names.index();
    let mut files: Vec<PathBuf> = match (names.format, index.is_file()) {
        (_, false) => Vec::new(),
        (Format::Npy, true) => {
            read_index(&index)?.into_iter().filter_map(|row| row.shard).map(PathBuf::from).collect()
        }
        (Format::Safetensors, true) => {
            #[derive(Deserialize)]
            struct Index {
                weight_map: BTreeMap<String, PathBuf>,
            }
            let text = fs::read(&index).map_err(|source| OutputError::Io { path: index.clone(), source })?;
            let index: Index = serde_json::from_slice(&text).map_err(|error| OutputError::Taken {
                path: index,
                reason: format!("is no index of ours: {error}"),
            })?;
            index.weight_map.into_values().collect()
        }
    };
    files.sort_unstable();
    files.dedup();
    // An index names files beside it; anything else is not ours to touch.
    files.retain(|file| file.file_name() == Some(file.as_os_str()));
    let mut files: Vec<PathBuf> = files.into_iter().map(|file| parent(&names.path).join(file)).collect();
    files.push(names.path.clone());
    files.retain(|file| file.exists());
    Ok(files)
}

fn read_index(path: &Path) -> Result<Vec<Row>, OutputError> {
    let io_error = |source| OutputError::Io { path: path.to_owned(), source };
    let file = BufReader::new(File::open(path).map_err(io_error)?);
    file.lines()
        .map(|line| serde_json::from_str(&line?).map_err(io::Error::other))
        .collect::<io::Result<_>>()
        .map_err(io_error)
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

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
