//! Manifests held against the disk.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{FeaturesError, files::Open, followed::Manifest};
use crate::output::{EntryLine, Index, OnDisk};

/// A file of many entries, as it is read; of single images none is kept.
#[derive(Debug, Default)]
pub(super) struct DataFile {
    pub(super) path: PathBuf,
    /// Bytes before its entries.
    pub(super) start: u64,
    /// Bytes that it had, and when it was changed last, when it was opened.
    pub(super) length: u64,
    pub(super) modified: Option<SystemTime>,
    /// Whether it is whole.
    pub(super) is_whole: bool,
}

impl DataFile {
    fn of(found: &fs::Metadata, path: PathBuf, start: u64, is_whole: bool) -> Self {
        Self { path, start, length: found.len(), modified: found.modified().ok(), is_whole }
    }
}

/// Finds the files, and leaves out what is not complete.
///
/// # Errors
/// A file was cut, or something is missing and what is `unfinished` is not asked for.
pub(super) fn settle(
    index: &mut Index,
    manifests: &[Manifest],
    unfinished: bool,
) -> Result<Vec<DataFile>, FeaturesError> {
    let mut found = Vec::with_capacity(index.homes.len());
    for home in 0..index.homes.len() as u32 {
        let manifest = &manifests[index.homes[home as usize].manifest];
        found.push(match &index.homes[home as usize].file {
            Some(_) => on_disk(index, home, manifest, unfinished)?,
            None => DataFile::default(),
        });
    }
    if unfinished {
        retain_own(index, manifests)?;
    }
    Ok(found)
}

fn on_disk(
    index: &mut Index,
    home: u32,
    manifest: &Manifest,
    unfinished: bool,
) -> Result<DataFile, FeaturesError> {
    let Some(file) = &index.homes[home as usize].file else { return Ok(DataFile::default()) };
    let (start, sealed_start, before) = (file.start, file.sealed_start, file.grows_from);
    let sealed = file.sealed;
    let path = manifest.file(&file.name)?;
    let partial = manifest.collection.partial(&file.name, file.generation);
    let (named, beside) = (looked(&path), looked(&partial));
    let length = |looked: &Option<fs::Metadata>| looked.as_ref().map(fs::Metadata::len);
    let whole = |there| match beside {
        Some(_) => whole_entries(index, home, manifest, start, there),
        None => Ok(0),
    };
    let found = file.on_disk(length(&named), length(&beside), whole)?;
    // Of what grew and is gone, what had the name before is as it was.
    let keep = match found {
        OnDisk::Grows(whole) => whole,
        OnDisk::Lost => 0,
        OnDisk::Whole | OnDisk::Unnamed | OnDisk::Altered(_) => before.unwrap_or(usize::MAX),
    };
    index.void(home, keep);
    let reason = match (found, named, beside) {
        (OnDisk::Grows(_), _, Some(there)) => return Ok(DataFile::of(&there, partial, start, false)),
        (OnDisk::Whole, Some(there), _) => return Ok(DataFile::of(&there, path, sealed_start, true)),
        (OnDisk::Unnamed, _, Some(there)) if unfinished => {
            return Ok(DataFile::of(&there, partial, sealed_start, true));
        }
        (OnDisk::Lost | OnDisk::Grows(_), ..) if unfinished || sealed.is_none() => {
            return Ok(DataFile::default());
        }
        (_, Some(named), _) => {
            let said = sealed.unwrap_or_default();
            format!("it has {} bytes, and {} says {said}", named.len(), manifest.path.display())
        }
        (_, None, _) => format!("it is missing, and {} says that it is there", manifest.path.display()),
    };
    Err(FeaturesError::damaged(&path, reason))
}

/// How many of a file's entries are whole where it has so many bytes.
fn whole_entries(
    index: &Index,
    home: u32,
    manifest: &Manifest,
    start: u64,
    there: u64,
) -> Result<usize, FeaturesError> {
    let lines: Vec<EntryLine> = index.held(home).collect();
    let opened = Open::at(&manifest.path)?;
    // From the last one on, since few are cut off.
    for (place, line) in lines.iter().enumerate().rev() {
        let entry = line.read(&opened.file).map_err(FeaturesError::io(&manifest.path))?;
        let end =
            entry.at.first().map(|place| start.saturating_add(place.offset).saturating_add(place.length));
        if end.is_some_and(|end| end <= there) {
            return Ok(place + 1);
        }
    }
    Ok(0)
}

/// Leaves out images without their files, which a run that was killed has not given their names, or has not made yet.
fn retain_own(index: &mut Index, manifests: &[Manifest]) -> Result<(), FeaturesError> {
    let mut opened = Vec::with_capacity(manifests.len());
    for manifest in manifests {
        opened.push(if manifest.has_ended { None } else { Some(Open::at(&manifest.path)?.file) });
    }
    let own: Vec<Option<usize>> =
        index.homes.iter().map(|home| home.file.is_none().then_some(home.manifest)).collect();
    index.retain(|home, line| {
        let Some(manifest) = own[home as usize] else { return true };
        let Some(file) = &opened[manifest] else { return true };
        line.read(file).is_ok_and(|entry| {
            entry.at.iter().all(|place| {
                let path = manifests[manifest].file(&place.file).ok();
                path.and_then(|path| looked(&path)).is_some_and(|there| there.len() == place.length)
            })
        })
    });
    Ok(())
}

/// What the disk says of a file that is there.
fn looked(path: &Path) -> Option<fs::Metadata> {
    fs::metadata(path).ok().filter(fs::Metadata::is_file)
}
