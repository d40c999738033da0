//! A finished archive: giving its files their names, and finding them again.

use std::{
    collections::{BTreeSet, HashSet},
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    layout::{Layout, Placed},
    line::Line,
    names::{Names, file_name},
};
use crate::output::{
    Contents, Format, OutputError, OutputFile,
    disk::{parent, sync_directory},
};

/// Renames sealed shards to their final names and writes the index. Can be repeated after a kill at any point.
pub(super) fn publish(
    names: &Names,
    layout: &dyn Layout,
    contents: &Contents,
    lines: &[Line],
) -> Result<(), OutputError> {
    let io_error = |source| OutputError::Io { path: names.path.clone(), source };
    let count = lines.iter().filter(|line| matches!(line, Line::Sealed { .. })).count();
    let files = names.shards(count);
    let before = replaced(names, layout, contents, &files)?;
    // Ready beforehand, so that a kill has the least time to come between the renames. An older index is right of what was added to.
    let beside = layout.write_index(names, contents, &files, &placed(lines))?;
    for (number, file) in files.iter().enumerate() {
        match fs::rename(names.begun_shard(number + 1), file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && file.exists() => {} // renamed before a kill
            renamed => renamed.map_err(io_error)?,
        }
    }
    if beside.is_empty() {
        remove(&names.index()).map_err(io_error)?;
    }
    beside.into_iter().try_for_each(OutputFile::place)?;
    // What an older archive of the same name left: its other number of shards.
    for file in before.iter().filter(|file| !files.contains(file)) {
        remove(file).map_err(io_error)?;
    }
    sync_directory(parent(&names.path)).map_err(io_error)
}

/// The files that are here before those of a larger archive get their names, or were before a kill: then the index may no longer name
/// them, so they are noted down with the new ones first.
fn replaced(
    names: &Names,
    layout: &dyn Layout,
    contents: &Contents,
    new: &[PathBuf],
) -> Result<Vec<PathBuf>, OutputError> {
    let note = names.unfinished().join("replaced.json");
    let io_error = |source| OutputError::Io { path: names.path.clone(), source };
    let mut noted: BTreeSet<String> = match fs::read(&note) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| io_error(error.into()))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
        Err(error) => return Err(io_error(error)),
    };
    let there = match files_of(names, layout) {
        // An index that is no index speaks of no files, and is replaced itself.
        Err(OutputError::Taken { .. }) if contents.overwrite => Vec::new(),
        found => found?,
    };
    noted.extend(there.iter().chain(new).map(|file| file_name(file)));
    OutputFile::create_in_tree(&note)?
        .commit(|writer| serde_json::to_writer(writer, &noted).map_err(io::Error::from))?;
    Ok(beside(names, noted.into_iter().map(PathBuf::from).collect()))
}

/// Each image with its entries and its shard.
fn placed(lines: &[Line]) -> Vec<Placed<'_>> {
    let mut shard = 0;
    let mut images = Vec::new();
    for line in lines {
        match line {
            Line::Sealed { .. } => shard += 1,
            Line::Image { key, tensors, .. } => images.push(Placed { shard, key, entries: tensors }),
            _ => {}
        }
    }
    images
}

/// Refuses what would be replaced where no archive is, and is another's.
fn check_free(names: &Names, layout: &dyn Layout) -> Result<(), OutputError> {
    if let Some(path) = names.like_shards()?.into_iter().next() {
        let reason = format!("exists, and no {} says that it is ours", file_name(&names.index()));
        return Err(OutputError::Taken { path, reason });
    }
    layout.check_beside(names)
}

/// The images' keys of a finished archive; none if there is no archive. One of other settings, or something else of that
/// name, is refused.
pub(super) fn read(
    names: &Names,
    layout: &dyn Layout,
    contents: &Contents,
) -> Result<Option<HashSet<String>>, OutputError> {
    let files = files_of(names, layout)?;
    if files.is_empty() {
        return check_free(names, layout).map(|()| None);
    }
    let needs_index = names.format == Format::Npy || files.iter().any(|file| *file != names.path);
    if needs_index && !names.index().is_file() {
        return Err(OutputError::Taken {
            path: names.index(),
            reason: format!("is missing, and {} is there, which it should speak of", file_name(&files[0])),
        });
    }
    layout.read(names, &files, contents).map(Some)
}

/// The files of the archive that is there now: the target, or what its index names; where that is lost, what has the names of shards.
pub(super) fn files_of(names: &Names, layout: &dyn Layout) -> Result<Vec<PathBuf>, OutputError> {
    let index = names.index();
    let mut files = if index.is_file() { layout.indexed(&index)? } else { names.unlisted()? };
    files.sort_unstable();
    files.dedup();
    Ok(beside(names, files))
}

/// Of an archive's files, by their names, and its target those that are there.
fn beside(names: &Names, mut files: Vec<PathBuf>) -> Vec<PathBuf> {
    // An index names files beside it; anything else is not ours to touch.
    files.retain(|file| file.file_name() == Some(file.as_os_str()));
    // Spelled as the names of what is published: the two are compared.
    let mut files: Vec<PathBuf> = files.into_iter().map(|file| names.path.with_file_name(file)).collect();
    if !files.contains(&names.path) {
        files.push(names.path.clone());
    }
    files.retain(|file| file.exists());
    files
}

/// Removes a file, if there is one.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
