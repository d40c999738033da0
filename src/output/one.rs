//! Outputs of one image, and none: a file, or, where it has several tensors and the format holds one, files named after it and them.

use std::{
    ffi::OsStr,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use super::{
    Content, Contents, Format, Image, Metadata, OutputError, OutputFile, Sink, Written,
    disk::Disk,
    format::npy::{HEADER, MAGIC},
    found::owner_of,
};

/// The files of the only image: `x.npy`, or `x.pixel_values.npy` and so on for each of the tensors.
pub(super) fn files(path: &Path, format: Format, contents: &Contents) -> Vec<PathBuf> {
    let split = contents.split();
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

/// Refuses a place where many images are, or one of those that a manifest lists.
///
/// # Errors
/// As said.
pub(super) fn check_free(path: &Path, format: Format) -> Result<(), OutputError> {
    if let Some(directory) = owner_of(path) {
        let reason = format!("is an output of another run, as the manifest in {} says", directory.display());
        return Err(OutputError::Taken { path: path.to_owned(), reason });
    }
    let is_of_many = match format {
        Format::Npy => is_stack(path),
        Format::Safetensors => is_archive(path),
        Format::Tar | Format::Png => false,
    };
    if !is_of_many {
        return Ok(());
    }
    let reason = "holds several images, and the manifest that speaks of them is not beside it".into();
    Err(OutputError::Taken { path: path.to_owned(), reason })
}

fn start(path: &Path, bytes: usize) -> Vec<u8> {
    let mut start = Vec::new();
    if path.is_file()
        && let Ok(file) = File::open(path)
    {
        let _ = file.take(bytes as u64).read_to_end(&mut start); // what cannot be read is nobody's
    }
    start
}

/// Whether a file holds rows of several images.
fn is_stack(path: &Path) -> bool {
    let start = start(path, HEADER);
    let text = String::from_utf8_lossy(&start);
    let rows = text
        .split_once("'shape': (")
        .and_then(|(_, shape)| shape.split([',', ')']).next()?.parse::<usize>().ok());
    start.starts_with(MAGIC) && rows.is_some_and(|rows| rows > 1)
}

/// Whether a file was made here of several images: unlike one image's, its metadata name no picture.
fn is_archive(path: &Path) -> bool {
    /// The metadata come first.
    const START: usize = 1 << 16;
    let start = start(path, START);
    let text = start.get(8..).and_then(|text| text.strip_prefix(b"{\"__metadata__\":")).unwrap_or_default();
    let metadata = serde_json::Deserializer::from_slice(text).into_iter::<Metadata>().next();
    let is_of_many =
        |found: Metadata| found.get("tool") == Some(env!("CARGO_PKG_NAME")) && found.get("path").is_none();
    metadata.is_some_and(|found| found.is_ok_and(is_of_many))
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
pub(super) struct Nothing;

impl Sink for Nothing {
    fn write(&mut self, _: &Image<'_>) -> Result<Written, OutputError> {
        Ok(Written::default())
    }
}
