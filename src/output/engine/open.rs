//! Opening a place of many images for a run.

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Engine, group::Group};
use crate::output::{
    Contents, OutputError, Planned,
    collection::{Collection, Way},
    disk::{Disk, Lock, hidden_sibling, is_there, parent},
    found::Found,
    manifest::{FileState, Line, Manifest, State},
    name::is_inside,
};

impl Engine {
    /// Opens it: puts in order what a killed run left, and begins the manifest where there is none. Started anew, it first loses what the
    /// old manifest lists.
    ///
    /// # Errors
    /// Another process writes there, or has written since it was looked at, or the disk is full or fails.
    pub(in crate::output) fn open(
        disk: Disk,
        found: Arc<Found>,
        contents: &Contents,
        planned: Planned,
    ) -> Result<Self, OutputError> {
        let collection = found.collection.clone();
        let io_error = |source| OutputError::Io { path: collection.path.clone(), source };
        if collection.is_directory() {
            disk.make_root(&collection.path).map_err(io_error)?;
        }
        let lock = Lock::take(&collection.lock(), &collection.path)?;
        let path = collection.manifest();
        let busy = || OutputError::Busy { path: collection.path.clone() };
        let begin = || {
            let head = found.read().head.clone();
            Manifest::begin(&disk, &path, &Line::Manifest(head)).map_err(io_error)
        };
        let manifest = if contents.overwrite {
            clear(&disk, &collection)?;
            begin()?
        } else {
            if fs::metadata(&path).ok().map(|there| there.len()) != found.seen {
                return Err(busy());
            }
            put_in_order(&disk, &found).map_err(io_error)?;
            match found.seen {
                Some(_) => Manifest::go_on(&disk, &path, found.read().end).map_err(io_error)?,
                None => begin()?,
            }
        };
        let samples = samples(&found);
        let compute = contents.settings.get("compute").map(str::to_owned);
        let mut contents = contents.clone();
        if collection.layout().is_some() {
            // What files that images share say of themselves is the same on whichever machine they are begun and sealed.
            contents.settings = found.read().head.settings.clone();
        }
        Ok(Self {
            disk,
            found,
            planned,
            manifest,
            head: collection.layout().map_or(0, |layout| layout.head_bytes(&contents)),
            contents,
            begin: Some(Line::Begin { tool_version: env!("CARGO_PKG_VERSION").into(), compute }),
            group: Group::default(),
            made: Vec::new(),
            has_failed: false,
            growing: None,
            samples,
            staged: 0,
            _lock: lock,
        })
    }
}

/// What the images are called that are in tars already.
fn samples(found: &Found) -> HashSet<(usize, Box<str>)> {
    let state = found.read();
    let is_repeated = found.collection.way == Way::Repeated;
    let of_file = |(place, file): (usize, &FileState)| {
        let scope = if is_repeated { place } else { 0 };
        let names = file.held.iter().filter_map(|held| held.sample.clone());
        names.map(|name| (scope, name)).collect::<Vec<_>>()
    };
    state.files.iter().enumerate().flat_map(of_file).collect()
}

/// Gives files the names that they lack, and removes what is of no use.
fn put_in_order(disk: &Disk, found: &Found) -> std::io::Result<()> {
    for (from, to) in &found.unnamed {
        disk.rename(from, to)?;
        disk.sync_directory(parent(to))?;
    }
    for path in &found.leftovers {
        if *path == found.collection.staging() {
            disk.remove_directory(path)?;
        } else if *path != found.collection.lock() {
            disk.remove(path)?;
        }
    }
    Ok(())
}

/// Removes what the old manifests list, and them but for ours, which is replaced.
fn clear(disk: &Disk, collection: &Collection) -> Result<(), OutputError> {
    let io_error = |source| OutputError::Io { path: collection.path.clone(), source };
    let mut directories = BTreeSet::new();
    let mut remove = |path: PathBuf| {
        if disk.remove(&path).map_err(io_error)? {
            directories.insert(parent(&path).to_owned());
        }
        Ok::<(), OutputError>(())
    };
    let own = collection.manifest();
    let manifests = collection.manifests()?;
    // Parts of a job may be writing there; before anything is removed.
    let others = manifests.iter().filter(|manifest| **manifest != own);
    let locks = others.map(|manifest| Lock::take(&hidden_sibling(manifest, ".lock"), &collection.path));
    let _locks = locks.collect::<Result<Vec<_>, _>>()?;
    for manifest in manifests {
        let read = State::read(&manifest);
        let is_strange = matches!(read, Err(OutputError::Taken { .. }));
        match read {
            Ok(Some(state)) => {
                for name in state.names() {
                    collection.listed(name).map_or(Ok(()), &mut remove)?;
                }
                state.next.iter().try_for_each(|name| remove(collection.partial(name, 1)))?;
                for file in &state.files {
                    (1..=file.generation + 1)
                        .try_for_each(|generation| remove(collection.partial(&file.name, generation)))?;
                }
            }
            Err(error @ OutputError::Io { .. }) => return Err(error),
            // It lists nothing.
            Ok(None) | Err(_) => {}
        }
        if manifest != own && !is_strange {
            remove(manifest)?;
        }
    }
    collection.probes().try_for_each(&mut remove)?;
    directories.iter().try_for_each(|directory| disk.sync_directory(directory)).map_err(io_error)?;
    disk.remove_directory(&collection.staging()).map_err(io_error)
}

impl Collection {
    /// A file that a manifest lists, if it is one, and lies where the manifest does or below: anybody can have written that.
    pub(in crate::output) fn listed(&self, name: &str) -> Option<PathBuf> {
        let path = Path::new(name);
        let above = path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
        let is_straight = above.map(|above| self.base().join(above)).all(|above| !above.is_symlink());
        let file = self.file(name);
        (is_inside(name) && is_straight && is_there(&file) && !file.is_dir()).then_some(file)
    }
}
