//! One file per image, in a directory that repeats the inputs' tree.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs, io,
    path::{Component, Path, PathBuf},
};

use super::{
    Array, Dtype, Format, Metadata, OutputError, OutputFile,
    file::{parent, sync_directory},
    ledger::{LEDGER, Ledger},
    manifest::{MANIFEST, Manifest},
};

/// How the files of a directory are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeNames {
    /// The directory.
    pub root: PathBuf,
    /// The files' format.
    pub format: Format,
    /// Whether `cat.jpg` becomes `cat.jpg.npy` rather than `cat.npy`.
    pub keep_extension: bool,
    /// The tensors of one image, where an `.npy` of each is written; empty where one file holds them all.
    pub split: Vec<String>,
}

impl TreeNames {
    /// The output files of an image, given its relative name.
    pub fn files(&self, name: &Path) -> Vec<PathBuf> {
        let extension = match self.format {
            Format::Npy => "npy",
            Format::Safetensors => "safetensors",
        };
        let stem = if self.keep_extension { name.file_name() } else { name.file_stem() };
        let file = |tensor: Option<&str>| {
            let mut file: OsString = stem.unwrap_or_default().to_owned();
            for part in tensor.into_iter().chain([extension]) {
                file.push(".");
                file.push(part);
            }
            self.root.join(name.with_file_name(file))
        };
        if self.split.is_empty() {
            vec![file(None)]
        } else {
            self.split.iter().map(|tensor| file(Some(tensor))).collect()
        }
    }

    /// Whether an image's files are there. They are renamed into place when they are whole.
    pub fn exist(&self, name: &Path) -> bool {
        self.files(name)
            .iter()
            .all(|file| fs::symlink_metadata(file).is_ok_and(|metadata| metadata.is_file()))
    }

    /// The keys of the images that are complete with these settings, but for their files; nothing is touched.
    ///
    /// # Errors
    /// The directory is none, or holds outputs of other settings.
    pub fn peek(&self, settings: &Metadata) -> Result<HashSet<String>, OutputError> {
        self.check_directory()?;
        match Manifest::read(&self.root.join(MANIFEST))? {
            Some(manifest) => {
                manifest.check(settings, &self.root)?;
                Ok(Ledger::peek(&self.root.join(LEDGER)))
            }
            None => Ok(HashSet::new()),
        }
    }

    fn check_directory(&self) -> Result<(), OutputError> {
        if self.root.exists() && !self.root.is_dir() {
            let reason = "is not a directory, and several images are to be written".into();
            return Err(OutputError::Misplaced { path: self.root.clone(), reason });
        }
        Ok(())
    }
}

/// A directory of outputs.
#[derive(Debug)]
pub struct Tree {
    names: TreeNames,
    dtype: Dtype,
    settings: Metadata,
    ledger: Ledger,
    overwrite: bool,
}

impl Tree {
    /// Opens a directory for outputs of some settings, creating it and its manifest where they do not exist. With
    /// `overwrite`, no image counts as complete, and files of the outputs' names are replaced.
    ///
    /// # Errors
    /// The directory holds outputs of other settings, or a file of unknown origin where one of the `planned` images
    /// goes, or another process writes into it, or it cannot be written.
    pub fn open(
        names: TreeNames,
        dtype: Dtype,
        settings: &Metadata,
        overwrite: bool,
        planned: &mut dyn Iterator<Item = &Path>,
    ) -> Result<Self, OutputError> {
        let root = &names.root;
        names.check_directory()?;
        fs::create_dir_all(root).map_err(|source| OutputError::Io { path: root.clone(), source })?;
        let path = root.join(MANIFEST);
        let mut ledger = Ledger::open(&root.join(LEDGER)).map_err(|error| error.at(root))?;
        let manifest = Manifest::read(&path);
        if overwrite {
            // First the ledger, so that a kill between the two leaves nothing that would count as complete.
            ledger.clear()?;
            Manifest { settings: settings.clone() }.write(&path)?;
        } else if let Some(manifest) = manifest? {
            manifest.check(settings, root)?;
        } else {
            ledger.clear()?;
        }
        let tree = Self { names, dtype, settings: settings.clone(), ledger, overwrite };
        if !overwrite {
            for name in planned {
                tree.check_origin(name, &super::key(name))?;
            }
            if !path.exists() {
                Manifest { settings: settings.clone() }.write(&path)?;
            }
        }
        Ok(tree)
    }

