//! One file per image, in a directory that repeats the inputs' tree.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    Asked, Claim,
    ledger::{self, LEDGER, Ledger},
};
use crate::output::{
    Array, Complete, Contents, Described, Destination, Format, Metadata, OutputError, OutputFile, Part,
    Setting, Sink,
    disk::make_directories,
    key,
    manifest::{MANIFEST, Manifest},
};

/// How the files of a directory are named.
#[derive(Clone, Debug)]
struct Tree {
    /// The directory.
    root: PathBuf,
    /// The files' format.
    format: Format,
    /// Whether `cat.jpg` becomes `cat.jpg.npy` rather than `cat.npy`.
    keep_extension: bool,
    /// Which part of a job writes here, if it is split: each has a ledger of its own.
    part: Option<Part>,
}

pub(super) fn claim(asked: &Asked) -> Claim {
    let path = asked.path.as_deref()?;
    let tree = || Tree {
        root: path.to_owned(),
        format: asked.format.unwrap_or(Format::Npy),
        keep_extension: asked.keep_extension,
        part: asked.part,
    };
    asked.names_directory().then(|| Ok(Box::new(tree()) as Box<dyn Destination>))
}

impl Tree {
    /// The output files of an image, given its relative name: one, or where an `.npy` of each tensor is written, one each.
    fn files(&self, contents: &Contents, name: &Path) -> Vec<PathBuf> {
        let stem = if self.keep_extension { name.file_name() } else { name.file_stem() };
        let file = |tensor: Option<&str>| {
            let mut file: OsString = stem.unwrap_or_default().to_owned();
            for part in tensor.into_iter().chain([self.format.name()]) {
                file.push(".");
                file.push(part);
            }
            self.root.join(name.with_file_name(file))
        };
        match contents.split() {
            split if split.is_empty() || self.format == Format::Safetensors => vec![file(None)],
            split => split.into_iter().map(|tensor| file(Some(tensor))).collect(),
        }
    }

    /// Those images of the ledger whose files exist. They are renamed into place when they are whole.
    fn complete(&self, contents: &Contents, keys: HashSet<String>) -> Complete {
        let (tree, contents) = (self.clone(), contents.clone());
        let is_file = |file: &PathBuf| fs::symlink_metadata(file).is_ok_and(|metadata| metadata.is_file());
        Complete::when(move |name, _| {
            keys.contains(&key(name)) && tree.files(&contents, name).iter().all(is_file)
        })
    }
}

impl Destination for Tree {
    fn describe(&self, _contents: &Contents) -> String {
        format!("{}, one .{} an image", self.root.display(), self.format.name())
    }

    fn heeds(&self, setting: Setting) -> bool {
        !matches!(setting, Setting::ShardSize | Setting::Keep)
    }

    fn format(&self) -> Option<Format> {
        Some(self.format)
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.root)
    }

    fn place(&self, contents: &Contents, name: &Path) -> Option<PathBuf> {
        Some(self.files(contents, name).swap_remove(0))
    }

    fn resumes(&self) -> bool {
        true
    }

    fn check(&self, _contents: &Contents) -> Result<(), OutputError> {
        if self.root.exists() && !self.root.is_dir() {
            let reason = "is not a directory, and several images are to be written".into();
            return Err(OutputError::Misplaced { path: self.root.clone(), reason });
        }
        Ok(())
    }

    fn complete(&self, contents: &Contents) -> Result<Complete, OutputError> {
        if contents.overwrite {
            return Ok(Complete::none());
        }
        let Some(manifest) = Manifest::read(&self.root.join(MANIFEST))? else { return Ok(Complete::none()) };
        manifest.check(&contents.settings, &self.root)?;
        Ok(self.complete(contents, ledger::peek_all(&self.root)?))
    }

    /// Creates the directory and its manifest where they do not exist. To overwrite means that no image counts as
    /// complete, and files of the outputs' names are replaced.
    fn open(&self, contents: &Contents, planned: &[&Path]) -> Result<Box<dyn Sink>, OutputError> {
        let root = &self.root;
        fs::create_dir_all(root).map_err(|source| OutputError::Io { path: root.clone(), source })?;
        let manifest = Manifest { settings: contents.settings.clone() };
        let mut ledger =
            Ledger::open(&root.join(ledger::file_name(self.part))).map_err(|error| error.at(root))?;
        let found = Manifest::read(&root.join(MANIFEST));
        if contents.overwrite {
            // First the ledgers, so that a kill between leaves nothing that would count as complete.
            ledger.clear()?;
            ledger::remove_others(root)?;
        } else if let Some(found) = found? {
            found.check(&contents.settings, root)?;
        } else {
            ledger.clear()?;
        }
        let others = ledger::peek_all(root)?;
        let opened = Opened { tree: self.clone(), contents: contents.clone(), ledger, others };
        if !contents.overwrite {
            for name in planned {
                opened.check_origin(name)?;
            }
        }
        manifest.settle(root, contents.overwrite)?;
        Ok(Box::new(opened))
    }
}

