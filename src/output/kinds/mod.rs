//! The kinds of destination, one file each, and the one place where they are chosen.

mod archive;
mod catalogue;
mod directory;
mod file;
mod ledger;
mod mirror;
mod nothing;
mod stack;
mod stdout;
mod tar;
mod tar_stream;
mod tree;

use std::path::{Path, PathBuf};

pub(crate) use catalogue::Catalogue;
pub use directory::{Directory, OpenDirectory};

use super::{
    Destination, Dtype, Format, OutputError, Part, Setting, is_terminal,
    parts::{Layout, Many, Names},
};
use crate::shard;

/// What was asked for of an output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The file or directory to write; `-` for standard output.
    pub path: Option<PathBuf>,
    /// The format, if not the one that the path's extension names.
    pub format: Option<Format>,
    /// Whether there may be more than one image.
    pub several: bool,
    /// The most bytes of a file of many images.
    pub shard_size: Option<u64>,
    /// Whether `cat.jpg` becomes `cat.jpg.npy` rather than `cat.npy`.
    pub keep_extension: bool,
    /// The type to store.
    pub dtype: Dtype,
    /// Whether what is there is started anew.
    pub overwrite: bool,
    /// Whether a tar is asked for, by another sign than the path's extension.
    pub tar: bool,
    /// Whether all inputs are tar shards; none if that is not known.
    pub sharded: Option<bool>,
    /// Whether members of samples are carried over.
    pub keep: bool,
    /// Which part of a job is done, if it is split.
    pub part: Option<Part>,
}

/// A kind's claim: none if what was asked for is not of this kind.
type Claim = Option<Result<Box<dyn Destination>, OutputError>>;

/// The kinds, in the order in which they are asked.
const KINDS: [fn(&Asked) -> Claim; 9] = [
    nothing::claim,
    tar_stream::claim,
    stdout::claim,
    tar::claim,
    mirror::claim,
    tree::claim,
    stack::claim,
    archive::claim,
    file::claim,
];

/// The destination that was asked for; nothing is touched.
///
/// # Errors
/// It cannot be told which, or it cannot do what was asked.
pub fn choose(asked: &Asked) -> Result<Box<dyn Destination>, OutputError> {
    if let Some(path) = asked.path.clone().filter(|path| is_terminal(path)) {
        return Err(OutputError::TerminalPath { path });
    }
    asked.check_directory()?;
    let destination = KINDS.iter().find_map(|claim| claim(asked)).expect("the last kind takes any path")?;
    let given = [
        (Setting::Format, asked.format.is_some() || asked.tar),
        (Setting::Part, asked.part.is_some()),
        (Setting::Keep, asked.keep),
        (Setting::ShardSize, asked.shard_size.is_some()),
        (Setting::KeepExtension, asked.keep_extension),
        (Setting::Overwrite, asked.overwrite),
    ];
    if let Some((setting, _)) =
        given.into_iter().find(|&(setting, given)| given && !destination.heeds(setting))
    {
        return Err(OutputError::Unused { setting });
    }
    if let (Some(path), true) = (destination.path(), asked.part.is_some() && asked.overwrite)
        && asked.names_directory()
    {
        return Err(OutputError::OverwriteInParts { path: path.to_owned() });
    }
    if asked.dtype == Dtype::Bf16 && destination.format() == Some(Format::Npy) {
        return Err(OutputError::NoBfloat16);
    }
    Ok(destination)
}

impl Asked {
    /// The format of a file at `path`: the one asked for, or the one that its extension names.
    fn format_of(&self, path: &Path) -> Option<Result<Format, OutputError>> {
        match (self.format, Format::of_path(path)) {
            (Some(asked), Some(named)) if asked != named => {
                Some(Err(OutputError::OtherFormat { path: path.to_owned() }))
            }
            (asked, named) => asked.or(named).map(Ok),
        }
    }

    /// Whether the path is a directory's: of one that exists, that a trailing slash announces, and of any name without a format
    /// for several images.
    fn names_directory(&self) -> bool {
        let Some(path) = self.path.as_deref() else { return false };
        let last = path.as_os_str().as_encoded_bytes().last();
        let ends_in_slash = last.is_some_and(|&byte| std::path::is_separator(byte.into()));
        ends_in_slash || path.is_dir() || self.several && Format::of_path(path).is_none()
    }

