//! Standard output as one tar of samples.

use std::{
    collections::HashSet,
    io::{self, BufWriter, IsTerminal, Write},
    path::{Path, PathBuf},
};

use super::{Asked, Claim};
use crate::{
    output::{
        Array, Contents, Described, Destination, Format, OutputError, Setting, Sink,
        tarball::{key, write},
    },
    shard::TarWriter,
};

const NAME: &str = "standard output";

#[derive(Clone, Copy, Debug)]
struct TarStream {
    keep_extension: bool,
}

/// Where it is asked for, or a tar comes in and no other format is asked for.
pub(super) fn claim(asked: &Asked) -> Claim {
    let is_stdout = asked.path.as_deref() == Some(Path::new("-"));
    (is_stdout && (asked.tar || asked.sharded == Some(true) && asked.format.is_none())).then(|| {
        if io::stdout().is_terminal() {
            return Err(OutputError::Terminal);
        }
        Ok(Box::new(TarStream { keep_extension: asked.keep_extension }) as Box<dyn Destination>)
    })
}

impl Destination for TarStream {
    fn describe(&self, _contents: &Contents) -> String {
        "standard output, a tar".into()
    }

    fn heeds(&self, setting: Setting) -> bool {
        matches!(setting, Setting::Format | Setting::KeepExtension | Setting::Part | Setting::Keep)
    }

    fn format(&self) -> Option<Format> {
        Some(Format::Npy)
    }

    fn place(&self, _contents: &Contents, name: &Path) -> Option<PathBuf> {
        Some(key(name, None, self.keep_extension).into())
    }

    fn open(&self, contents: &Contents, _planned: &[&Path]) -> Result<Box<dyn Sink>, OutputError> {
        let mut tar = TarWriter::new(BufWriter::with_capacity(1 << 18, io::stdout()));
        let text = serde_json::to_string(&contents.settings).expect("settings have only string keys");
        tar.settings(&text).map_err(OutputError::of_stdout)?;
        Ok(Box::new(Stream { kind: *self, contents: contents.clone(), tar, keys: HashSet::new() }))
    }
}

struct Stream {
    kind: TarStream,
    contents: Contents,
    tar: TarWriter<BufWriter<io::Stdout>>,
    keys: HashSet<String>,
}

impl Sink for Stream {
    fn write(&mut self, image: &Described<'_>, arrays: &[Array]) -> Result<Vec<PathBuf>, OutputError> {
        let key = key(image.name, image.sample.map(|sample| sample.key.as_str()), self.kind.keep_extension);
        if !self.keys.insert(key.clone()) {
            let reason = format!("has a sample {key} already");
            return Err(OutputError::Misplaced { path: NAME.into(), reason });
        }
        write(&mut self.tar, Path::new(NAME), &key, image, arrays, self.contents.dtype)?;
        self.tar.get_mut().flush().map_err(OutputError::of_stdout)?;
        Ok(Vec::new())
    }

    fn finish(mut self: Box<Self>) -> Result<(), OutputError> {
        self.tar.end().map_err(OutputError::of_stdout)
    }
}
