//! One file per image, in a directory that repeats the inputs' tree.

use std::path::{Path, PathBuf};

use super::{Asked, Claim, Directory, OpenDirectory, directory::probe_root, ledger};
use crate::output::{
    Array, Complete, Contents, Described, Destination, Format, OutputError, Part, Setting, Sink,
};

/// A directory of tensors.
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
    /// One file an image, or where an `.npy` of each tensor is written, one each.
    fn directory(&self, contents: &Contents) -> Directory {
        let ending = self.format.name();
        let endings = match contents.split() {
            split if split.is_empty() || self.format == Format::Safetensors => vec![ending.to_owned()],
            split => split.into_iter().map(|tensor| format!("{tensor}.{ending}")).collect(),
        };
        let Self { root, keep_extension, part, .. } = self.clone();
        Directory { root, endings, keep_extension, part }
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
        self.own_file(contents, name)
    }

    fn own_file(&self, contents: &Contents, name: &Path) -> Option<PathBuf> {
        Some(self.directory(contents).files(name).swap_remove(0))
    }

    fn replaced(&self, contents: &Contents) -> Vec<PathBuf> {
        self.directory(contents).beside()
    }

    fn beside_bytes(&self, _contents: &Contents, name: &Path) -> u64 {
        ledger::line_bytes(name)
    }

    fn resumes(&self) -> bool {
        true
    }

    fn probe(&self) -> Result<(), OutputError> {
        probe_root(&self.root)
    }

    fn check(&self, contents: &Contents) -> Result<(), OutputError> {
        self.directory(contents).check()
    }

    fn complete(&self, contents: &Contents) -> Result<Complete, OutputError> {
        self.directory(contents).complete(&contents.settings, contents.overwrite)
    }

    fn open(&self, contents: &Contents, planned: &[&Path]) -> Result<Box<dyn Sink>, OutputError> {
        let directory = self.directory(contents).open(&contents.settings, contents.overwrite, planned)?;
        Ok(Box::new(Opened { format: self.format, contents: contents.clone(), directory }))
    }
}

/// A directory of outputs that is being written.
#[derive(Debug)]
struct Opened {
    format: Format,
    contents: Contents,
    directory: OpenDirectory,
}

impl Sink for Opened {
    fn complete(&self) -> Complete {
        self.directory.complete()
    }

    fn cut(&self, name: &Path) -> Option<PathBuf> {
        self.directory.cut(name)
    }

    fn write(&mut self, image: &Described<'_>, arrays: &[Array]) -> Result<Vec<PathBuf>, OutputError> {
        let Contents { dtype, settings, .. } = &self.contents;
        let metadata = settings.with(image.metadata);
        // A file for each tensor, or one for all.
        let split = !self.contents.split().is_empty() && self.format != Format::Safetensors;
        self.directory.write(image.name, &|index, writer| {
            let arrays = if split { &arrays[index..=index] } else { arrays };
            self.format.write(writer, arrays, *dtype, &metadata)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::output::{Dtype, Metadata, TensorSpec};

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
        assert_eq!(
            tree.directory(&contents).files(Path::new("a/cat.v2.jpg")),
            [Path::new("out/a/cat.v2.npy")]
        );
        tree.keep_extension = true;
        assert_eq!(tree.directory(&contents).files(Path::new("a/cat.jpg")), [Path::new("out/a/cat.jpg.npy")]);
        contents.tensors = ["pixel_values", "hidden_states.0"]
            .map(|name| TensorSpec { name: name.into(), shape: None })
            .into();
        let files = ["out/cat.jpg.pixel_values.npy", "out/cat.jpg.hidden_states.0.npy"].map(PathBuf::from);
        assert_eq!(tree.directory(&contents).files(Path::new("cat.jpg")), files);
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
