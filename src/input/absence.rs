//! What is wrong with a path at which there is nothing.

use std::{io, path::Path};

/// What stands where a file was expected that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// An address such as `https://host/photo.jpg`.
    Address,
    /// A pattern such as `*.jpg`, as a shell leaves it that finds nothing.
    Pattern,
    /// `~`, which only a shell replaces by the home directory.
    Tilde,
}

impl Absence {
    /// What a path at which there is nothing looks like; none where it looks like a file.
    pub fn of(path: &Path) -> Option<Self> {
        let text = path.to_string_lossy();
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        let is_scheme =
            |scheme: &str| !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
        match () {
            () if scheme.is_some_and(is_scheme) => Some(Self::Address),
            () if text.starts_with('~') => Some(Self::Tilde),
            () if text.contains(['*', '?']) => Some(Self::Pattern),
            () => None,
        }
    }

    /// Why there is nothing at a path, in words; of a file that cannot be reached what the system said.
    pub(super) fn reason(path: &Path, error: &io::Error) -> String {
        match Self::of(path).filter(|_| error.kind() == io::ErrorKind::NotFound) {
            Some(Self::Address) => "is an address, and images are read from files".into(),
            Some(Self::Pattern) => "no file matches this pattern".into(),
            Some(Self::Tilde) => "no such file: ~ was not replaced by the home directory".into(),
            None => error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_path_is_told_apart() {
        for (path, expected) in [
            ("https://a.org/b.jpg", Some(Absence::Address)),
            ("s3://bucket/b.tar", Some(Absence::Address)),
            ("~/b.jpg", Some(Absence::Tilde)),
            ("photos/*.jpg", Some(Absence::Pattern)),
            ("a~/b.jpg", None),
            ("a b://c", None),
        ] {
            assert_eq!(Absence::of(Path::new(path)), expected, "{path}");
        }
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        assert_eq!(Absence::reason(Path::new("*"), &denied), denied.to_string());
    }
}
