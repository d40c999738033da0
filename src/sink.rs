//! Where a run's tensors go.

use std::{
    collections::HashSet,
    io::{self, Write},
    path::{Path, PathBuf},
};

use clip_features::{
    input::{Item, Source},
    output::{Archive, Array, Dtype, Format, Metadata, OutputError, OutputFile, Tree, TreeNames, key},
};

use crate::cli::Target;

/// An opened target.
pub(crate) enum Sink {
    Nothing,
    /// One image in one file.
    File(PathBuf, Format),
    Tree(Tree),
    Archive(Box<Archive>),
    Stdout(Format),
}

/// Tells which images are complete, from any thread.
pub(crate) enum Complete {
    Never,
    Files(TreeNames),
    Keys(HashSet<String>),
}

impl Complete {
    /// What an earlier run has completed that this one can keep, without touching it.
    pub(crate) fn peek(target: &Target, settings: &Metadata, overwrite: bool) -> Self {
        match target {
            Target::Tree(names) if !overwrite => Self::Files(names.clone()),
            Target::Archive(names) if !overwrite => Self::Keys(names.peek(settings)),
            _ => Self::Never,
        }
    }

    pub(crate) fn contains(&self, item: &Item) -> bool {
        if matches!(item.source, Source::Unreadable(..)) {
            return false;
        }
        match self {
            Self::Never => false,
            Self::Files(names) => names.contains(&item.name),
            Self::Keys(keys) => keys.contains(&key(&item.name)),
        }
    }
}

/// What all outputs of a run share.
#[derive(Clone, Copy)]
pub(crate) struct Stored<'a> {
    pub(crate) dtype: Dtype,
    pub(crate) settings: &'a Metadata,
}

impl Sink {
    /// Opens the target. `items` are the images known in advance, `image_bytes` the size of one image's tensors.
    pub(crate) fn open(
        target: &Target,
        stored: Stored<'_>,
        items: &[Item],
        image_bytes: Option<u64>,
        overwrite: bool,
    ) -> Result<(Self, Complete), OutputError> {
        match target {
            Target::Nothing => Ok((Self::Nothing, Complete::Never)),
            Target::Stdout(format) => Ok((Self::Stdout(*format), Complete::Never)),
            Target::File(path, format) => {
                drop(OutputFile::create(path)?); // only to see that it can be written
                Ok((Self::File(path.clone(), *format), Complete::Never))
            }
            Target::Tree(names) => {
                let mut planned = items.iter().map(|item| item.name.as_path());
                let tree = Tree::open(names.clone(), stored.dtype, stored.settings, overwrite, &mut planned)?;
                Ok((Self::Tree(tree), Complete::Files(names.clone())))
            }
            Target::Archive(names) => {
                let room = header_room(items, image_bytes, names.shard_size);
                let archive = Archive::open(names.clone(), stored.dtype, stored.settings, room, overwrite)?;
                let complete = Complete::Keys(archive.keys().clone());
                Ok((Self::Archive(Box::new(archive)), complete))
            }
        }
    }

    /// Writes an image's tensors; gives the file that a reader can open for them, if there is one of its own.
    pub(crate) fn write(
        &mut self,
        item: &Item,
        arrays: &[Array],
        stored: Stored<'_>,
    ) -> Result<Option<String>, OutputError> {
        let Stored { dtype, settings } = stored;
        let metadata = || {
            let mut metadata = settings.clone();
            metadata.insert("path", &item.source);
            metadata
        };
        match self {
            Self::Nothing => Ok(None),
            Self::File(path, format) => {
                OutputFile::create(path)?
                    .commit(|writer| format.write(writer, arrays, dtype, &metadata()))?;
                Ok(None)
            }
            Self::Stdout(format) => {
                let mut stdout = io::BufWriter::new(io::stdout().lock());
                let written =
                    format.write(&mut stdout, arrays, dtype, &metadata()).and_then(|()| stdout.flush());
                written.map_err(|source| OutputError::Io { path: "standard output".into(), source })?;
                Ok(None)
            }
            Self::Tree(tree) => {
                let files = tree.write(&item.name, &item.source.to_string(), arrays)?;
                Ok(files.first().map(|file| file.display().to_string()))
            }
            Self::Archive(archive) => {
                archive.write(&key(&item.name), arrays)?;
                Ok(None)
            }
        }
    }

    /// Completes what is only complete at the end.
    pub(crate) fn finish(self) -> Result<(), OutputError> {
        match self {
            Self::Archive(archive) => archive.finish(),
            _ => Ok(()),
        }
    }
}

/// Whether an error says that standard output's reader has gone.
pub(crate) fn is_closed_pipe(error: &OutputError) -> bool {
    matches!(error, OutputError::Io { path, source }
        if path == Path::new("standard output") && source.kind() == io::ErrorKind::BrokenPipe)
}

/// Bytes that the header of a safetensors shard can need: for each image its key, escaped as JSON, and a line of
/// types, sizes and offsets. Images that are not known in advance get a megabyte; a header that outgrows its room
/// costs a copy of the shard.
fn header_room(items: &[Item], image_bytes: Option<u64>, shard_size: Option<u64>) -> usize {
    const LINE: usize = 160;
    const FIXED: usize = 16 << 10;
    const UNKNOWN: usize = 1 << 20;
    if items.is_empty() {
        return UNKNOWN;
    }
    let lines = items.iter().map(|item| 2 * item.name.as_os_str().len() + LINE);
    let room = match (image_bytes, shard_size) {
        (Some(image), Some(shard)) => {
            let most = (shard / image.max(1)) as usize + 1;
            lines.clone().sum::<usize>().min(lines.max().unwrap_or(0).saturating_mul(most))
        }
        _ => lines.sum(),
    };
    (FIXED + room).next_multiple_of(8)
}
