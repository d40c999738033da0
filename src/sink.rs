//! Where a run's tensors go.

use std::{
    collections::HashSet,
    ffi::OsStr,
    io::{self, Write},
    path::{Path, PathBuf},
};

use clip_features::{
    input::{Item, Source},
    output::{
        Archive, ArchiveNames, Array, Dtype, Format, Metadata, OutputError, OutputFile, Tree, TreeNames, key,
    },
};

use crate::cli::Target;

/// An opened target.
pub(crate) enum Sink {
    Nothing,
    /// One image in one file, or in one for each of the tensors named.
    File(PathBuf, Format, Vec<String>),
    Tree(Tree),
    Archive(Box<Archive>),
    Stdout(Format),
}

/// Tells which images are complete, from any thread.
pub(crate) enum Complete {
    Never,
    /// These images, where their files exist.
    Files(TreeNames, HashSet<String>),
    Keys(HashSet<String>),
}

impl Complete {
    /// What an earlier run has completed that this one can keep, without touching it.
    pub(crate) fn peek(target: &Target, settings: &Metadata, overwrite: bool) -> Result<Self, OutputError> {
        Ok(match target {
            Target::Tree(names) if !overwrite => Self::Files(names.clone(), names.peek(settings)?),
            Target::Archive(names) if !overwrite => Self::Keys(names.peek(settings)?),
            _ => Self::Never,
        })
    }

    pub(crate) fn contains(&self, item: &Item) -> bool {
        if matches!(item.source, Source::Unreadable(..)) {
            return false;
        }
        match self {
            Self::Never => false,
            Self::Files(names, keys) => keys.contains(&key(&item.name)) && names.exist(&item.name),
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
            Target::File(path, format, split) => {
                for path in files(path, split) {
                    OutputFile::probe(&path)?;
                }
                if !overwrite {
                    ArchiveNames::check_absent(path)?;
                }
                Ok((Self::File(path.clone(), *format, split.clone()), Complete::Never))
            }
            Target::Tree(names) => {
                let mut planned = items.iter().map(|item| item.name.as_path());
                let tree = Tree::open(names.clone(), stored.dtype, stored.settings, overwrite, &mut planned)?;
                let complete = Complete::Files(names.clone(), tree.keys().clone());
                Ok((Self::Tree(tree), complete))
            }
            Target::Archive(names) => {
                let room = header_room(items, image_bytes, names);
                let archive = Archive::open(names.clone(), stored.dtype, stored.settings, room, overwrite)?;
                let complete = Complete::Keys(archive.keys().clone());
                Ok((Self::Archive(Box::new(archive)), complete))
            }
        }
    }

    /// Writes an image's tensors, `image` being what is said of it; gives the files that a reader can open for them, if
    /// there are some of their own: one for all tensors, or one for each.
    pub(crate) fn write(
        &mut self,
        item: &Item,
        image: &Metadata,
        arrays: &[Array],
        stored: Stored<'_>,
    ) -> Result<Vec<PathBuf>, OutputError> {
        let Stored { dtype, settings } = stored;
        let metadata = || settings.with(image);
        match self {
            Self::Nothing => Ok(Vec::new()),
            Self::File(path, format, split) => {
                let files = files(path, split);
                for (file, arrays) in files.iter().zip(arrays.chunks(arrays.len().div_ceil(files.len()))) {
                    OutputFile::create(file)?
                        .commit(|writer| format.write(writer, arrays, dtype, &metadata()))?;
                }
                Ok(files)
            }
            Self::Stdout(format) => {
                let mut stdout = io::BufWriter::new(io::stdout().lock());
                let written =
                    format.write(&mut stdout, arrays, dtype, &metadata()).and_then(|()| stdout.flush());
                written.map_err(|source| OutputError::Io { path: "standard output".into(), source })?;
                Ok(Vec::new())
            }
            Self::Tree(tree) => tree.write(&item.name, image, arrays),
            Self::Archive(archive) => {
                archive.write(&key(&item.name), arrays)?;
                Ok(Vec::new())
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

/// The files of one image: `x.npy`, or `x.pixel_values.npy` and so on for each of its tensors.
fn files(path: &Path, split: &[String]) -> Vec<PathBuf> {
    if split.is_empty() {
        return vec![path.to_owned()];
    }
    let (stem, extension) = match path.extension() {
        Some(extension) => (path.file_stem(), extension),
        None => (path.file_name(), OsStr::new("npy")),
    };
    let named = |tensor: &String| {
        let mut name = stem.unwrap_or_default().to_owned();
        for part in [OsStr::new(tensor), extension] {
            name.push(".");
            name.push(part);
        }
        path.with_file_name(name)
    };
    split.iter().map(named).collect()
}

/// Whether an error says that standard output's reader has gone.
pub(crate) fn is_closed_pipe(error: &OutputError) -> bool {
    matches!(error, OutputError::Io { path, source }
        if path == Path::new("standard output") && source.kind() == io::ErrorKind::BrokenPipe)
}

/// Bytes that the header of a safetensors shard can need: for each tensor of each image its key, escaped as JSON, and a line of
/// types, sizes and offsets. Images that are not known in advance get a megabyte; a header that outgrows its room
/// costs a copy of the shard.
fn header_room(items: &[Item], image_bytes: Option<u64>, names: &ArchiveNames) -> usize {
    const LINE: usize = 160;
    const FIXED: usize = 16 << 10;
    const UNKNOWN: usize = 1 << 20;
    if items.is_empty() {
        return UNKNOWN;
    }
    let tensors = names.split.len().max(1);
    let tensor = names.split.iter().map(String::len).max().unwrap_or(0);
    let lines = items.iter().map(|item| tensors * (2 * item.name.as_os_str().len() + tensor + LINE));
    let room = match (image_bytes, names.shard_size) {
        (Some(image), Some(shard)) => {
            let most = (shard / image.max(1)) as usize + 1;
            lines.clone().sum::<usize>().min(lines.max().unwrap_or(0).saturating_mul(most))
        }
        _ => lines.sum(),
    };
    (FIXED + room).next_multiple_of(8)
}
