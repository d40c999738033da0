//! A place of many images with a manifest: where its files are.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use super::{
    Contents, Format, Part,
    disk::{hidden_sibling, is_there, parent},
    layout::{self, Layout, sample_name},
    name::{key, spelled},
};
use crate::shard;

/// How a file of many images ends while it grows.
const PARTIAL: &str = ".partial";

/// Where many images go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Collection {
    /// The directory, or the file that was asked for.
    pub(crate) path: PathBuf,
    pub(super) way: Way,
    /// How the files lie.
    pub(crate) format: Format,
    /// Which part of a job writes here, if it is split.
    pub(crate) part: Option<Part>,
    /// Whether outputs are named for images with their extensions.
    pub(super) keep_extension: bool,
}

/// How images share files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Each has its own, in a directory.
    Each,
    /// All are in one file, or in a set of files of at most so many bytes.
    Together(Option<u64>),
    /// Those of a tar are in a tar, in a directory.
    Repeated,
}

impl Collection {
    /// Whether the path is a directory's.
    pub(super) fn is_directory(&self) -> bool {
        !matches!(self.way, Way::Together(_))
    }

    /// The most bytes of a file.
    pub(super) fn limit(&self) -> u64 {
        match self.way {
            Way::Together(Some(limit)) => limit,
            _ => u64::MAX,
        }
    }

    /// The directory in which the manifest lies, and from which it names files.
    pub(super) fn base(&self) -> &Path {
        if self.is_directory() { &self.path } else { parent(&self.path) }
    }

    /// `manifest.jsonl` in a directory, `x.manifest.jsonl` beside `x.npy`; with a part's name if it is one.
    pub(super) fn manifest(&self) -> PathBuf {
        match self.part {
            None if self.is_directory() => self.path.join("manifest.jsonl"),
            Some(part) if self.is_directory() => self.path.join(format!("manifest.{part}.jsonl")),
            _ => self.path.with_file_name(self.named(OsStr::new(".manifest.jsonl"))),
        }
    }

    /// The lock of whoever writes.
    pub(super) fn lock(&self) -> PathBuf {
        hidden_sibling(&self.manifest(), ".lock")
    }

    /// Where the files of single images are before they get their names.
    pub(super) fn staging(&self) -> PathBuf {
        hidden_sibling(&self.manifest(), ".staged")
    }