    /// The keys of the images that are complete, if their files exist.
    pub fn keys(&self) -> &HashSet<String> {
        self.ledger.keys()
    }

    /// Writes an image's tensors, each file whole or not at all, and gives the files' paths. `image` is what the
    /// outputs say of the image, beside the settings.
    ///
    /// # Errors
    /// The files cannot be placed: something of unknown origin is there, a directory on the way is a symbolic link,
    /// which could lead outside, a name is too long. Or the disk is full or fails.
    pub fn write(
        &mut self,
        name: &Path,
        image: &Metadata,
        arrays: &[Array],
    ) -> Result<Vec<PathBuf>, OutputError> {
        let key = super::key(name);
        self.write_files(name, &key, image, arrays).map_err(|error| match error {
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
        key: &str,
        image: &Metadata,
        arrays: &[Array],
    ) -> Result<Vec<PathBuf>, OutputError> {
        let files = self.names.files(name);
        self.check_origin(name, key)?;
        self.make_directories(&files[0])?;
        let metadata = self.settings.with(image);
        let groups = arrays.chunks(arrays.len().div_ceil(files.len()).max(1));
        let mut written = Vec::new();
        for (file, arrays) in files.iter().zip(groups) {
            let output = OutputFile::create_in_tree(file)?;
            written
                .push(output.write(|writer| self.names.format.write(writer, arrays, self.dtype, &metadata))?);
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
        self.ledger.add(key)?;
        written.into_iter().try_for_each(OutputFile::place)?;
        Ok(files)
    }

    /// Refuses a file that is neither ours nor to be overwritten.
    fn check_origin(&self, name: &Path, key: &str) -> Result<(), OutputError> {
        if self.overwrite || self.ledger.keys().contains(key) {
            return Ok(());
        }
        match self.names.files(name).into_iter().find(|file| fs::symlink_metadata(file).is_ok()) {
            None => Ok(()),
            Some(path) => Err(OutputError::Misplaced {
                path,
                reason: format!(
                    "exists, and {LEDGER} does not say that it is ours\nhint: --overwrite replaces it"
                ),
            }),
        }
    }

    /// Creates the directories between the root and a file, none of which may be a link.
    fn make_directories(&self, file: &Path) -> Result<(), OutputError> {
        let root = &self.names.root;
        let below = parent(file).strip_prefix(root).unwrap_or(Path::new(""));
        let mut directory = root.clone();
        for part in below.components().filter(|part| matches!(part, Component::Normal(_))) {
            directory.push(part);
            match fs::symlink_metadata(&directory) {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => {
                    return Err(OutputError::Misplaced {
                        path: directory,
                        reason: "is in the way: not a directory, or a link that could lead outside".into(),
                    });
                }
                Err(_) => {
                    let made = fs::create_dir(&directory).and_then(|()| sync_directory(parent(&directory)));
                    match made {
                        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                            return Err(OutputError::Io { path: directory, source: error });
                        }
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether an error of the system is about the name that a file was to have.
fn is_of_name(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::InvalidFilename | io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(root: &Path) -> TreeNames {
        TreeNames { root: root.to_owned(), format: Format::Npy, keep_extension: false, split: Vec::new() }
    }

    fn array() -> Array {
        Array { name: "x".into(), shape: vec![1, 2], values: vec![1.0, 2.0] }
    }

    fn open(names: TreeNames, dtype: &str, overwrite: bool) -> Result<Tree, OutputError> {
        let mut settings = Metadata::new();
        settings.insert("dtype", dtype);
        let planned = [Path::new("a/cat.jpg")];
        Tree::open(names, Dtype::F32, &settings, overwrite, &mut planned.into_iter())
    }

    #[test]
    fn an_output_takes_the_images_name() {
        let mut names = names(Path::new("out"));
        assert_eq!(names.files(Path::new("a/cat.v2.jpg")), [Path::new("out/a/cat.v2.npy")]);
        names.keep_extension = true;
        assert_eq!(names.files(Path::new("a/cat.jpg")), [Path::new("out/a/cat.jpg.npy")]);
        names.split = vec!["pixel_values".into(), "hidden_states.0".into()];
        let files = ["out/cat.jpg.pixel_values.npy", "out/cat.jpg.hidden_states.0.npy"].map(PathBuf::from);
        assert_eq!(names.files(Path::new("cat.jpg")), files);
    }

    fn complete(root: &Path, dtype: &str) -> bool {
        let mut settings = Metadata::new();
        settings.insert("dtype", dtype);
        let names = names(root);
        names.peek(&settings).is_ok_and(|keys| keys.contains("a/cat.jpg"))
            && names.exist(Path::new("a/cat.jpg"))
    }

    #[test]
    fn a_second_run_finds_what_is_complete_and_refuses_other_settings() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("new/out");
        let mut tree = open(names(&root), "f32", false).unwrap();
        assert!(!complete(&root, "f32"));
        tree.write(Path::new("a/cat.jpg"), &Metadata::new(), &[array()]).unwrap();
        drop(tree);
        assert!(complete(&root, "f32") && !complete(&root, "f16"));
        open(names(&root), "f32", false).unwrap();
        let error = open(names(&root), "f16", false).unwrap_err().to_string();
        assert!(error.contains(r#"dtype is "f32", not "f16""#), "{error}");
        let mut tree = open(names(&root), "f16", true).unwrap();
        assert!(!complete(&root, "f16"), "an output of other settings counts as complete");
        tree.write(Path::new("a/cat.jpg"), &Metadata::new(), &[array()]).unwrap();
        assert!(complete(&root, "f16"));
    }

    #[test]
    fn files_of_unknown_origin_are_not_taken_for_ours() {
        let directory = tempfile::tempdir().unwrap();
        let name = Path::new("a/cat.jpg");
        fs::create_dir(directory.path().join("a")).unwrap();
        fs::write(directory.path().join("a/cat.npy"), "somebody's").unwrap();
        let error = open(names(directory.path()), "f32", false).unwrap_err().to_string();
        assert!(error.contains("cat.npy: exists, and manifest.jsonl does not say"), "{error}");
        // Where the images are not known in advance, each is looked at in turn.
        let settings = Metadata::new();
        let mut listed =
            Tree::open(names(directory.path()), Dtype::F32, &settings, false, &mut std::iter::empty())
                .unwrap();
        let refused = listed.write(name, &Metadata::new(), &[array()]);
        assert!(matches!(refused, Err(OutputError::Misplaced { .. })), "{refused:?}");
        assert_eq!(fs::read(directory.path().join("a/cat.npy")).unwrap(), b"somebody's");
    }

    #[test]
    fn a_name_that_cannot_be_is_one_images_failure() {
        let directory = tempfile::tempdir().unwrap();
        let mut tree = open(names(directory.path()), "f32", false).unwrap();
        fs::create_dir(directory.path().join("taken.npy")).unwrap();
        for name in ["x".repeat(260) + ".jpg", "taken.jpg".into()] {
            let refused = tree.write(Path::new(&name), &Metadata::new(), &[array()]);
            assert!(matches!(refused, Err(OutputError::Misplaced { .. })), "{name}: {refused:?}");
        }
        tree.write(Path::new(&("y".repeat(250) + ".jpg")), &Metadata::new(), &[array()]).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_link_inside_the_directory_leads_nowhere() {
        let directory = tempfile::tempdir().unwrap();
        let (root, outside) = (directory.path().join("out"), directory.path().join("outside"));
        let mut tree = open(names(&root), "f32", false).unwrap();
        fs::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, root.join("a")).unwrap();
        assert!(matches!(
            tree.write(Path::new("a/cat.jpg"), &Metadata::default(), &[array()]),
            Err(OutputError::Misplaced { .. })
        ));
        assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
    }
}
