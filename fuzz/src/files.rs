//! Several files in one input: of each a byte that chooses its name, its length in two bytes, and its content, as far as they go.

use std::{fs, path::Path};

use tempfile::TempDir;

/// A directory in memory where the system has one.
pub fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let builder = tempfile::Builder::new();
    if memory.is_dir() { builder.tempdir_in(memory) } else { builder.tempdir() }.expect("a directory")
}

/// Each name that is chosen, with its content.
pub fn unpack<'a>(mut data: &'a [u8], names: &'a [&'a str]) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    std::iter::from_fn(move || {
        let (&[name, low, high], rest) = data.split_first_chunk()?;
        let length = usize::from(u16::from_le_bytes([low, high])).min(rest.len());
        let (content, others) = rest.split_at(length);
        data = others;
        Some((names[usize::from(name) % names.len()], content))
    })
}

/// Writes the files of an input below `root`; some of the names may be those of directories that the others need.
pub fn write(data: &[u8], names: &[&str], root: &Path) {
    for (name, content) in unpack(data, names) {
        let path = root.join(name);
        let written = fs::create_dir_all(path.parent().expect("below the root"))
            .and_then(|()| fs::write(&path, content));
        written.expect("a file in memory");
    }
}

/// The opposite of [`unpack`].
pub fn pack<'a>(files: impl IntoIterator<Item = (usize, &'a [u8])>) -> Vec<u8> {
    let mut packed = Vec::new();
    for (name, content) in files {
        let length = u16::try_from(content.len()).expect("a small file");
        packed.push(name as u8);
        packed.extend(length.to_le_bytes());
        packed.extend_from_slice(content);
    }
    packed
}
