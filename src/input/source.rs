//! Where an image's bytes are, and how they are had.

use std::{
    borrow::Cow,
    fmt,
    fs::{self, File},
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use pillow_exact::{DecodeError, START, check_start};
use thiserror::Error;

use super::{Absence, NoList, stream};
use crate::shard::{End, Unusable};

/// Encoded images larger than this are refused: more than any picture within Pillow's pixel limit needs, and a
/// bound for inputs that never end.
const LARGEST_FILE: u64 = 2 << 30;

/// One image to read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// The bytes on standard input.
    Stdin,
    /// A tar shard, of which a listing has one item for all of its images.
    Shard(PathBuf),
    /// An image in a shard.
    Member {
        /// The shard.
        shard: PathBuf,
        /// Its path there.
        member: PathBuf,
        /// Where its header stands in the unpacked shard.
        offset: u64,
        /// Its bytes.
        bytes: Arc<Vec<u8>>,
    },
    /// The end of a shard, after its images.
    ShardEnd {
        /// The shard.
        shard: PathBuf,
        /// What is to be said of it.
        end: End,
        /// What the shard was when it was opened.
        stat: Stat,
    },
    /// A place of which no image can be had, with the reason.
    Unusable(PathBuf, Unusable),
    /// The place at which a list turns out to be none, which ends the run.
    NoList {
        /// The list.
        list: PathBuf,
        /// What shows it.
        reason: NoList,
    },
}

/// What a system says of a file beside its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stat {
    /// Its size.
    pub bytes: Option<u64>,
    /// When it was last changed, in nanoseconds of Unix time.
    pub modified_ns: Option<i64>,
}

impl Stat {
    /// Of an open or a named file.
    pub fn of(found: &fs::Metadata) -> Self {
        let nanoseconds = |time: SystemTime| match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_nanos()).ok(),
            Err(before) => i64::try_from(before.duration().as_nanos()).ok().map(|nanoseconds| -nanoseconds),
        };
        Self { bytes: Some(found.len()), modified_ns: found.modified().ok().and_then(nanoseconds) }
    }
}

/// Why an image's bytes could not be read; the message does not repeat the path.
///
/// ```
/// use clip_features::{InputError, Inputs, List, ModelSpec, Separator, job::{Job, JobError}};
///
/// let mut job = Job::default();
/// job.inputs = Inputs::List(List { path: std::env::temp_dir(), separator: Separator::Newline });
/// match job.choose()?.look(&ModelSpec::Random { seed: 0, directory: None }) {
///     Err(JobError::Input(error @ InputError::NoList { .. })) => {
///         assert!(error.to_string().ends_with("is no list of paths: it is a directory"));
///     }
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InputError {
    /// The system refused.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A list of images could not be opened.
    #[error("{}: {source}", path.display())]
    List {
        /// The list.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A list of images is none.
    #[error("{}: is no list of paths: {reason}", path.display())]
    NoList {
        /// The list.
        path: PathBuf,
        /// What shows it.
        reason: NoList,
    },
    /// The reason in words: of a path at which there is nothing, or what was found when the inputs were listed.
    #[error("{0}")]
    Unreadable(String),
    /// A tar is damaged, or a member of it is none that can be taken.
    #[error("{0}")]
    Damaged(String),
    /// A sample of several images, of which none is chosen.
    #[error("{0}")]
    SeveralImages(String),
    /// A directory where a file is needed.
    #[error("is a directory, expected an image file")]
    IsDirectory,
    /// Nothing to decode.
    #[error("is empty")]
    Empty,
    /// The first bytes are those of no image, and no more were read.
    #[error(transparent)]
    NoImage(#[from] DecodeError),
    /// More bytes than any image has.
    #[error("is larger than {} GiB, which no supported image is", LARGEST_FILE >> 30)]
    TooLarge,
    /// Nobody pipes an image in.
    #[error(
        "standard input is a terminal, expected an image's bytes\nhint: redirect it from a file, or pipe one in"
    )]
    Terminal,
}

impl From<Unusable> for InputError {
    fn from(unusable: Unusable) -> Self {
        match unusable {
            Unusable::Unreadable(reason) => Self::Unreadable(reason),
            Unusable::Damaged(reason) => Self::Damaged(reason),
            Unusable::SeveralImages(reason) => Self::SeveralImages(reason),
        }
    }
}

impl Source {
    /// Tells of what ends a run: a list that is none.
    ///
    /// # Errors
    /// It is that.
    pub fn refused(&self) -> Result<(), InputError> {
        match self {
            Self::NoList { list, reason } => Err(InputError::NoList { path: list.clone(), reason: *reason }),
            _ => Ok(()),
        }
    }

