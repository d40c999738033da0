//! Standard output: one image after the other, each as a whole file, or all as one tar.

use std::{
    collections::HashSet,
    io::{self, BufWriter, Stdout, Write},
    path::Path,
};

use super::{
    Contents, Format, Image, OutputError, Sink, Written,
    layout::{admits, begin_tar, sample_name, write_sample},
};
use crate::shard::TarWriter;

/// What it is called in messages.
const NAME: &str = "standard output";

/// Whole files, one after the other.
pub(super) struct Files {
    pub(super) format: Format,
    pub(super) contents: Contents,
}

impl Sink for Files {
    fn write(&mut self, image: &Image<'_>) -> Result<Written, OutputError> {
        let metadata = self.contents.settings.with(image.metadata);
        let mut stdout = BufWriter::new(io::stdout().lock());
        let written = self.format.write(&mut stdout, image.content, self.contents.dtype, &metadata);
        written.and_then(|()| stdout.flush()).map_err(OutputError::of_stdout)?;
        Ok(Written::default())
    }
}

/// A tar of samples.
pub(super) struct Samples {
    contents: Contents,
    keep_extension: bool,
    tar: TarWriter<BufWriter<Stdout>>,
    names: HashSet<String>,
}

impl Samples {
    pub(super) fn open(contents: &Contents, keep_extension: bool) -> Result<Self, OutputError> {
        let stdout = BufWriter::with_capacity(1 << 18, io::stdout());
        let tar = begin_tar(stdout, contents).map_err(OutputError::of_stdout)?;
        Ok(Self { contents: contents.clone(), keep_extension, tar, names: HashSet::new() })
    }
}

impl Sink for Samples {
    fn write(&mut self, image: &Image<'_>) -> Result<Written, OutputError> {
        let misplaced = |reason| OutputError::Misplaced { path: Path::new(NAME).to_owned(), reason };
        let name = sample_name(image.name, image.sample.map(|sample| &*sample.key), self.keep_extension);
        if self.names.contains(&name) {
            return Err(misplaced(format!("has a sample {name} already")));
        }
        admits(image, &name).map_err(misplaced)?;
        let written = write_sample(&mut self.tar, &self.contents, image, &name);
        written.and_then(|()| self.tar.get_mut().flush()).map_err(OutputError::of_stdout)?;
        self.names.insert(name);
        Ok(Written::default())
    }

    fn finish(mut self: Box<Self>, is_complete: bool) -> Result<(), OutputError> {
        // A tar that was stopped lacks its end, by which a reader tells.
        if is_complete { self.tar.end().map_err(OutputError::of_stdout) } else { Ok(()) }
    }
}
