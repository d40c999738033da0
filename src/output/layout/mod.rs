//! How many images lie in one file: how it begins, how an entry is laid down, and what limits it.

mod npy;
mod safetensors;
mod tar;

pub(super) use tar::{admits, begin as begin_tar, sample_name, write as write_sample};

use std::{
    fmt::Debug,
    io::{self, Write},
    path::Path,
};

use super::{Contents, Format, Image, OutputError, disk::DiskFile, manifest::Held};

/// The layout of files of this format; none of a format whose files hold one image.
pub(super) fn of(format: Format) -> Option<&'static dyn Layout> {
    match format {
        Format::Npy => Some(&npy::Stack),
        Format::Safetensors => Some(&safetensors::Archive),
        Format::Tar => Some(&tar::Samples),
        Format::Png => None,
    }
}

/// A file of many entries.
pub(super) trait Layout: Debug + Send + Sync {
    /// Refuses contents that do not go into such a file.
    ///
    /// # Errors
    /// As said.
    fn check(&self, _path: &Path, _contents: &Contents) -> Result<(), OutputError> {
        Ok(())
    }

    /// Bytes of a file's head that names no entries.
    fn head_bytes(&self, contents: &Contents) -> u64;

    /// Where entries begin after a head of so many bytes.
    fn start(&self, head: u64) -> u64 {
        head
    }

    /// The most that [`Layout::start`] can be for readers of the format.
    fn largest_start(&self) -> u64 {
        u64::MAX
    }

    /// Bytes that an entry takes in the head, at the most. `key` are the bytes of its key as JSON, `at` is where it lies among the
    /// entries, and its tensors have these `shapes`.
    fn line_bytes(
        &self,
        _contents: &Contents,
        _key: u64,
        _shapes: &mut dyn Iterator<Item = &[usize]>,
        _at: u64,
    ) -> u64 {
        0
    }

    /// Bytes that follow the entries.
    fn end_bytes(&self) -> u64 {
        0
    }

    /// Bytes of an image as far as they are known in advance, given the name that it gets and the bytes of what is reported of it; none
    /// where they depend on the picture.
    fn planned_bytes(&self, contents: &Contents, _name: u64, _report: u64) -> Option<u64> {
        contents.image_bytes()
    }

    /// Bytes of an image, under the name that it gets.
    fn entry_bytes(&self, contents: &Contents, image: &Image<'_>, _name: &str) -> u64 {
        image.content.tensors().iter().map(|array| contents.dtype.bytes(&array.shape)).sum()
    }

    /// The shape of each of an image's tensors as it lies in the file.
    fn shape<'a>(&self, shape: &'a [usize]) -> &'a [usize] {
        shape
    }

    /// Refuses an image that does not go with the first one of its file.
    ///
    /// # Errors
    /// Why, in words.
    fn admits(&self, _first: Option<&Held>, _image: &Image<'_>, _name: &str) -> Result<(), String> {
        Ok(())
    }

    /// Begins a file, so that its entries follow.
    ///
    /// # Errors
    /// The disk is full or fails.
    fn begin(&self, file: &mut DiskFile, _contents: &Contents, start: u64) -> io::Result<()> {
        file.skip_to(start)
    }

    /// Writes an image, under the name that it gets.
    ///
    /// # Errors
    /// The disk is full or fails.
    fn lay(
        &self,
        writer: &mut dyn Write,
        contents: &Contents,
        image: &Image<'_>,
        _name: &str,
    ) -> io::Result<()> {
        image.content.tensors().iter().try_for_each(|array| contents.dtype.write(writer, &array.values))
    }
}