/// A directory of outputs that is being written.
#[derive(Debug)]
struct Opened {
    tree: Tree,
    contents: Contents,
    ledger: Ledger,
    /// What all ledgers said when this run began.
    others: HashSet<String>,
}

impl Sink for Opened {
    fn complete(&self) -> Complete {
        self.tree.complete(&self.contents, self.ledger.keys().union(&self.others).cloned().collect())
    }

    /// Something of unknown origin may be there, a directory on the way may be a symbolic link, which could lead outside, a
    /// name may be too long: then the image cannot be placed.
    fn write(&mut self, image: &Described<'_>, arrays: &[Array]) -> Result<Vec<PathBuf>, OutputError> {
        self.write_files(image.name, image.metadata, arrays).map_err(|error| match error {
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
}

impl Opened {
    fn write_files(
        &mut self,
        name: &Path,
        image: &Metadata,
        arrays: &[Array],
    ) -> Result<Vec<PathBuf>, OutputError> {
        let Contents { dtype, settings, .. } = &self.contents;
        let files = self.tree.files(&self.contents, name);
        self.check_origin(name)?;
        make_directories(&self.tree.root, &files[0])?;
        let metadata = settings.with(image);
        let groups = arrays.chunks(arrays.len().div_ceil(files.len()).max(1));
        let mut written = Vec::new();
        for (file, arrays) in files.iter().zip(groups) {
            let output = OutputFile::create_in_tree(file)?;
            written.push(output.write(|writer| self.tree.format.write(writer, arrays, *dtype, &metadata))?);
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

    /// Refuses a file that is neither ours nor to be overwritten.
    fn check_origin(&self, name: &Path) -> Result<(), OutputError> {
        let name_key = key(name);
        let is_ours = self.ledger.keys().contains(&name_key) || self.others.contains(&name_key);
        if self.contents.overwrite || is_ours {
            return Ok(());
        }
        let mut files = self.tree.files(&self.contents, name).into_iter();
        match files.find(|file| fs::symlink_metadata(file).is_ok()) {
            None => Ok(()),
            Some(path) => Err(OutputError::Foreign { path, ledger: LEDGER }),
        }
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
    use crate::output::{Dtype, TensorSpec};

    fn tree(root: &Path) -> Tree {
        Tree { root: root.to_owned(), format: Format::Npy, keep_extension: false, part: None }
    }

    fn write(sink: &mut dyn Sink, name: &Path) -> Result<Vec<PathBuf>, OutputError> {
        let metadata = Metadata::new();
        sink.write(&Described { name, sample: None, metadata: &metadata, facts: "{}" }, &[array()])
    }

    fn array() -> Array {
        Array { name: "x".into(), shape: vec![1, 2], values: vec![1.0, 2.0] }
    }

    fn contents(dtype: &str, overwrite: bool) -> Contents {
        let mut settings = Metadata::new();
        settings.insert("dtype", dtype);
        let tensors = vec![TensorSpec { name: "x".into(), shape: Some(vec![1, 2]) }];
        Contents { tensors, dtype: Dtype::F32, settings, overwrite }
    }

    fn open(root: &Path, dtype: &str, overwrite: bool) -> Result<Box<dyn Sink>, OutputError> {
        tree(root).open(&contents(dtype, overwrite), &[Path::new("a/cat.jpg")])
    }

    #[test]
    fn an_output_takes_the_images_name() {
        let mut tree = tree(Path::new("out"));
        let mut contents = contents("f32", false);
        assert_eq!(tree.files(&contents, Path::new("a/cat.v2.jpg")), [Path::new("out/a/cat.v2.npy")]);
        tree.keep_extension = true;
        assert_eq!(tree.files(&contents, Path::new("a/cat.jpg")), [Path::new("out/a/cat.jpg.npy")]);
        contents.tensors = ["pixel_values", "hidden_states.0"]
            .map(|name| TensorSpec { name: name.into(), shape: None })
            .into();
        let files = ["out/cat.jpg.pixel_values.npy", "out/cat.jpg.hidden_states.0.npy"].map(PathBuf::from);
        assert_eq!(tree.files(&contents, Path::new("cat.jpg")), files);
    }

    fn complete(root: &Path, dtype: &str) -> bool {
        let complete = Destination::complete(&tree(root), &contents(dtype, false));
        complete.is_ok_and(|complete| complete.contains(Path::new("a/cat.jpg"), None))
    }

    #[test]
    fn a_second_run_finds_what_is_complete_and_refuses_other_settings() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("new/out");
        let mut sink = open(&root, "f32", false).unwrap();
        assert!(!complete(&root, "f32"));
        write(&mut *sink, Path::new("a/cat.jpg")).unwrap();
        drop(sink);
        assert!(complete(&root, "f32") && !complete(&root, "f16"));
        drop(open(&root, "f32", false).unwrap());
        let error = open(&root, "f16", false).err().unwrap().to_string();
        assert!(error.contains(r#"dtype is "f32", not "f16""#), "{error}");
        let mut sink = open(&root, "f16", true).unwrap();
        assert!(!complete(&root, "f16"), "an output of other settings counts as complete");
        write(&mut *sink, Path::new("a/cat.jpg")).unwrap();
        assert!(complete(&root, "f16"));
    }

    #[test]
    fn files_of_unknown_origin_are_not_taken_for_ours() {
        let directory = tempfile::tempdir().unwrap();
        let name = Path::new("a/cat.jpg");
        fs::create_dir(directory.path().join("a")).unwrap();
        fs::write(directory.path().join("a/cat.npy"), "somebody's").unwrap();
        let error = open(directory.path(), "f32", false).err().unwrap().to_string();
        assert!(error.contains("cat.npy: exists, and manifest.jsonl does not say"), "{error}");
        // Where the images are not known in advance, each is looked at in turn.
        let mut listed = tree(directory.path()).open(&contents("f32", false), &[]).unwrap();
        let refused = write(&mut *listed, name);
        assert!(matches!(refused, Err(OutputError::Foreign { .. })), "{refused:?}");
        assert_eq!(fs::read(directory.path().join("a/cat.npy")).unwrap(), b"somebody's");
    }

    #[test]
    fn a_name_that_cannot_be_is_one_images_failure() {
        let directory = tempfile::tempdir().unwrap();
        let mut sink = open(directory.path(), "f32", false).unwrap();
        fs::create_dir(directory.path().join("taken.npy")).unwrap();
        for name in ["x".repeat(260) + ".jpg", "taken.jpg".into()] {
            let refused = write(&mut *sink, Path::new(&name));
            assert!(refused.as_ref().is_err_and(OutputError::is_of_one_image), "{name}: {refused:?}");
        }
        write(&mut *sink, Path::new(&("y".repeat(250) + ".jpg"))).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_link_inside_the_directory_leads_nowhere() {
        let directory = tempfile::tempdir().unwrap();
        let (root, outside) = (directory.path().join("out"), directory.path().join("outside"));
        let mut sink = open(&root, "f32", false).unwrap();
        fs::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, root.join("a")).unwrap();
        assert!(matches!(write(&mut *sink, Path::new("a/cat.jpg")), Err(OutputError::Misplaced { .. })));
        assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
    }
}
