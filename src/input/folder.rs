//! The images of a directory.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use pillow_exact::looks_like_image;
use walkdir::{DirEntry, WalkDir};

use super::{Images, Input, InputError, Item};
use crate::{
    output::is_of_outputs,
    shard::{has_image_extension, is_shard},
};

/// A directory and those below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(pub PathBuf);

/// In the order of their names; what could not be looked into is an image that fails, in its place. Hidden files and
/// directories are skipped, and directories of outputs; symbolic links are followed. An image is told by its first bytes, or, where these
/// say nothing, by its extension, a tar shard by its extension.
impl Input for Folder {
    /// Whether it holds shards and no images beside them.
    fn is_sharded(&self) -> Option<bool> {
        let mut shards = false;
        for entry in walk(&self.0).filter_map(Result::ok).filter(|entry| entry.file_type().is_file()) {
            if is_shard(entry.path()) {
                shards = true;
            } else if is_image(entry.path()) {
                return Some(false);
            }
        }
        Some(shards)
    }

    fn holds_shards(&self) -> Option<bool> {
        let files = walk(&self.0).filter_map(Result::ok).filter(|entry| entry.file_type().is_file());
        Some(files.map(DirEntry::into_path).any(|path| is_shard(&path)))
    }

    fn places(&self) -> Option<usize> {
        let images = Box::new(self.clone()).images().ok()?;
        Some(images.known().len())
    }

    fn directory(&self) -> Option<&Path> {
        Some(&self.0)
    }

    fn images(self: Box<Self>) -> Result<Images, InputError> {
        let root = self.0;
        let (mut items, mut others) = (Vec::new(), 0);
        for entry in walk(&root) {
            match entry {
                Ok(entry) if entry.file_type().is_file() => {
                    let path = entry.path();
                    if is_shard(path) || is_image(path) {
                        items.push(Item::found(&root, entry.into_path()));
                    } else {
                        others += 1;
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
        let empty = if items.is_empty() { vec![root] } else { Vec::new() };
        Ok(Images::Known { items, others, empty })
    }
}

/// All files below a directory, but for those that were written here: a directory below it that has a manifest of ours.
fn walk(root: &Path) -> impl Iterator<Item = walkdir::Result<DirEntry>> {
    let entries = WalkDir::new(root).follow_links(true).sort_by_file_name().min_depth(1);
    let is_own = |entry: &DirEntry| entry.file_type().is_dir() && is_of_outputs(entry.path());
    entries.into_iter().filter_entry(move |entry| !is_hidden(entry) && !is_own(entry))
}

fn is_hidden(entry: &DirEntry) -> bool {
    entry.depth() > 0 && entry.file_name().as_encoded_bytes().starts_with(b".")
}

fn is_image(path: &Path) -> bool {
    if has_image_extension(path) {
        return true;
    }
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(64).read_to_end(&mut start));
    read.is_ok() && looks_like_image(&start)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn found(root: &Path) -> (Vec<Item>, usize) {
        match Box::new(Folder(root.to_owned())).images().unwrap() {
            Images::Known { items, others, .. } => (items, others),
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
