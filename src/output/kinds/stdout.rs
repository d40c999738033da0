//! Standard output: one image after the other, each as a whole file.

use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
};

use super::{Asked, Claim};
use crate::output::{Array, Contents, Described, Destination, Format, OutputError, Setting, Sink};

#[derive(Debug)]
struct Stdout {
    format: Format,
}

pub(super) fn claim(asked: &Asked) -> Claim {
    if asked.path.as_deref() != Some(Path::new("-")) {
        return None;
    }
    Some(if io::stdout().is_terminal() {
        Err(OutputError::Terminal)
    } else if asked.format == Some(Format::Safetensors) && asked.several {
        Err(OutputError::NoStream)
    } else {
        Ok(Box::new(Stdout { format: asked.format.unwrap_or(Format::Npy) }))
    })
}

impl Destination for Stdout {
    fn describe(&self, _contents: &Contents) -> String {
        "standard output".into()
    }

    fn heeds(&self, setting: Setting) -> bool {
        matches!(setting, Setting::Format | Setting::Part)
    }

    fn format(&self) -> Option<Format> {
        Some(self.format)
    }

    fn open(&self, contents: &Contents, _planned: &[&Path]) -> Result<Box<dyn Sink>, OutputError> {
        Ok(Box::new(Stream { format: self.format, contents: contents.clone() }))
    }
}

struct Stream {
    format: Format,
    contents: Contents,
}

impl Sink for Stream {
    fn write(&mut self, image: &Described<'_>, arrays: &[Array]) -> Result<Vec<PathBuf>, OutputError> {
        let metadata = self.contents.settings.with(image.metadata);
        let mut stdout = io::BufWriter::new(io::stdout().lock());
        let written = self.format.write(&mut stdout, arrays, self.contents.dtype, &metadata);
        written.and_then(|()| stdout.flush()).map_err(OutputError::of_stdout)?;
        Ok(Vec::new())
    }
}
