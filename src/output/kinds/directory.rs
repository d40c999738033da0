//! Files of images in a directory that repeats the inputs' tree: whole or absent, of one set of settings, and told from other files.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{
    archive,
    ledger::{self, LEDGER, Ledger},
};
use crate::output::{
    Complete, Format, Metadata, OutputError, OutputFile, Part,
    disk::{check_way, end_of_links, make_directories, probe_tree},
    format::npy,
    key,
    manifest::{MANIFEST, Manifest},
};

/// How the files of a directory are named. Nothing is touched before [`Directory::open`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// The directory.
    pub root: PathBuf,
    /// What each file of an image has in place of the image's extension: one ending, or more.
    pub endings: Vec<String>,
    /// Whether `cat.jpg` becomes `cat.jpg.npy` rather than `cat.npy`.
    pub keep_extension: bool,
    /// Which part of a job writes here, if it is split: each has a ledger of its own.
    pub part: Option<Part>,
}

/// Refuses something else in a directory's place.
pub(super) fn check_root(root: &Path) -> Result<(), OutputError> {
    // Nothing is at `file/` where `file` is no directory.
    let place = root.components().as_path();
    let is_missing = |error: io::Error| error.kind() == io::ErrorKind::NotFound;
    if place.is_symlink() && fs::metadata(place).is_err_and(is_missing) {
        let end = end_of_links(place);
        let reason =
            format!("is a link to {}, which is not there\nhint: create that with mkdir -p", end.display());
        return Err(OutputError::Misplaced { path: root.to_owned(), reason });
    }
    if place.exists() && !root.is_dir() {
        let reason = "is not a directory, and several images are to be written\n\
                      hint: give another path"
            .into();
        return Err(OutputError::Misplaced { path: root.to_owned(), reason });
    }
    check_way(root)
}

/// Sees that a directory can be made or written to.
pub(super) fn probe_root(root: &Path) -> Result<(), OutputError> {
    check_root(root)?;
    probe_tree(root)
}

impl Directory {
    /// The files of an image, given its relative name.
    pub fn files(&self, name: &Path) -> Vec<PathBuf> {
        let stem = if self.keep_extension { name.file_name() } else { name.file_stem() };
        let file = |ending: &String| {
            let mut file: OsString = stem.unwrap_or_default().to_owned();
            file.push(".");
            file.push(ending);
            self.root.join(name.with_file_name(file))
        };
        self.endings.iter().map(file).collect()
    }

    /// What lies beside the images' files.
    pub fn beside(&self) -> Vec<PathBuf> {
        vec![self.root.join(MANIFEST), self.root.join(ledger::file_name(self.part))]
    }

    /// Refuses what cannot be a directory.
    ///
    /// # Errors
    /// Something else is there.
    pub fn check(&self) -> Result<(), OutputError> {
        check_root(&self.root)
    }

    /// Sees that it can be written.
    ///
    /// # Errors
    /// Something else is there, or the system refuses.
    pub fn probe(&self) -> Result<(), OutputError> {
        probe_root(&self.root)
    }

    /// The images of which an earlier run has completed all files.
    ///
    /// # Errors
    /// Files of other settings are there.
    pub fn complete(&self, settings: &Metadata, overwrite: bool) -> Result<Complete, OutputError> {
        if overwrite {
            return Ok(Complete::none());
        }
        let Some(manifest) = Manifest::read(&self.root.join(MANIFEST))? else { return Ok(Complete::none()) };
        manifest.check(settings, &self.root)?;
        Ok(self.whole(ledger::peek_all(&self.root)?))
    }

    /// Those images of the ledger whose files exist, and were not cut since they were renamed into place.
    fn whole(&self, keys: HashSet<String>) -> Complete {
        let directory = self.clone();
        let is_whole = |file: &PathBuf| is_file(file) && !is_cut(file);
        Complete::when(move |name, _| keys.contains(&key(name)) && directory.files(name).iter().all(is_whole))
    }

