//! One model's folder in the cache, laid out as Python's huggingface_hub lays it out, so that both find what either
//! has downloaded:
//!
//! ```text
//! <cache>/models--ORG--NAME/refs/main                    the commit that the branch stands for
//! <cache>/models--ORG--NAME/blobs/<etag>                 a file's bytes, named by the hub's ETag
//! <cache>/models--ORG--NAME/blobs/<etag>.incomplete      as much of it as has arrived
//! <cache>/models--ORG--NAME/snapshots/<commit>/<file>    a relative link to the blob
//! <cache>/models--ORG--NAME/.no_exist/<commit>/<file>    empty: the hub has no such file at that commit
//! <cache>/.locks/models--ORG--NAME/<etag>.lock           held while the blob is fetched
//! ```

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use super::{HubError, ModelId, Revision, names::is_file_name};
use crate::{bounded, model::LARGEST_INDEX};

/// A commit's hash, and a line break.
const LARGEST_REF: u64 = 1000;

/// What the cache knows of a file at a commit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cached {
    /// Here it is.
    Present(PathBuf),
    /// The hub has no such file at that commit.
    Absent,
    /// Nothing.
    Unknown,
}

/// One model's folder.
#[derive(Debug)]
pub(super) struct ModelCache {
    root: PathBuf,
    locks: PathBuf,
    symlinks: bool,
}

impl ModelCache {
    pub(super) fn new(cache: &Path, model: &ModelId, symlinks: bool) -> Self {
        // `repo_folder_name` in huggingface_hub/file_download.py.
        let folder = format!("models--{}", model.as_str().replace('/', "--"));
        Self { root: cache.join(&folder), locks: cache.join(".locks").join(folder), symlinks }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.root.join("blobs").join(etag)
    }

    pub(super) fn lock(&self, etag: &str) -> PathBuf {
        self.locks.join(format!("{etag}.lock"))
    }

    /// The commit that a revision stands for, as far as the cache knows.
    pub(super) fn commit(&self, revision: &Revision) -> Option<String> {
        if revision.is_commit() {
            return Some(revision.as_str().to_owned());
        }
        let commit =
            bounded::read_to_string(&self.root.join("refs").join(revision.as_str()), LARGEST_REF).ok()?;
        let commit = commit.trim();
        is_file_name(commit).then(|| commit.to_owned())
    }

    /// Looks a file up. A link whose blob is gone counts as unknown.
    pub(super) fn find(&self, commit: &str, file: &str) -> Cached {
        let path = self.snapshot(commit).join(file);
        if path.is_file() {
            Cached::Present(path)
        } else if self.no_exist(commit, file).is_file() {
            Cached::Absent
        } else {
            Cached::Unknown
        }
    }

    /// Remembers the commit that a branch or tag stands for.
    pub(super) fn remember_commit(&self, revision: &Revision, commit: &str) -> Result<(), HubError> {
        if revision.as_str() == commit || self.commit(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.root.join("refs").join(revision.as_str());
        let written =
            create_parent(&path).and_then(|_| self.place(&path, |temporary| fs::write(temporary, commit)));
        written.map_err(|source| HubError::Io { path, source })
    }

    /// Remembers that the hub has no such file at a commit.
    pub(super) fn remember_absent(&self, commit: &str, file: &str) -> Result<(), HubError> {
        let path = self.no_exist(commit, file);
        create_parent(&path)
            .and_then(|_| fs::OpenOptions::new().append(true).create(true).open(&path))
            .map(drop)
            .map_err(|source| HubError::Io { path, source })
    }

    /// Shows a blob as a file of a snapshot and gives its path there.
    pub(super) fn link(&self, etag: &str, commit: &str, file: &str) -> Result<PathBuf, HubError> {
        let pointer = self.snapshot(commit).join(file);
        let shown = create_parent(&pointer).and_then(|_| self.show(&self.blob(etag), &pointer));
        match shown {
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && pointer.is_file() => Ok(pointer),
            Err(source) => Err(HubError::Io { path: pointer, source }),
            Ok(()) => Ok(pointer),
        }
    }

    fn show(&self, blob: &Path, pointer: &Path) -> io::Result<()> {
        if pointer.is_file() {
            return Ok(());
        }
        if pointer.is_symlink() {
            // Its blob was deleted, or had another name.
            fs::remove_file(pointer)?;
        }
        if self.symlinks && symlink(&relative(blob, pointer), pointer).is_ok() {
            return Ok(());
        }
        // Windows lets only some users make symbolic links, and FAT has no links at all.
        fs::hard_link(blob, pointer)
            .or_else(|_| self.place(pointer, |temporary| fs::copy(blob, temporary).map(drop)))
    }

    /// Writes a file elsewhere and renames it into place, so that no one finds half of it.
    fn place(&self, path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let temporary = self.root.join(format!("{}-{count}.tmp", std::process::id()));
        let placed = write(&temporary).and_then(|()| fs::rename(&temporary, path));
        if placed.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        placed
    }

    fn no_exist(&self, commit: &str, file: &str) -> PathBuf {
        self.root.join(".no_exist").join(commit).join(file)
    }
}

/// What is plainly wrong with a cached file. Whether tensors hold together is for those to say who read them.
pub(super) fn damage(path: &Path) -> Option<String> {
    if path.extension().is_some_and(|extension| extension == "json") {
        let text = match bounded::read(path, LARGEST_INDEX) {
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => return Some(error.to_string()),
            read => read.ok()?,
        };
        let error = serde_json::from_slice::<serde::de::IgnoredAny>(&text).err()?;
        return Some(format!("not valid JSON: {error}"));
    }
    path.metadata().is_ok_and(|found| found.len() == 0).then(|| "empty".to_owned())
}

/// What a user can do about a damaged file of the cache, or `None` if `path` is no file of a snapshot.
pub fn refetch_hint(path: &Path) -> Option<String> {
    let names: Vec<_> = path.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    let snapshots = names.iter().rposition(|name| name == "snapshots")?;
    let is_snapshot =
        snapshots > 0 && names[snapshots - 1].starts_with("models--") && names.len() > snapshots + 2;
    if !is_snapshot {
        return None;
    }
    // Behind the link lies the blob; a link without one counts as absent.
    let blob = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    Some(format!("delete {} and run again to download it again", blob.display()))
}

/// `../../blobs/<etag>`: relative, so that the cache can be moved.
fn relative(blob: &Path, pointer: &Path) -> PathBuf {
    let root = blob.parent().and_then(Path::parent).unwrap_or(Path::new(""));
    let below = pointer.strip_prefix(root).unwrap_or(pointer);
    let up = below.components().skip(1).map(|_| "..").collect::<PathBuf>();
    up.join(blob.strip_prefix(root).unwrap_or(blob))
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}

pub(super) fn create_parent(path: &Path) -> io::Result<&Path> {
    let parent = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    Ok(parent)
}