    /// What the system says of it, as far as that is known without reading it.
    pub fn stat(&self) -> Stat {
        match self {
            Self::File(path) | Self::Shard(path) if !is_stdin(path) => {
                fs::metadata(path).map(|found| Stat::of(&found)).unwrap_or_default()
            }
            Self::Member { bytes, .. } => Stat { bytes: Some(bytes.len() as u64), modified_ns: None },
            Self::ShardEnd { stat, .. } => *stat,
            _ => Stat::default(),
        }
    }

    /// Reads all bytes, or no more than the first ones where these are no image's; gives what the system says of the file that they are
    /// from.
    ///
    /// # Errors
    /// See [`InputError`].
    pub fn read(&self) -> Result<(Cow<'_, [u8]>, Stat), InputError> {
        let mut stat = Stat::default();
        let bytes = match self {
            Self::Unusable(_, unusable) | Self::ShardEnd { end: End { damage: Some(unusable), .. }, .. } => {
                return Err(unusable.clone().into());
            }
            Self::NoList { .. } => return self.refused().map(|()| (Cow::default(), stat)),
            Self::Member { bytes, .. } => return Ok((Cow::Borrowed(bytes.as_slice()), self.stat())),
            Self::Shard(_) | Self::ShardEnd { .. } => Vec::new(),
            Self::File(path) => {
                let metadata = fs::metadata(path);
                let metadata =
                    metadata.map_err(|error| InputError::Unreadable(Absence::reason(path, &error)))?;
                if metadata.is_dir() {
                    return Err(InputError::IsDirectory);
                }
                if metadata.len() > LARGEST_FILE {
                    return Err(InputError::TooLarge);
                }
                stat = Stat::of(&metadata);
                read_image(File::open(path)?, metadata.len() as usize)?
            }
            Self::Stdin => {
                if io::stdin().is_terminal() {
                    return Err(InputError::Terminal);
                }
                read_image(stream::reader(), 0)?
            }
        };
        match bytes.len() as u64 {
            0 => Err(InputError::Empty),
            length if length > LARGEST_FILE => Err(InputError::TooLarge),
            length => {
                stat.bytes = Some(length);
                Ok((Cow::Owned(bytes), stat))
            }
        }
    }
}

/// Reads to the end, or to where an image is too large; a device without end is none by its first bytes.
fn read_image(reader: impl Read, length: usize) -> Result<Vec<u8>, InputError> {
    let mut reader = reader.take(LARGEST_FILE + 1);
    let mut bytes = Vec::new();
    reader.by_ref().take(START as u64).read_to_end(&mut bytes)?;
    check_start(&bytes)?;
    bytes.reserve_exact((length + 1).saturating_sub(bytes.len()));
    reader.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The path, or `-` for standard input, as on the command line.
impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) | Self::Unusable(path, _) | Self::Shard(path) => path.display().fmt(formatter),
            Self::ShardEnd { shard, .. } => shard.display().fmt(formatter),
            Self::NoList { list, .. } => list.display().fmt(formatter),
            Self::Member { shard, member, .. } => display_path(shard, member).display().fmt(formatter),
            Self::Stdin => formatter.write_str("-"),
        }
    }
}

/// What a member is called in reports: below its shard, or by itself where that is standard input.
pub(super) fn display_path(shard: &Path, member: &Path) -> PathBuf {
    if is_stdin(shard) { member.to_owned() } else { shard.join(member) }
}

pub(super) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// What leads to the file that standard input was redirected from, where the system has such a thing.
pub(super) const STDIN: &str = "/dev/stdin";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: PathBuf) -> Result<Vec<u8>, InputError> {
        Source::File(path).read().map(|(bytes, _)| bytes.into_owned())
    }

    #[test]
    fn what_holds_no_image_is_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(read(directory.path().to_owned()), Err(InputError::IsDirectory)));
        assert!(matches!(read(file.clone()), Err(InputError::Empty)));
        assert!(matches!(read(directory.path().join("missing")), Err(InputError::Unreadable(_))));
        fs::write(&file, "bytes").unwrap();
        assert!(matches!(read(file.clone()), Err(InputError::NoImage(_))));
        let image = [&b"BM"[..], &[7; 3 * START]].concat();
        fs::write(&file, &image).unwrap();
        assert_eq!(read(file.clone()).unwrap(), image);
        File::create(&file).unwrap().set_len(LARGEST_FILE + 1).unwrap();
        assert!(matches!(read(file), Err(InputError::TooLarge)));
    }
}