    /// Creates the directory and its manifest where they do not exist. To overwrite means that no image counts as
    /// complete, and files of the outputs' names are replaced. `planned` are the images that are known in advance.
    ///
    /// # Errors
    /// Files of other settings or of unknown origin are there, or another process writes there, or the disk fails.
    pub fn open(
        &self,
        settings: &Metadata,
        overwrite: bool,
        planned: &[&Path],
    ) -> Result<OpenDirectory, OutputError> {
        let root = &self.root;
        fs::create_dir_all(root).map_err(|source| OutputError::Io { path: root.clone(), source })?;
        let manifest = Manifest { settings: settings.clone() };
        let mut ledger =
            Ledger::open(&root.join(ledger::file_name(self.part))).map_err(|error| error.at(root))?;
        let found = Manifest::read(&root.join(MANIFEST));
        let mut others = HashSet::new();
        if overwrite {
            // First the ledgers, so that a kill between leaves nothing that would count as complete.
            ledger.clear()?;
            ledger::remove_others(root)?;
        } else if let Some(found) = found? {
            found.check(settings, root)?;
            others = ledger::peek_all(root)?;
        } else {
            // Nobody says with which settings the images were made.
            ledger.forget();
        }
        let mut opened = OpenDirectory { directory: self.clone(), overwrite, ledger, others };
        if !overwrite {
            for name in planned {
                opened.check_origin(name)?;
            }
        }
        opened.ledger.settle()?;
        manifest.settle(root, overwrite)?;
        Ok(opened)
    }
}

/// A directory that is being written.
#[derive(Debug)]
pub struct OpenDirectory {
    directory: Directory,
    overwrite: bool,
    ledger: Ledger,
    /// What all ledgers said when this run began.
    others: HashSet<String>,
}

impl OpenDirectory {
    /// The images that are complete in it.
    pub fn complete(&self) -> Complete {
        self.directory.whole(self.ledger.keys().union(&self.others).cloned().collect())
    }

    /// The file of an image that was cut since an earlier run completed it, if one was.
    pub fn cut(&self, name: &Path) -> Option<PathBuf> {
        let is_cut = |file: &PathBuf| is_file(file) && is_cut(file);
        self.is_ours(name).then(|| self.directory.files(name).into_iter().find(is_cut)).flatten()
    }

    /// Writes all files of an image, whole or not at all. `write` is told which. Gives their paths.
    ///
    /// # Errors
    /// Something of unknown origin may be there, a directory on the way may be a symbolic link, which could lead outside, a
    /// name may be too long: then this image cannot be placed. Or the disk is full or fails.
    pub fn write(
        &mut self,
        name: &Path,
        write: &dyn Fn(usize, &mut dyn Write) -> io::Result<()>,
    ) -> Result<Vec<PathBuf>, OutputError> {
        self.write_files(name, write).map_err(|error| match error {
            // The name's fault, not the disk's: another image may do better.
            OutputError::Io { path, source } if is_of_name(source.kind()) => {
                OutputError::Misplaced { path, reason: source.to_string() }
            }
            OutputError::IsDirectory { path } => {
                OutputError::Misplaced { path, reason: "a directory is in the way".into() }
            }
            other => other,
        })
    }

    fn write_files(
        &mut self,
        name: &Path,
        write: &dyn Fn(usize, &mut dyn Write) -> io::Result<()>,
    ) -> Result<Vec<PathBuf>, OutputError> {
        let files = self.directory.files(name);
        self.check_origin(name)?;
        make_directories(&self.directory.root, &files[0])?;
        let mut written = Vec::new();
        for (index, file) in files.iter().enumerate() {
            written.push(OutputFile::create_in_tree(file)?.write(|writer| write(index, writer))?);
        }
        // What is replaced must be gone before the ledger vouches for the name.
        for file in &files {
            match fs::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(OutputError::Io { path: file.clone(), source: error });
                }
                _ => {}
            }
        }
        self.ledger.add(&key(name))?;
        written.into_iter().try_for_each(OutputFile::place)?;
        Ok(files)
    }

    /// Whether a ledger speaks of an image.
    fn is_ours(&self, name: &Path) -> bool {
        let key = key(name);
        self.ledger.keys().contains(&key) || self.others.contains(&key)
    }

    /// Refuses a file that is neither ours nor to be overwritten.
    fn check_origin(&self, name: &Path) -> Result<(), OutputError> {
        if self.overwrite || self.is_ours(name) {
            return Ok(());
        }
        let mut files = self.directory.files(name).into_iter();
        match files.find(|file| fs::symlink_metadata(file).is_ok()) {
            None => Ok(()),
            Some(path) => Err(OutputError::Foreign { path, ledger: LEDGER }),
        }
    }
}

fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// Whether a file of tensors is shorter than its header says. One that cannot be read is believed.
fn is_cut(file: &Path) -> bool {
    let is_cut = match Format::of_path(file) {
        Some(Format::Npy) => npy::is_cut(file),
        Some(Format::Safetensors) => archive::is_cut(file),
        None => Ok(false),
    };
    is_cut.unwrap_or(false)
}

/// Whether an error of the system is about the name that a file was to have.
fn is_of_name(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::InvalidFilename | io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory
    )
}
