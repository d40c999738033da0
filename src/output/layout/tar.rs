//! Samples in one `.tar`: `KEY.npy`, or `KEY.NAME.npy` for each of several tensors, what is carried over of the image's own sample, and
//! `KEY.features.json` last.

use std::{
    io::{self, Write},
    path::Path,
};

use super::Layout;
use crate::{
    output::{
        Contents, Image,
        disk::DiskFile,
        format::npy::{self, HEADER},
        manifest::Held,
        name,
    },
    shard::{END, TarWriter, member_bytes},
};

#[derive(Debug)]
pub(in crate::output) struct Samples;

/// The extension of each sample's last member.
const LAST: &str = "features.json";

/// What an image is called in a tar: as its sample, or by its relative path. There, a dot in the base name would end the name for a
/// reader, so it is written `_`.
pub(in crate::output) fn sample_name(name: &Path, sample: Option<&str>, keep_extension: bool) -> String {
    if let Some(sample) = sample {
        return sample.to_owned();
    }
    let base = if keep_extension { name.file_name() } else { name.file_stem() };
    let key = name::key(&name.with_file_name(base.unwrap_or_default()));
    match key.rsplit_once('/') {
        Some((directory, base)) => format!("{directory}/{}", base.replace('.', "_")),
        None => key.replace('.', "_"),
    }
}

/// The text that a tar says of itself.
fn settings(contents: &Contents) -> String {
    serde_json::to_string(&contents.settings).expect("settings have only string keys")
}

/// Each member of an image, with its size.
fn members<'a>(contents: &'a Contents, image: &'a Image<'_>) -> impl Iterator<Item = (String, u64)> + 'a {
    let tensors = contents.npy_extensions().zip(image.content.tensors());
    let tensors =
        tensors.map(|(extension, array)| (extension, npy::bytes(array, contents.dtype).unwrap_or(u64::MAX)));
    let kept = image.sample.into_iter().flat_map(|sample| &sample.kept);
    let kept = kept.map(|kept| (kept.extension.clone(), kept.bytes.len() as u64));
    tensors.chain(kept).chain([(LAST.to_owned(), image.report.len() as u64)])
}

/// Writes an image's members.
pub(in crate::output) fn write<W: Write>(
    tar: &mut TarWriter<W>,
    contents: &Contents,
    image: &Image<'_>,
    name: &str,
) -> io::Result<()> {
    let tensors = image.content.tensors();
    let kept = image.sample.map(|sample| sample.kept.as_slice()).unwrap_or_default();
    for (index, (extension, size)) in members(contents, image).enumerate() {
        tar.member(&format!("{name}.{extension}"), size, |writer| match tensors.get(index) {
            Some(array) => npy::write(writer, array, contents.dtype),
            None => match kept.get(index - tensors.len()) {
                Some(kept) => writer.write_all(&kept.bytes),
                None => writer.write_all(image.report.as_bytes()),
            },
        })?;
    }
    Ok(())
}

/// Refuses an image of which something would be carried over under the name of an output.
pub(in crate::output) fn admits(image: &Image<'_>, name: &str) -> Result<(), String> {
    let tensors = image.content.tensors();
    let ours = |extension: &str| match tensors {
        [_] => extension == "npy",
        tensors => tensors.iter().any(|array| extension.strip_suffix(".npy") == Some(&array.name)),
    };
    let mut kept = image.sample.into_iter().flat_map(|sample| &sample.kept).map(|kept| &*kept.extension);
    match kept.find(|extension| *extension == LAST || ours(extension)) {
        Some(extension) => Err(format!("{name}.{extension} is to be kept, and has the name of an output")),
        None => Ok(()),
    }
}

/// A tar on its way to a stream, with what it says of itself.
pub(in crate::output) fn begin<W: Write>(writer: W, contents: &Contents) -> io::Result<TarWriter<W>> {
    let mut tar = TarWriter::new(writer);
    tar.settings(&settings(contents))?;
    Ok(tar)
}

impl Layout for Samples {
    fn head_bytes(&self, contents: &Contents) -> u64 {
        TarWriter::<io::Sink>::settings_bytes(&settings(contents))
    }

    fn end_bytes(&self) -> u64 {
        END
    }

    fn planned_bytes(&self, contents: &Contents, name: u64, report: u64) -> Option<u64> {
        let tensors = contents.tensors.iter().zip(contents.npy_extensions());
        let bytes = tensors.map(|(tensor, extension)| {
            let shape = tensor.shape.as_ref()?;
            Some(member_bytes(name + 1 + extension.len() as u64, HEADER as u64 + contents.dtype.bytes(shape)))
        });
        Some(bytes.sum::<Option<u64>>()? + member_bytes(name + 1 + LAST.len() as u64, report))
    }

    fn entry_bytes(&self, contents: &Contents, image: &Image<'_>, name: &str) -> u64 {
        let bytes =
            |(extension, size): (String, u64)| member_bytes((name.len() + 1 + extension.len()) as u64, size);
        members(contents, image).map(bytes).fold(0, u64::saturating_add)
    }

    fn admits(&self, _first: Option<&Held>, image: &Image<'_>, name: &str) -> Result<(), String> {
        admits(image, name)
    }

    fn begin(&self, file: &mut DiskFile, contents: &Contents, _start: u64) -> io::Result<()> {
        begin(file, contents).map(drop)
    }

    fn lay(
        &self,
        writer: &mut dyn Write,
        contents: &Contents,
        image: &Image<'_>,
        name: &str,
    ) -> io::Result<()> {
        write(&mut TarWriter::new(writer), contents, image, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_dot_in_their_base() {
        let name = |name: &str, keep| sample_name(Path::new(name), None, keep);
        assert_eq!(name("a.b/my.photo.jpg", false), "a.b/my_photo");
        assert_eq!(name("my.photo.jpg", true), "my_photo_jpg");
        assert_eq!(sample_name(Path::new("x/00001.jpg"), Some("00001"), false), "00001");
    }
}
