//! One file per image, in a directory that repeats the inputs' tree.

use std::{
    ffi::OsString,
    fs, io,
    path::{Component, Path, PathBuf},
};

use super::{
    Array, Dtype, Format, Metadata, OutputError, OutputFile,
    file::{parent, sync_directory},
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

    /// Whether an image's outputs are there. A file is renamed into place when it is whole, so to exist is to be
    /// complete.
    pub fn contains(&self, name: &Path) -> bool {
        self.files(name)
            .iter()
            .all(|file| fs::symlink_metadata(file).is_ok_and(|metadata| metadata.is_file()))
    }
}

/// A directory of outputs.
#[derive(Debug)]
pub struct Tree {
    names: TreeNames,
    dtype: Dtype,
    settings: Metadata,
}

impl Tree {
    /// Opens a directory for outputs of some settings, creating it and its manifest where they do not exist.
    ///
    /// With `overwrite`, outputs of the images named in `planned` are removed first, so that a run that is cut short
    /// leaves none of other settings behind.
    ///
    /// # Errors
    /// The directory holds outputs of other settings, or files of unknown origin where outputs should go, or cannot
    /// be written.
    pub fn open(
        names: TreeNames,
        dtype: Dtype,
        settings: &Metadata,
        overwrite: bool,
        planned: &mut dyn Iterator<Item = &Path>,
    ) -> Result<Self, OutputError> {
        let root = &names.root;
        fs::create_dir_all(root).map_err(|source| OutputError::Io { path: root.clone(), source })?;
        let path = root.join(MANIFEST);
        let manifest = if overwrite { None } else { Manifest::read(&path)? };
        match manifest {
            Some(manifest) => manifest.check(settings, root)?,
            None => {
                for file in planned.flat_map(|name| names.files(name)) {
                    if fs::symlink_metadata(&file).is_err() {
                        continue;
                    }
                    if !overwrite {
                        return Err(OutputError::Taken {
                            path: file,
                            reason: format!("exists, and no {MANIFEST} beside it says how it was made"),
                        });
                    }
                    fs::remove_file(&file)
                        .map_err(|source| OutputError::Io { path: file.clone(), source })?;
                }
                Manifest { settings: settings.clone() }.write(&path)?;
            }
        }
        Ok(Self { names, dtype, settings: settings.clone() })
    }

    /// Writes an image's tensors, each file whole or not at all, and gives the files' paths.
    ///
    /// # Errors
    /// A directory on the way is a symbolic link, which could lead outside, or the disk is full or fails.
    pub fn write(&self, name: &Path, key: &str, arrays: &[Array]) -> Result<Vec<PathBuf>, OutputError> {
        let files = self.names.files(name);
        self.make_directories(&files[0])?;
        let mut metadata = self.settings.clone();
        metadata.insert("path", key);
        if self.names.split.is_empty() {
            let output = OutputFile::create_in_tree(&files[0])?;
            output.commit(|writer| self.names.format.write(writer, arrays, self.dtype, &metadata))?;
        } else {
            for (file, array) in files.iter().zip(arrays) {
                let array = std::slice::from_ref(array);
                OutputFile::create_in_tree(file)?
                    .commit(|writer| self.names.format.write(writer, array, self.dtype, &metadata))?;
            }
        }
        Ok(files)
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

    #[test]
    fn a_second_run_finds_what_is_complete_and_refuses_other_settings() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("new/out");
        let tree = open(names(&root), "f32", false).unwrap();
        assert!(!names(&root).contains(Path::new("a/cat.jpg")));
        tree.write(Path::new("a/cat.jpg"), "a/cat.jpg", &[array()]).unwrap();
        assert!(names(&root).contains(Path::new("a/cat.jpg")));
        open(names(&root), "f32", false).unwrap();
        let error = open(names(&root), "f16", false).unwrap_err().to_string();
        assert!(error.contains(r#"dtype is "f32", not "f16""#), "{error}");
        open(names(&root), "f16", true).unwrap();
        assert!(!names(&root).contains(Path::new("a/cat.jpg")), "an output of other settings was left");
    }

    #[test]
    fn files_of_unknown_origin_are_not_taken_for_ours() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("a")).unwrap();
        fs::write(directory.path().join("a/cat.npy"), "somebody's").unwrap();
        let error = open(names(directory.path()), "f32", false).unwrap_err().to_string();
        assert!(error.contains("cat.npy: exists, and no manifest.json"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_inside_the_directory_leads_nowhere() {
        let directory = tempfile::tempdir().unwrap();
        let (root, outside) = (directory.path().join("out"), directory.path().join("outside"));
        let tree = open(names(&root), "f32", false).unwrap();
        fs::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, root.join("a")).unwrap();
        assert!(matches!(
            tree.write(Path::new("a/cat.jpg"), "a/cat.jpg", &[array()]),
            Err(OutputError::Misplaced { .. })
        ));
        assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
    }
}
