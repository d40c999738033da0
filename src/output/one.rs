//! Outputs of one image, and none: a file, or, where it has several tensors and the format holds one, files named after it and them.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use super::{
    Content, Contents, Format, Image, OutputError, OutputFile, Sink, Written, before::check_before,
    disk::Disk,
};

/// The files of the only image: `x.npy`, or `x.pixel_values.npy` and so on for each of the tensors.
pub(super) fn files(path: &Path, format: Format, contents: &Contents) -> Vec<PathBuf> {
    let split: Vec<&str> = contents.apart().flatten().collect();
    if format != Format::Npy || split.is_empty() {
        return vec![path.to_owned()];
    }
    let (stem, extension) = match path.extension() {
        Some(extension) => (path.file_stem(), extension),
        None => (path.file_name(), OsStr::new("npy")),
    };
    let named = |tensor: &str| {
        let mut name = stem.unwrap_or_default().to_owned();
        for part in [OsStr::new(tensor), extension] {
            name.push(".");
            name.push(part);
        }
        path.with_file_name(name)
    };
    split.into_iter().map(named).collect()
}

/// Refuses to replace what is there and was not made by the same command, or one of its kind.
///
/// # Errors
/// As said.
pub(super) fn check_free(path: &Path, format: Format, contents: &Contents) -> Result<(), OutputError> {
    let files = files(path, format, contents);
    let tensors = contents.tensors.chunks(contents.tensors.len().div_ceil(files.len()).max(1));
    files.iter().zip(tensors).try_for_each(|(file, tensors)| check_before(file, format, tensors, contents))
}

/// A file that is open for its image.
#[derive(Debug)]
pub(super) struct OneFile {
    pub(super) disk: Disk,
    pub(super) files: Vec<PathBuf>,
    pub(super) format: Format,
    pub(super) contents: Contents,
}

impl Sink for OneFile {
    fn write(&mut self, image: &Image<'_>) -> Result<Written, OutputError> {
        let Self { disk, files, format, contents } = self;
        let metadata = contents.settings.with(image.metadata);
        for (index, file) in files.iter().enumerate() {
            let content = match image.content {
                Content::Tensors(arrays) if files.len() > 1 => Content::Tensors(&arrays[index..=index]),
                content => content,
            };
            let write =
                |writer: &mut dyn std::io::Write| format.write(writer, content, contents.dtype, &metadata);
            OutputFile::create(disk, file)?.commit(write)?;
        }
        Ok(Written { outputs: files.clone(), ..Written::default() })
    }
}

/// Nowhere: tensors are computed, and only what is said of them is of interest.
#[derive(Debug)]
pub(crate) struct Nothing;

impl Sink for Nothing {
    fn write(&mut self, _: &Image<'_>) -> Result<Written, OutputError> {
        Ok(Written::default())
    }
}