    /// How many images lie in a file; none where each has its own.
    pub(super) fn layout(&self) -> Option<&'static dyn Layout> {
        if self.way == Way::Each { None } else { layout::of(self.format) }
    }

    /// What the manifest says of how it lies.
    pub(super) fn describe(&self) -> String {
        let format = self.format.name();
        match self.way {
            Way::Each => format!("directory of {format}"),
            Way::Together(_) => format.to_owned(),
            Way::Repeated => format!("tars of {format}"),
        }
    }

    /// The target's name without its extension, with the part's, and an ending.
    pub(super) fn named(&self, ending: &OsStr) -> OsString {
        let has_extension = self.path.extension() == Some(OsStr::new(self.format.name()));
        let stem = if has_extension { self.path.file_stem() } else { self.path.file_name() };
        let mut name = stem.unwrap_or_default().to_owned();
        if let Some(part) = self.part {
            name.push(format!(".{part}"));
        }
        name.push(ending);
        name
    }

    /// The name of a file of many images: the only one, or one of a set by its number: `x.npy`, `x-00003.npy`.
    pub(super) fn file_name(&self, number: Option<usize>) -> String {
        let ending = match number {
            None => format!(".{}", self.format.name()),
            Some(number) => format!("-{number:05}.{}", self.format.name()),
        };
        key(Path::new(&self.named(ending.as_ref())))
    }

    /// The number in a file's name, if it is one of a set.
    pub(super) fn number(&self, name: &str) -> Option<usize> {
        let start = key(Path::new(&self.named("-".as_ref())));
        name.strip_prefix(&start)?.strip_suffix(&format!(".{}", self.format.name()))?.parse().ok()
    }

    /// The files that are there under names of a set.
    pub(super) fn numbered(&self) -> Vec<PathBuf> {
        if !matches!(self.way, Way::Together(Some(_))) {
            return Vec::new();
        }
        let entries = std::fs::read_dir(self.base()).into_iter().flatten().filter_map(Result::ok);
        let is_numbered = |path: &PathBuf| {
            path.file_name().is_some_and(|name| self.number(&key(Path::new(name))).is_some())
        };
        entries.map(|entry| entry.path()).filter(is_numbered).collect()
    }

    /// The file of an image's tar, from the base.
    pub(super) fn tar_name(tar: &Path) -> String {
        format!("{}.tar", key(&shard::stem(tar)))
    }

    /// Where a file is that the manifest names.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        // The beginning is spelled as the path is, whose bytes may be no text.
        let start = self.named(OsStr::new(""));
        match name.strip_prefix(&key(Path::new(&start))) {
            Some(rest) if !self.is_directory() => {
                let mut name = start;
                name.push(rest);
                self.path.with_file_name(name)
            }
            _ => {
                let path = self.base().join(name);
                // Of a name that is no text; what is spelled so itself is there.
                let other = name.contains('%').then(|| self.base().join(spelled(name)));
                other.filter(|other| !is_there(&path) && is_there(other)).unwrap_or(path)
            }
        }
    }

    /// A file of many images while it grows, which is begun for the `generation`th time.
    pub(crate) fn partial(&self, name: &str, generation: usize) -> PathBuf {
        let mut suffix = match self.part {
            // In a directory that all parts write, each knows its own.
            Some(part) if self.is_directory() => format!(".{part}{PARTIAL}"),
            _ => PARTIAL.to_owned(),
        };
        if generation > 1 {
            suffix += &format!("-{generation}");
        }
        hidden_sibling(&self.file(name), &suffix)
    }

    /// The files of an image that has its own, from the base: one, or where the format holds one tensor, one for each.
    pub(super) fn own_files(&self, contents: &Contents, name: &Path) -> Vec<PathBuf> {
        let endings = match self.format {
            Format::Npy => contents.npy_extensions().collect(),
            format => vec![format.name().to_owned()],
        };
        let stem = if self.keep_extension { name.file_name() } else { name.file_stem() };
        let file = |ending: String| {
            let mut file = stem.unwrap_or_default().to_owned();
            file.push(".");
            file.push(ending);
            name.with_file_name(file)
        };
        endings.into_iter().map(file).collect()
    }

    /// What nothing else of the output may be called: the file of an image, or its name in a file of many.
    pub(super) fn place(&self, contents: &Contents, key: &str, name: &Path, sample: Option<&str>) -> PathBuf {
        match self.way {
            Way::Each => self.path.join(self.own_files(contents, name).swap_remove(0)),
            Way::Repeated => self.file(&Self::tar_name(name)),
            Way::Together(_) => self.sample_name(name, sample).unwrap_or_else(|| key.to_owned()).into(),
        }
    }

    /// What an image is called in a tar; none in files of other formats.
    pub(super) fn sample_name(&self, name: &Path, sample: Option<&str>) -> Option<String> {
        (self.format == Format::Tar).then(|| sample_name(name, sample, self.keep_extension))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Dtype, Metadata, TensorSpec};

    fn collection(path: &str, way: Way, format: Format, part: Option<&str>) -> Collection {
        let part = part.map(|part| part.parse().unwrap());
        Collection { path: path.into(), way, format, part, keep_extension: false }
    }

    #[test]
    fn files_and_their_manifest_have_names_that_sort() {
        let one = collection("out/x.safetensors", Way::Together(None), Format::Safetensors, None);
        assert_eq!(one.manifest(), Path::new("out/x.manifest.jsonl"));
        assert_eq!(one.file_name(None), "x.safetensors");
        assert_eq!(one.file_name(Some(7)), "x-00007.safetensors");
        assert_eq!(one.file("x-00007.safetensors"), Path::new("out/x-00007.safetensors"));
        assert_eq!(one.number("x-00007.safetensors"), Some(7));
        assert_eq!((one.number("x.safetensors"), one.number("y-00001.safetensors")), (None, None));
        assert_eq!(one.partial("x.safetensors", 1), Path::new("out/.x.safetensors.partial"));

        let part = collection("x.npy", Way::Together(Some(9)), Format::Npy, Some("3/16"));
        assert_eq!(part.manifest(), Path::new("x.part-03-of-16.manifest.jsonl"));
        assert_eq!(part.file_name(Some(0)), "x.part-03-of-16-00000.npy");
        assert_eq!(part.number("x.part-03-of-16-00000.npy"), Some(0));

        let tree = collection("o", Way::Each, Format::Npy, Some("3/16"));
        assert_eq!(tree.manifest(), Path::new("o/manifest.part-03-of-16.jsonl"));
        assert_eq!(tree.lock(), Path::new("o/.manifest.part-03-of-16.jsonl.lock"));
        assert_eq!(Collection::tar_name(Path::new("a/00042.tar.gz")), "a/00042.tar");
    }

    #[test]
    fn an_output_takes_the_images_name() {
        let spec = |name: &str| TensorSpec { name: name.into(), shape: None };
        let mut contents = Contents {
            tensors: vec![spec("x")],
            dtype: Dtype::F32,
            settings: Metadata::new(),
            overwrite: false,
            update: false,
            accept_failures: false,
        };
        let mut tree = collection("out", Way::Each, Format::Npy, None);
        assert_eq!(tree.own_files(&contents, Path::new("a/cat.v2.jpg")), [Path::new("a/cat.v2.npy")]);
        tree.keep_extension = true;
        assert_eq!(tree.own_files(&contents, Path::new("a/cat.jpg")), [Path::new("a/cat.jpg.npy")]);
        contents.tensors = vec![spec("pixel_values"), spec("hidden_states.0")];
        let files = ["cat.jpg.pixel_values.npy", "cat.jpg.hidden_states.0.npy"].map(PathBuf::from);
        assert_eq!(tree.own_files(&contents, Path::new("cat.jpg")), files);
        tree.format = Format::Safetensors;
        assert_eq!(tree.own_files(&contents, Path::new("cat.jpg")), [Path::new("cat.jpg.safetensors")]);
    }

    #[cfg(unix)]
    #[test]
    fn a_target_may_have_any_name() {
        use std::os::unix::ffi::OsStrExt;
        let path = Path::new(OsStr::from_bytes(b"o/x\xff.npy"));
        let stack =
            Collection { path: path.to_owned(), ..collection("", Way::Together(None), Format::Npy, None) };
        assert_eq!(stack.file_name(None), "x%FF.npy");
        assert_eq!(stack.file("x%FF.npy"), path);
    }
}
