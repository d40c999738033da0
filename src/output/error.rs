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
///
/// ```
/// use clip_features::{Dtype, OutputError, job::{Job, JobError}};
///
/// let mut job = Job::default();
/// job.output.path = Some("features.npy".into());
/// job.output.dtype = Dtype::Bf16;
/// match job.choose() {
///     Err(JobError::Output(error @ OutputError::NoBfloat16)) => {
///         assert_eq!(error.to_string(), "dtype bf16: .npy has no bfloat16");
///     }
///     other => panic!("{other:?}"),
/// }
/// ```
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
    /// A format that cannot be written one image after the other.
    #[error("a stream of several images is .npy")]
    NoStream,
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
    /// It cannot go there, whatever is there already.
    #[error("{}: {reason}", path.display())]
    Refused {
        /// The target.
        path: PathBuf,
        /// Why, and the way out.
        reason: String,
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
    /// It cannot go there.
    pub(super) fn refused(path: &Path, reason: impl Into<String>) -> Self {
        Self::Refused { path: path.to_owned(), reason: reason.into() }
    }

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
