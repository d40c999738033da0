//! An input with the name that its output will have.

use std::path::{Component, Path, PathBuf};

use super::Source;

/// One image of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Where its bytes are.
    pub source: Source,
    /// Its path within the outputs: relative, without `.` and `..`, with its own extension.
    pub name: PathBuf,
}

impl Item {
    /// An image given by its path: the output's path repeats what of it can lie inside a directory.
    pub fn file(path: PathBuf) -> Self {
        let name = inner_path(&path);
        Self { source: Source::File(path), name }
    }

    /// An image found in a directory: the output's path is relative to that directory.
    pub fn found(root: &Path, path: PathBuf) -> Self {
        let name = inner_path(path.strip_prefix(root).unwrap_or(&path));
        Self { source: Source::File(path), name }
    }

    /// A place that could not be looked into.
    pub fn unreadable(path: PathBuf, reason: String) -> Self {
        let name = inner_path(&path);
        Self { source: Source::Unreadable(path, reason), name }
    }

    /// The image on standard input.
    pub fn stdin() -> Self {
        Self { source: Source::Stdin, name: "stdin".into() }
    }
}

/// The ordinary components of a path, without root, prefix, `.` and `..`: joined to a directory it stays inside.
fn inner_path(path: &Path) -> PathBuf {
    path.components().filter(|component| matches!(component, Component::Normal(_))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        for (path, name) in [
            ("cat.jpg", "cat.jpg"),
            ("./a/./cat.jpg", "a/cat.jpg"),
            ("../../etc/cat.jpg", "etc/cat.jpg"),
            ("/data/a/cat.jpg", "data/a/cat.jpg"),
            ("a/../cat.jpg", "a/cat.jpg"),
        ] {
            assert_eq!(Item::file(path.into()).name, Path::new(name), "{path}");
        }
        assert_eq!(Item::found(Path::new("a/b"), "a/b/c/cat.jpg".into()).name, Path::new("c/cat.jpg"));
    }
}