    /// Refuses the name of a packed file for a directory of several images that is not there yet.
    fn check_directory(&self) -> Result<(), OutputError> {
        let Some(path) = self.path.clone().filter(|path| self.several && !path.is_dir()) else {
            return Ok(());
        };
        let name = path.as_os_str().to_string_lossy().to_ascii_lowercase();
        let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
        if ends(&[".tgz", ".tar.gz"]) {
            let mut instead = shard::stem(&path).into_os_string();
            instead.push(".tar");
            return Err(OutputError::Unwritten { path, instead: instead.into() });
        }
        if ends(&[".npz"]) {
            let instead = path.with_extension("npy");
            return Err(OutputError::Unwritten { path, instead });
        }
        Ok(())
    }

    /// The claim of a file of many images in this format, if that is what its name says. To one that is there
    /// already a single image is one of many.
    fn many(&self, format: Format, layout: &'static dyn Layout) -> Claim {
        let path = self.path.as_deref().filter(|path| Format::of_path(path).is_some())?;
        if !self.several && !archive::holds_many(path) {
            return None;
        }
        match self.format_of(path)? {
            Ok(found) if found == format => {
                let path = self.part.map_or(path.to_owned(), |part| part.file(path));
                let names = Names { path, format, shard_size: self.shard_size };
                Some(Ok(Box::new(Many { names, layout })))
            }
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(path: &str, several: bool) -> Asked {
        Asked { path: Some(path.into()), several, ..Asked::default() }
    }

    #[test]
    fn the_kind_follows_from_the_name_and_the_inputs() {
        let kind = |asked: &Asked| format!("{:?}", choose(asked).unwrap()).replace(['"', '{'], "");
        let safetensors = Some(Format::Safetensors);
        let shards = Some(2_000_000_000);
        for (asked, want) in [
            (Asked::default(), "Nothing"),
            (asked("x.npy", false), "OneFile  path: x.npy, format: Npy"),
            (asked("x.safetensors", false), "OneFile  path: x.safetensors, format: Safetensors"),
            (
                Asked { format: Some(Format::Npy), ..asked("x.bin", false) },
                "OneFile  path: x.bin, format: Npy",
            ),
            (asked("src", false), "Tree  root: src, format: Npy"),
            (Asked { format: safetensors, ..asked("new/", false) }, "Tree  root: new/, format: Safetensors"),
            (asked("new", true), "Tree  root: new, format: Npy"),
            (asked("x.npy", true), "Many  names: Names  path: x.npy, format: Npy"),
            (
                Asked { shard_size: shards, ..asked("x.safetensors", true) },
                "Many  names: Names  path: x.safetensors",
            ),
        ] {
            let found = kind(&asked);
            assert!(found.starts_with(want), "{asked:?}: {found}");
        }
    }

    #[test]
    fn several_images_make_no_directory_with_the_name_of_a_packed_file() {
        for (name, instead) in [("a/x.tgz", "a/x.tar"), ("x.y.tar.gz", "x.y.tar"), ("x.NPZ", "x.npy")] {
            let message = choose(&asked(name, true)).unwrap_err().to_string();
            assert!(message.contains(&format!("\nhint: name {instead}, or {name}/ for")), "{message}");
            choose(&asked(&format!("{name}/"), true)).unwrap();
        }
    }

    #[test]
    fn what_a_kind_cannot_do_is_refused() {
        let bf16 = |asked| Asked { dtype: Dtype::Bf16, ..asked };
        for (asked, part) in [
            (asked("x.bin", false), "names no format"),
            (Asked { format: Some(Format::Safetensors), ..asked("x.npy", false) }, "contradicts"),
            (Asked { format: Some(Format::Safetensors), ..asked("x.npy", true) }, "contradicts"),
            (Asked { format: Some(Format::Npy), ..Asked::default() }, "nothing is written"),
            (bf16(asked("x.npy", false)), "no bfloat16"),
            (bf16(asked("x/", true)), "no bfloat16"),
            (Asked { shard_size: Some(1), ..asked("x.npy", false) }, "splits an archive"),
            (Asked { keep_extension: true, ..asked("x.npy", true) }, "names the files of a directory"),
            (Asked { overwrite: true, ..Asked::default() }, "none are written"),
        ] {
            let message = choose(&asked).unwrap_err().to_string();
            assert!(message.contains(part), "{asked:?}: {message}");
        }
    }
}
