//! Where an image's bytes are, and how they are had.

use std::{
    fmt,
    fs::{self, File},
    io::{self, IsTerminal, Read},
    path::PathBuf,
};

use thiserror::Error;

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
    /// A place that could not be looked into when the inputs were listed, with the reason.
    Unreadable(PathBuf, String),
}

/// Why an image's bytes could not be read; the message does not repeat the path.
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
    /// The reason was found when the inputs were listed.
    #[error("{0}")]
    Unreadable(String),
    /// A directory where a file is needed.
    #[error("is a directory, expected an image file")]
    IsDirectory,
    /// Nothing to decode.
    #[error("is empty")]
    Empty,
    /// More bytes than any image has.
    #[error("is larger than {} GiB, which no supported image is", LARGEST_FILE >> 30)]
    TooLarge,
    /// Nobody pipes an image in.
    #[error(
        "standard input is a terminal, expected an image's bytes\nhint: redirect it from a file, or pipe one in"
    )]
    Terminal,
}

impl Source {
    /// Reads all bytes.
    ///
    /// # Errors
    /// See [`InputError`].
    pub fn read(&self) -> Result<Vec<u8>, InputError> {
        let mut bytes = Vec::new();
        match self {
            Self::Unreadable(_, reason) => return Err(InputError::Unreadable(reason.clone())),
            Self::File(path) => {
                let metadata = fs::metadata(path)?;
                if metadata.is_dir() {
                    return Err(InputError::IsDirectory);
                }
                if metadata.len() > LARGEST_FILE {
                    return Err(InputError::TooLarge);
                }
                bytes.reserve_exact(metadata.len() as usize + 1);
                File::open(path)?.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
            }
            Self::Stdin => {
                let stdin = io::stdin().lock();
                if stdin.is_terminal() {
                    return Err(InputError::Terminal);
                }
                stdin.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
            }
        }
        match bytes.len() as u64 {
            0 => Err(InputError::Empty),
            length if length > LARGEST_FILE => Err(InputError::TooLarge),
            _ => Ok(bytes),
        }
    }
}

/// The path, or `-` for standard input, as on the command line.
impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) | Self::Unreadable(path, _) => path.display().fmt(formatter),
            Self::Stdin => formatter.write_str("-"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: PathBuf) -> Result<Vec<u8>, InputError> {
        Source::File(path).read()
    }

    #[test]
    fn what_holds_no_image_is_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(read(directory.path().to_owned()), Err(InputError::IsDirectory)));
        assert!(matches!(read(file.clone()), Err(InputError::Empty)));
        assert!(matches!(read(directory.path().join("missing")), Err(InputError::Io(_))));
        fs::write(&file, "bytes").unwrap();
        assert_eq!(read(file.clone()).unwrap(), b"bytes");
        File::create(&file).unwrap().set_len(LARGEST_FILE + 1).unwrap();
        assert!(matches!(read(file), Err(InputError::TooLarge)));
    }
}
