//! The only room that changes files: what is written, synced, named and removed goes through a [`Disk`].
//!
//! A test can watch a disk, and let any of its operations fail: what a power cut could leave behind is made from the record.

mod file;
mod lock;
mod place;
mod probe;
mod space;
#[cfg(test)]
pub(super) mod testing;
mod watch;
mod whole;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom},
    path::{Component, Path},
};

pub(super) use file::DiskFile;
pub(super) use lock::Lock;
pub(super) use place::{check_way, end_of_links, hidden_sibling, is_there};
pub(crate) use place::{parent, place_of, whole_path};
pub(super) use probe::{PROBE, probe_sibling, probe_tree};
pub use space::{free_space, readable_size};
use watch::Watch;
pub(crate) use whole::OutputFile;

use super::OutputError;

/// The file system, as outputs change it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    watch: Watch,
}

impl Disk {
    /// A disk that is watched.
    #[cfg(test)]
    pub(super) fn watched(recorder: std::sync::Arc<testing::Recorder>) -> Self {
        Self { watch: Watch { recorder: Some(recorder) } }
    }

    /// Makes a file of ours, empty. What has its name is removed first: a link leads nowhere, and another name of the file keeps its bytes.
    pub(super) fn create(&self, path: &Path) -> io::Result<DiskFile> {
        self.remove(path)?;
        self.watch.create(path)?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(DiskFile::new(file, path, 0, self.watch.clone()))
    }

    /// Opens a file of ours to go on after its first `length` bytes; what lies behind is cut off.
    ///
    /// # Errors
    /// A link is there, or no regular file, or the system refuses.
    pub(super) fn reopen(&self, path: &Path, length: u64) -> io::Result<DiskFile> {
        let found = fs::symlink_metadata(path)?;
        if !found.is_file() {
            return Err(in_the_way(path));
        }
        if has_other_names(&found) {
            self.separate(path)?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        // What takes the name meanwhile.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let mut file = options.open(path)?;
        let is_longer = file.metadata()?.len() > length;
        file.seek(SeekFrom::Start(length))?;
        let file = DiskFile::new(file, path, length, self.watch.clone());
        if is_longer {
            file.set_len(length)?;
        }
        Ok(file)
    }

    /// Puts a copy in the place of a file that has another name too, as a backup made of links gives it.
    fn separate(&self, path: &Path) -> io::Result<()> {
        let copy = hidden_sibling(path, ".own");
        let mut to = self.create(&copy)?;
        io::copy(&mut File::open(path)?, &mut to)?;
        to.sync()?;
        self.rename(&copy, path)
    }

    /// Gives a file another name, in the place of what has it.
    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.watch.rename(from, to)?;
        fs::rename(from, to)
    }

    /// Removes a file, if there is one; says whether.
    pub(super) fn remove(&self, path: &Path) -> io::Result<bool> {
        // To look first is cheaper than to be refused, and asks nothing of a disk that is only read.
        if fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Ok(false);
        }
        self.watch.remove(path)?;
        match fs::remove_file(path) {
            // Another process may have been quicker.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            removed => removed.map(|()| true),
        }
    }

    /// Makes a directory where there is none.
    ///
    /// # Errors
    /// A link is there, or something else, or the system refuses.
    pub(super) fn make_directory(&self, path: &Path) -> io::Result<bool> {
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => Ok(false),
            Ok(_) => Err(in_the_way(path)),
            Err(_) => {
                self.watch.make_directory(path)?;
                match fs::create_dir(path) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                    made => made.map(|()| true),
                }
            }
        }
    }

    /// Makes the root of a tree, and what is missing above it, through links where there are some; they last.
    pub(super) fn make_root(&self, root: &Path) -> io::Result<()> {
        if root.is_dir() {
            return Ok(());
        }
        self.make_root(parent(root))?;
        self.watch.make_directory(root)?;
        match fs::create_dir(root) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made.and_then(|()| self.sync_directory(parent(root))),
        }
    }

    /// Makes the directories between the root and a file, none of which may be a link; they last.
    ///
    /// # Errors
    /// [`OutputError::Misplaced`] where something is in the way, or the system refuses.
    pub(super) fn make_directories(&self, root: &Path, file: &Path) -> Result<(), OutputError> {
        let below = parent(file).strip_prefix(root).unwrap_or(Path::new(""));
        let mut directory = root.to_owned();
        for part in below.components().filter(|part| matches!(part, Component::Normal(_))) {
            directory.push(part);
            match fs::symlink_metadata(&directory) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => {
                    let reason = "is in the way: not a directory, or a link that could lead outside".into();
                    return Err(OutputError::Misplaced { path: directory, reason });
                }
                Err(_) => {
                    let made = self.make_directory(&directory);
                    made.and_then(|_| self.sync_directory(parent(&directory)))
                        .map_err(|source| OutputError::Io { path: directory.clone(), source })?;
                }
            }
        }
        Ok(())
    }

    /// Removes a directory of ours with the files in it, if there is one.
    pub(super) fn remove_directory(&self, path: &Path) -> io::Result<()> {
        if fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
            for entry in fs::read_dir(path)? {
                self.remove(&entry?.path())?;
            }
            self.watch.remove_directory(path)?;
            fs::remove_dir(path)?;
        }
        Ok(())
    }

    /// Makes the names in a directory last through a power cut.
    pub(super) fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.watch.sync_directory(directory)?;
        #[cfg(all(unix, not(test)))]
        File::open(directory)?.sync_all()?;
        Ok(())
    }
}

fn in_the_way(path: &Path) -> io::Error {
    let path = path.display();
    io::Error::other(format!(
        "{path} is in the way: a link, or a file that clip-features did not write\nhint: remove it"
    ))
}

#[cfg(unix)]
fn has_other_names(file: &fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::nlink(file) > 1
}

#[cfg(not(unix))]
fn has_other_names(_: &fs::Metadata) -> bool {
    false
}
