//! A manifest held against the disk.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    OutputError,
    collection::{Collection, Way},
    layout::Layout,
    manifest::{FileState, State},
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
        if let Some(before) = file.grows_from {
            let there = length_of_file(&partial).unwrap_or(0);
            let whole = whole_entries(file, there);
            if there >= file.start && whole >= before {
                if whole < file.held.len() {
                    state.void(place, whole);
                    state.files[place].is_torn = true;
                }
                continue;
            }
            // What grew is gone; what had the name before is as it was.
            state.give_up(place);
        }
        let file = &state.files[place];
        match (file.sealed, length_of_file(&path)) {
            (Some(length), Some(found)) if found == length => {}
            (Some(length), None) if length_of_file(&partial) == Some(length) => unnamed.push((partial, path)),
            (Some(length), Some(found)) => {
                // It has its line, and waits for its name, which another has: the one that it replaces, or somebody else's.
                let waits = length_of_file(&partial) == Some(length);
                if waits && file.replaced == Some(found) {
                    unnamed.push((partial, path));
                    continue;
                }
                if !waits && collection.way == Way::Repeated {
                    // One tar of many is made again, as a file of one image is.
                    lose(state, place);
                    continue;
                }
                let reason =
                    format!("it has {found} bytes, and {} says {length}", collection.manifest().display());
                return Err(OutputError::Damaged { path, reason });
            }
            _ => lose(state, place),
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
