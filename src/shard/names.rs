//! Names of shards and of their members.

use std::path::{Component, Path, PathBuf};

use pillow_exact::Format;

/// Ends of the names of shards.
const SHARDS: [&str; 3] = [".tar", ".tar.gz", ".tgz"];

/// Whether a file counts as an image whatever it holds, so that a damaged one is reported.
pub(crate) fn has_image_extension(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.and_then(Format::of_extension).is_some_and(Format::is_read)
}

/// Whether a file counts as a shard, by its name.
pub(crate) fn is_shard(path: &Path) -> bool {
    stem(path) != path
}

/// A shard's path without what makes it one: `a/00042.tar.gz` → `a/00042`.
pub(crate) fn stem(path: &Path) -> PathBuf {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let ends = |end: &&&str| name.len() > end.len() && name.to_ascii_lowercase().ends_with(**end);
    match SHARDS.iter().find(ends) {
        Some(end) => path.with_file_name(&name[..name.len() - end.len()]),
        None => path.to_owned(),
    }
}

/// The ordinary components of a path, without root, prefix, `.` and `..`: joined to a directory it stays inside.
pub(crate) fn inner_path(path: &Path) -> PathBuf {
    path.components().filter(|component| matches!(component, Component::Normal(_))).collect()
}

/// A member's key and extension: its path up to the first dot of its base name, and what follows that dot, in small letters.
/// None of a hidden member.
pub(super) fn split(member: &Path) -> Option<(String, String)> {
    let parts: Vec<_> = member.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    if parts.is_empty() || parts.iter().any(|part| part.starts_with('.')) {
        return None;
    }
    let path = parts.join("/");
    let base = path.len() - parts.last()?.len();
    Some(match path[base..].split_once('.') {
        Some((stem, extension)) => (path[..base + stem.len()].to_owned(), extension.to_ascii_lowercase()),
        None => (path, String::new()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_ends_at_the_first_dot_of_the_base_name() {
        let split = |path: &str| split(Path::new(path));
        let pair = |key: &str, extension: &str| Some((key.to_owned(), extension.to_owned()));
        assert_eq!(split("000012.jpg"), pair("000012", "jpg"));
        assert_eq!(split("a.b/c.Seg.PNG"), pair("a.b/c", "seg.png"));
        assert_eq!(split("a/README"), pair("a/README", ""));
        assert_eq!(split("a/._cat.jpg"), None);
        assert_eq!(split(""), None);
    }

    #[test]
    fn shards_are_told_by_their_names() {
        for (path, name) in [("a/00042.tar", "a/00042"), ("x.TAR.GZ", "x"), ("b.c.tgz", "b.c")] {
            assert!(is_shard(Path::new(path)));
            assert_eq!(stem(Path::new(path)), Path::new(name));
        }
        for path in ["a.jpg", ".tar", "tar", "a.tar/b", "a.gz"] {
            assert!(!is_shard(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn inner_paths_stay_inside() {
        for (path, name) in [
            ("cat.jpg", "cat.jpg"),
            ("./a/./cat.jpg", "a/cat.jpg"),
            ("../../etc/cat.jpg", "etc/cat.jpg"),
            ("/data/a/cat.jpg", "data/a/cat.jpg"),
            ("a/../cat.jpg", "a/cat.jpg"),
        ] {
            assert_eq!(inner_path(Path::new(path)), Path::new(name), "{path}");
        }
    }
}
