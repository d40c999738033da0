//! An image's members: `KEY.npy`, or `KEY.NAME.npy` for each of several tensors, what is carried over of its sample, and
//! `KEY.features.json` last.

use std::{
    io::{self, Write},
    path::Path,
};

use crate::{
    output::{self, Array, Contents, Described, Dtype, OutputError, format::npy},
    shard::{TarWriter, padded},
};

/// The end of the name of each sample's last member.
pub(super) const LAST: &str = ".features.json";

/// The key of an image: its sample's, or its relative path. There, a dot in the base name would end the key for a reader, so it is
/// written `_`.
pub(in crate::output) fn key(name: &Path, sample_key: Option<&str>, keep_extension: bool) -> String {
    if let Some(key) = sample_key {
        return key.to_owned();
    }
    let base = if keep_extension { name.file_name() } else { name.file_stem() };
    let key = output::key(&name.with_file_name(base.unwrap_or_default()));
    match key.rsplit_once('/') {
        Some((directory, base)) => format!("{directory}/{}", base.replace('.', "_")),
        None => key.replace('.', "_"),
    }
}

/// Bytes of an image's members; none where they depend on the picture. The text is taken for two blocks.
pub(in crate::output) fn image_bytes(contents: &Contents) -> Option<u64> {
    let element = contents.dtype.size();
    let tensor = |shape: &Vec<usize>| {
        512 + padded((npy::STACK_HEADER + shape.iter().product::<usize>() * element) as u64)
    };
    let tensors: Option<u64> = contents.tensors.iter().map(|spec| spec.shape.as_ref().map(tensor)).sum();
    Some(tensors? + 3 * 512)
}

/// Writes an image's members; gives their bytes. `path` is where, for messages.
///
/// # Errors
/// [`OutputError::Misplaced`] if what is carried over has a name of ours, or the writer fails.
pub(in crate::output) fn write<W: Write>(
    tar: &mut TarWriter<W>,
    path: &Path,
    key: &str,
    image: &Described<'_>,
    arrays: &[Array],
    dtype: Dtype,
) -> Result<u64, OutputError> {
    let kept = image.sample.map(|sample| sample.kept.as_slice()).unwrap_or_default();
    let names: Vec<String> = match arrays {
        [_] => vec!["npy".into()],
        arrays => arrays.iter().map(|array| format!("{}.npy", array.name)).collect(),
    };
    if let Some(kept) = kept.iter().find(|kept| {
        names.contains(&kept.extension) || LAST.strip_prefix('.') == Some(kept.extension.as_str())
    }) {
        let reason = format!("{key}.{} is to be kept, and has the name of an output", kept.extension);
        return Err(OutputError::Misplaced { path: path.to_owned(), reason });
    }
    let written = || -> io::Result<u64> {
        let mut bytes = 0;
        for (array, name) in arrays.iter().zip(names) {
            let size = npy::bytes(array, dtype)?;
            tar.member(&format!("{key}.{name}"), size, |writer| npy::write(writer, array, dtype))?;
            bytes += 512 + padded(size);
        }
        let kept = kept.iter().map(|kept| (format!("{key}.{}", kept.extension), kept.bytes.as_slice()));
        let last = (format!("{key}{LAST}"), image.facts.as_bytes());
        for (name, content) in kept.chain([last]) {
            tar.member(&name, content.len() as u64, |writer| writer.write_all(content))?;
            bytes += 512 + padded(content.len() as u64);
        }
        Ok(bytes)
    };
    written().map_err(|source| match source.kind() {
        io::ErrorKind::BrokenPipe => OutputError::ReaderGone,
        _ => OutputError::Io { path: path.to_owned(), source },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_no_dot_in_their_base_name() {
        let key = |name: &str, keep| key(Path::new(name), None, keep);
        assert_eq!(key("a.b/my.photo.jpg", false), "a.b/my_photo");
        assert_eq!(key("my.photo.jpg", true), "my_photo_jpg");
        assert_eq!(super::key(Path::new("x/00001.jpg"), Some("00001"), false), "00001");
    }
}
