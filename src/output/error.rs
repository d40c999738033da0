//! What can be wrong with an output.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{Format, format::safetensors::LARGEST_HEADER};

/// Something that can be said of how to write, which means nothing to some destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// The format.
    Format,
    /// The most bytes of a file.
    ShardSize,
    /// Whether names keep the image's extension.
    KeepExtension,
    /// Whether what is there is replaced.
    Overwrite,
    /// Whether images that have changed are made again.
    Update,
    /// Which part of the job it is.
    Part,
    /// What is carried over of the samples of tars.
    Keep,
}

impl Setting {
    /// The name, and what it does where it means something.
    fn purpose(self) -> &'static str {
        match self {
            Self::Format => "format says how to write, and nothing is written",
            Self::ShardSize => "shard-size splits an archive",
            Self::KeepExtension => "keep-extension names the files of a directory",
            Self::Keep => "keep carries members over from tar to tar",
            Self::Part => "part splits the work on several images",
            Self::Overwrite => "overwrite replaces files, and none are written",
            Self::Update => "update makes changed images of a directory again",
        }
    }
}

/// Why an output could not be opened or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OutputError {
    /// A setting that means nothing for this destination.
    #[error("{}", setting.purpose())]
    Unused {
        /// The setting.
        setting: Setting,
    },
    /// `.npy` cannot name this type.
    #[error("dtype bf16: .npy has no bfloat16")]
    NoBfloat16,
    /// Neither the path nor a format says how to write.
    #[error("{}: {}", path.display(), no_format(path))]
    NoFormat {
        /// The target.
        path: PathBuf,
    },
    /// The path's extension names another format than the one asked for.
    #[error("{}: the format {} contradicts the file's extension", path.display(), asked.name())]
    OtherFormat {
        /// The target.
        path: PathBuf,
        /// The format that is asked for.
        asked: Format,
    },
    /// Binary data and a person's screen.
    #[error("standard output is a terminal, and the tensor is binary\nhint: redirect it, or name a file")]
    Terminal,
    /// The same of a path.
    #[error("{}: is a terminal, and the tensor is binary\nhint: name a file", path.display())]
    TerminalPath {
        /// The target.
        path: PathBuf,
    },
    /// A format that cannot be written one image after the other.
    #[error("a stream of several images is .npy")]
    NoStream,
    /// A directory of tars, and inputs that are none.
    #[error("{}: an output directory of tars needs tar inputs\nhint: name one file, such as {}", path.display(), path.join("features.tar").display())]
    NoTars {
        /// The directory.
        path: PathBuf,
    },
    /// One picture, and several images to draw.
    #[error("{}: one file for several images\nhint: name a directory, such as {}/", path.display(), path.with_extension("").display())]
    OnePicture {
        /// The target.
        path: PathBuf,
    },
    /// Parts of a job write side by side, so that none can start the directory anew.
    #[error("{}: one part of a job cannot start over a directory that others write\nhint: name an empty directory", path.display())]
    OverwriteInParts {
        /// The directory.
        path: PathBuf,
    },
    /// A stack, and more than one tensor of an image.
    #[error(
        "{}: a stack holds one tensor of an image, and {tensors} are asked for\n\
         hint: write .safetensors, or into a directory",
        path.display()
    )]
    OneTensor {
        /// The target.
        path: PathBuf,
        /// How many are asked for.
        tensors: usize,
    },
    /// A limit on a file's size that not even one image keeps.
    #[error(
        "{}: shard-size {limit}: an image of {image} bytes and what stands beside it do not fit, which take {least}",
        path.display()
    )]
    ShardSize {
        /// The target.
        path: PathBuf,
        /// The most bytes of a file.
        limit: u64,
        /// The bytes of an image.
        image: u64,
        /// The least that a limit can be.
        least: u64,
    },
    /// The target's directory does not exist.
    #[error("{}: the directory {} does not exist\nhint: create it with mkdir -p", path.display(), directory.display())]
    NoDirectory {
        /// The target.
        path: PathBuf,
        /// Its parent.
        directory: PathBuf,
    },
    /// A file is where one of the target's directories would be.
    #[error("{}: {} is not a directory\nhint: give another path, or remove that file", path.display(), file.display())]
    NotDirectory {
        /// The target.
        path: PathBuf,
        /// The file in the way.
        file: PathBuf,
    },
    /// The target is a directory, and a file is needed.
    #[error("{}: is a directory\nhint: name a file in it, such as {}", path.display(), path.join("features.npy").display())]
    IsDirectory {
        /// The target.
        path: PathBuf,
    },
    /// Another process holds its lock.
    #[error("{}: another process is writing it", path.display())]
    Busy {
        /// The target.
        path: PathBuf,
    },
    /// There is an output of other settings, or of unknown origin, where this one should go.
    #[error("{}: {reason}", path.display())]
    Taken {
        /// The target.
        path: PathBuf,
        /// What is there.
        reason: String,
    },
    /// What an earlier run wrote is not as it was.
    #[error("{}: is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What shows it.
        reason: String,
    },
    /// A file of unknown origin is where an image's output should go.
    #[error("{}: exists, and the manifest does not list it", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// What is there was written by a newer version.
    #[error("{}: was written by a newer version of clip-features: its format is {version}, and {known} is known here", path.display())]
    Newer {
        /// The manifest.
        path: PathBuf,
        /// The version of its format.
        version: u32,
        /// The newest that is known.
        known: u32,
    },
    /// A single file that can take no more.
    #[error(
        "{}: is full: it holds {entries} images, and readers take no larger head than {LARGEST_HEADER} bytes",
        path.display()
    )]
    Full {
        /// The file.
        path: PathBuf,
        /// The images that it holds.
        entries: usize,
    },
    /// A single file that could not be read if it held what is planned.
    #[error(
        "{}: cannot hold {images} images: readers take no larger head than {LARGEST_HEADER} bytes, which is full with {entries} of them",
        path.display()
    )]
    TooMany {
        /// The file.
        path: PathBuf,
        /// The images that are planned, and there already.
        images: usize,
        /// How many fit.
        entries: usize,
    },
    /// An image's output would lie outside the directory, or on another image's.
    #[error("{}: {reason}", path.display())]
    Misplaced {
        /// The output.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Whoever read our standard output has closed it.
    #[error("standard output was closed by its reader")]
    ReaderGone,
    /// The system refused.
    #[error("{}: cannot be written: {source}{}", path.display(), hint(source))]
    Io {
        /// The target.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl OutputError {
    /// The same of the path that a user knows, where an error names a file inside of it.
    pub(super) fn at(self, path: &Path) -> Self {
        match self {
            Self::Io { source, .. } => Self::Io { path: path.to_owned(), source },
            Self::Busy { .. } => Self::Busy { path: path.to_owned() },
            other => other,
        }
    }

    /// Of standard output: a reader that has gone is another matter than a full disk.
    pub(crate) fn of_stdout(source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::Io { path: "standard output".into(), source },
        }
    }

    /// Whether another image may do better.
    pub fn is_of_one_image(&self) -> bool {
        matches!(self, Self::Misplaced { .. } | Self::Foreign { .. })
    }
}

fn no_format(path: &Path) -> String {
    match path.extension() {
        Some(extension) => format!("writing .{} is not supported", extension.display()),
        None => "the name has no extension, which would say how to write".into(),
    }
}

/// The way out, where there is one.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "\nhint: free some space and run the same command again"
        }
        io::ErrorKind::FileTooLarge => {
            "\nhint: raise the limit on a file's size, ulimit -f, and run the same command again"
        }
        _ => "",
    }
}
