//! One image in one file, or, where it has several tensors and the format holds one, in files named after it and them.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use super::{Asked, Catalogue, Claim, archive};
use crate::output::{
    Array, Contents, Described, Destination, Format, OutputError, OutputFile, Setting, Sink,
};

#[derive(Clone, Debug)]
struct OneFile {
    path: PathBuf,
    format: Format,
}

pub(super) fn claim(asked: &Asked) -> Claim {
    let path = asked.path.clone()?;
    Some(match asked.format_of(&path) {
        Some(format) => format.map(|format| Box::new(OneFile { path, format }) as Box<dyn Destination>),
        None => Err(OutputError::NoFormat { path }),
    })
}

impl OneFile {
    /// `x.npy`, or `x.pixel_values.npy` and so on for each of the tensors.
    fn files(&self, contents: &Contents) -> Vec<PathBuf> {
        let split = contents.split();
        if self.format == Format::Safetensors || split.is_empty() {
            return vec![self.path.clone()];
        }
        let (stem, extension) = match self.path.extension() {
            Some(extension) => (self.path.file_stem(), extension),
            None => (self.path.file_name(), OsStr::new("npy")),
        };
        let named = |tensor: &str| {
            let mut name = stem.unwrap_or_default().to_owned();
            for part in [OsStr::new(tensor), extension] {
                name.push(".");
                name.push(part);
            }
            self.path.with_file_name(name)
        };
        split.into_iter().map(named).collect()
    }

    /// Refuses a place where an archive of many images is, or is begun.
    fn check_free(&self) -> Result<(), OutputError> {
        // Since this kind was chosen.
        if !archive::holds_many(&self.path) {
            return Ok(());
        }
        let reason = "is an archive of several images".into();
        Err(OutputError::Taken { path: self.path.clone(), reason })
    }
}

impl Destination for OneFile {
    fn describe(&self, contents: &Contents) -> String {
        match self.files(contents).as_slice() {
            [_] => self.path.display().to_string(),
            _ => format!("{}, one file a tensor", self.path.display()),
        }
    }

    fn heeds(&self, setting: Setting) -> bool {
        matches!(setting, Setting::Format | Setting::Overwrite)
    }

    fn format(&self) -> Option<Format> {
        Some(self.format)
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn replaced(&self, contents: &Contents) -> Vec<PathBuf> {
        self.files(contents)
    }

    fn probe(&self) -> Result<(), OutputError> {
        OutputFile::probe(&self.path)
    }

    /// Nor does it go where a directory of outputs has one of its own.
    fn check(&self, contents: &Contents) -> Result<(), OutputError> {
        OutputFile::check_directory(&self.path)?;
        match contents.overwrite {
            true => Ok(()),
            false => self.files(contents).iter().try_for_each(|file| Catalogue::check(file)),
        }
    }

    fn open(&self, contents: &Contents, _planned: &[&Path]) -> Result<Box<dyn Sink>, OutputError> {
        let files = self.files(contents);
        files.iter().try_for_each(|file| OutputFile::probe(file))?;
        if !contents.overwrite {
            self.check_free()?;
        }
        Ok(Box::new(Opened { files, format: self.format, contents: contents.clone() }))
    }
}

struct Opened {
    files: Vec<PathBuf>,
    format: Format,
    contents: Contents,
}

impl Sink for Opened {
    fn write(&mut self, image: &Described<'_>, arrays: &[Array]) -> Result<Vec<PathBuf>, OutputError> {
        let Self { files, format, contents } = self;
        let metadata = contents.settings.with(image.metadata);
        for (file, arrays) in files.iter().zip(arrays.chunks(arrays.len().div_ceil(files.len()))) {
            OutputFile::create(file)?
                .commit(|writer| format.write(writer, arrays, contents.dtype, &metadata))?;
        }
        Ok(files.clone())
    }
}
