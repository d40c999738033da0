//! A manifest held against the disk.

use std::{
    convert::Infallible,
    fs,
    path::{Path, PathBuf},
};

use super::{
    OutputError,
    collection::{Collection, Way},
    layout::Layout,
    manifest::{FileState, OnDisk, State},
};

/// Compares a manifest with the disk: what is begun and lost is void. Gives the files that are whole and lack their names.
pub(super) fn settle(
    collection: &Collection,
    state: &mut State,
) -> Result<Vec<(PathBuf, PathBuf)>, OutputError> {
    let mut unnamed = Vec::new();
    for place in 0..state.files.len() {
        let file = &state.files[place];
        let (path, partial) = (collection.file(&file.name), collection.partial(&file.name, file.generation));
        if let Some(limit) =
            collection.layout().map(Layout::largest_start).filter(|&limit| file.start > limit)
        {
            let reason = format!(
                "{} is said to begin with {} bytes, and none has more than {limit}",
                file.name, file.start
            );
            return Err(OutputError::Damaged { path: collection.manifest(), reason });
        }
        let there = length_of_file(&partial);
        let Ok(found) = file
            .on_disk(length_of_file(&path), there, |there| Ok::<_, Infallible>(whole_entries(file, there)));
        if let OnDisk::Grows(whole) = found {
            if whole < file.held.len() {
                state.void(place, whole);
                state.files[place].is_torn = true;
            }
            continue;
        }
        state.give_up(place);
        let sealed = state.files[place].sealed;
        match found {
            OnDisk::Grows(_) | OnDisk::Whole => {}
            OnDisk::Unnamed => unnamed.push((partial, path)),
            OnDisk::Lost => lose(state, place),
            // One tar of many is made again, as a file of one image is.
            OnDisk::Altered(_) if there != sealed && collection.way == Way::Repeated => lose(state, place),
            OnDisk::Altered(length) => {
                let manifest = collection.manifest();
                let sealed = sealed.unwrap_or_default();
                let reason = format!("it has {length} bytes, and {} says {sealed}", manifest.display());
                return Err(OutputError::Damaged { path, reason });
            }
        }
    }
    Ok(unnamed)
}

/// Forgets a file and what it held.
fn lose(state: &mut State, place: usize) {
    state.void(place, 0);
    state.files[place].sealed = None;
}

/// How many of a file's entries are whole where it has so many bytes.
fn whole_entries(file: &FileState, there: u64) -> usize {
    let mut end = file.start;
    file.held
        .iter()
        .take_while(|held| {
            end = end.saturating_add(held.length);
            end <= there
        })
        .count()
}

pub(super) fn length(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|found| found.len())
}

/// The length of a file that is no link.
pub(super) fn length_of_file(path: &Path) -> Option<u64> {
    fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file).map(|found| found.len())
}
