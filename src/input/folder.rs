//! The images of a directory.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use pillow_exact::looks_like_image;
use walkdir::{DirEntry, WalkDir};

use super::{Images, Item, PassedOver};
use crate::{
    output::is_of_outputs,
    shard::{has_image_extension, is_shard},
};

/// Whether a directory holds shards and no images beside them.
pub(super) fn is_sharded(root: &Path) -> bool {
    let mut shards = false;
    for path in files(root) {
        if is_shard(&path) {
            shards = true;
        } else if is_image(&path) {
            return false;
        }
    }
    shards
}

pub(super) fn holds_shards(root: &Path) -> bool {
    files(root).any(|path| is_shard(&path))
}

/// In the order of their names; what could not be looked into is an image that fails, in its place. Hidden files and
/// directories are skipped, and directories of outputs; symbolic links are followed. An image is told by its first bytes, or, where these
/// say nothing, by its extension, a tar shard by its extension.
pub(super) fn images(root: PathBuf) -> Images {
    let (mut items, mut passed) = (Vec::new(), PassedOver::default());
    for entry in walk(&root) {
        match entry {
            Ok(entry) if entry.file_type().is_file() => {
                let path = entry.path();
                let start =
                    if is_shard(path) || has_image_extension(path) { None } else { Some(start(path)) };
                match start.filter(|start| !looks_like_image(start)) {
                    None => items.push(Item::found(&root, entry.into_path())),
                    Some(start) => {
                        passed.others += 1;
                        passed.not_read.note(path, &start);
                    }
                }
            }
            Ok(_) => {} // directories are entered, and pipes, sockets and devices are never read unasked
            Err(error) => {
                let path = error.path().unwrap_or(&root).to_owned();
                let reason = match error.loop_ancestor() {
                    Some(ancestor) => format!("a link back to {}", ancestor.display()),
                    None => error.io_error().map_or_else(|| error.to_string(), ToString::to_string),
                };
                items.push(Item::unreadable(path, reason));
            }
        }
    }
    if items.is_empty() {
        passed.empty.push(root);
    }
    Images::Known { items, passed }
}

/// All files below a directory, but for those that were written here: a directory below it that has a manifest of ours.
fn walk(root: &Path) -> impl Iterator<Item = walkdir::Result<DirEntry>> {
    let entries = WalkDir::new(root).follow_links(true).sort_by_file_name().min_depth(1);
    let is_own = |entry: &DirEntry| entry.file_type().is_dir() && is_of_outputs(entry.path());
    entries.into_iter().filter_entry(move |entry| !is_hidden(entry) && !is_own(entry))
}

fn files(root: &Path) -> impl Iterator<Item = PathBuf> {
    let files = walk(root).filter_map(Result::ok).filter(|entry| entry.file_type().is_file());
    files.map(DirEntry::into_path)
}

fn is_hidden(entry: &DirEntry) -> bool {
    entry.depth() > 0 && entry.file_name().as_encoded_bytes().starts_with(b".")
}

fn is_image(path: &Path) -> bool {
    has_image_extension(path) || looks_like_image(&start(path))
}

/// The first bytes of a file, or none. One that says that it has none may be of the system's, and wait for ever.
fn start(path: &Path) -> Vec<u8> {
    let mut start = Vec::new();
    if fs::metadata(path).is_ok_and(|found| found.len() > 0)
        && let Ok(file) = File::open(path)
    {
        let _ = file.take(64).read_to_end(&mut start); // what cannot be read says nothing
    }
    start
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn found(root: &Path) -> (Vec<Item>, usize) {
        match images(root.to_owned()) {
            Images::Known { items, passed } => (items, passed.others),
            Images::Listed(_) => panic!("a directory's images are known in advance"),
        }
    }

    #[test]
    fn images_are_found_sorted_by_content_and_by_extension() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("sub/deep")).unwrap();
        fs::create_dir(root.join(".hidden")).unwrap();
        for (name, bytes) in [
            ("b.PNG", &b"damaged"[..]),
            ("a.dat", b"\x89PNG\r\n\x1a\n"),
            ("notes.txt", b"text"),
            (".hidden/c.png", b""),
            (".d.png", b""),
            ("sub/deep/e.webp", b""),
            ("sub.jpg", b""),
        ] {
            fs::write(root.join(name), bytes).unwrap();
        }
        let (items, others) = found(root);
        let names: Vec<_> = items.iter().map(|item| item.name.to_str().unwrap()).collect();
        assert_eq!(names, ["a.dat", "b.PNG", "sub/deep/e.webp", "sub.jpg"]);
        assert_eq!(others, 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_a_circle_is_named_and_does_not_hang() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a.png"), "").unwrap();
        std::os::unix::fs::symlink(directory.path(), directory.path().join("loop")).unwrap();
        let (items, _) = found(directory.path());
        assert_eq!(items[0].name, Path::new("a.png"));
        assert_eq!(items.len(), 2);
        assert!(items[1].source.read().unwrap_err().to_string().starts_with("a link back to"));
    }
}
