//! Samples in one `.tar`, or in `NAME-000000.tar` and so on of a limited size.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use super::{Asked, Claim};
use crate::output::{
    Array, Complete, Contents, Described, Destination, Format, OutputError, OutputFile, Setting, Sink,
    disk::{probe_sibling, readable_size},
    tarball::{Growing, begun, image_bytes, key, made_here},
};

#[derive(Clone, Debug)]
struct Tar {
    path: PathBuf,
    /// The most bytes of a file.
    shard_size: Option<u64>,
    keep_extension: bool,
}

/// What ends a tar.
const END: u64 = 1024;

/// More than what a tar says of itself takes.
const SETTINGS: u64 = 4096;

pub(super) fn claim(asked: &Asked) -> Claim {
    let path = asked.path.as_deref().filter(|path| !path.is_dir())?;
    let is_named = path.extension().is_some_and(|extension| extension == "tar");
    let contradicts =
        if is_named { asked.format.is_some() } else { asked.tar && Format::of_path(path).is_some() };
    if contradicts {
        return Some(Err(OutputError::OtherFormat { path: path.to_owned() }));
    }
    let tar = || Tar {
        path: asked.part.map_or(path.to_owned(), |part| part.file(path)),
        shard_size: asked.shard_size,
        keep_extension: asked.keep_extension,
    };
    is_named.then(|| Ok(Box::new(tar()) as Box<dyn Destination>))
}

impl Tar {
    fn file(&self, index: usize) -> PathBuf {
        match self.shard_size {
            None => self.path.clone(),
            Some(_) => {
                let stem = self.path.file_stem().unwrap_or_default().to_string_lossy();
                self.path.with_file_name(format!("{stem}-{index:06}.tar"))
            }
        }
    }

    /// The keys in finished files, and how many of these there are.
    fn finished(&self, contents: &Contents) -> Result<(HashSet<String>, usize), OutputError> {
        let mut keys = HashSet::new();
        // A tar that is being made again, in the place of a finished one, counts in its stead.
        if self.shard_size.is_none() && begun(&self.path, &contents.settings)?.is_some() {
            return Ok((keys, 0));
        }
        let mut count = 0;
        while let Some(found) = made_here(&self.file(count), &contents.settings)? {
            keys.extend(found);
            count += 1;
            if self.shard_size.is_none() {
                break;
            }
        }
        Ok((keys, count))
    }
}

impl Destination for Tar {
    fn describe(&self, _contents: &Contents) -> String {
        match self.shard_size {
            None => format!("{}, one tar", self.path.display()),
            Some(limit) => {
                format!("{} and so on, tars of at most {}", self.file(0).display(), readable_size(limit))
            }
        }
    }

    fn heeds(&self, _setting: Setting) -> bool {
        true
    }

    fn format(&self) -> Option<Format> {
        Some(Format::Npy)
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn place(&self, _contents: &Contents, name: &Path) -> Option<PathBuf> {
        Some(key(name, None, self.keep_extension).into())
    }

    fn image_bytes(&self, contents: &Contents) -> Option<u64> {
        image_bytes(contents)
    }

    fn copied_bytes(&self, contents: &Contents) -> u64 {
        let is_finished = self.is_finished(contents);
        self.path.metadata().ok().filter(|_| is_finished).map_or(0, |file| file.len())
    }

    fn resumes(&self) -> bool {
        true
    }

    fn probe(&self) -> Result<(), OutputError> {
        probe_sibling(&self.path)
    }

    fn check(&self, contents: &Contents) -> Result<(), OutputError> {
        if let (Some(limit), Some(image)) = (self.shard_size, image_bytes(contents)) {
            let least = image + END + SETTINGS;
            if limit < least {
                return Err(OutputError::ShardSize { path: self.path.clone(), limit, image, least });
            }
        }
        OutputFile::check_directory(&self.path)
    }

    fn complete(&self, contents: &Contents) -> Result<Complete, OutputError> {
        if contents.overwrite {
            return Ok(Complete::none());
        }
        let (mut keys, count) = self.finished(contents)?;
        keys.extend(begun(&self.file(count), &contents.settings)?.unwrap_or_default());
        let keep_extension = self.keep_extension;
        Ok(Complete::when(move |name, sample| {
            keys.contains(&key(name, sample.map(|sample| sample.key.as_str()), keep_extension))
        }))
    }

    fn is_finished(&self, contents: &Contents) -> bool {
        !contents.overwrite
            && self.shard_size.is_none()
            && self.finished(contents).is_ok_and(|(_, count)| count > 0)
    }

    fn open(&self, contents: &Contents, _planned: &[&Path]) -> Result<Box<dyn Sink>, OutputError> {
        let (keys, index) = if contents.overwrite { (HashSet::new(), 0) } else { self.finished(contents)? };
        let is_finished = self.shard_size.is_none() && index > 0;
        let current = (!is_finished).then(|| Growing::open(&self.file(index), contents)).transpose()?;
        Ok(Box::new(Opened { tar: self.clone(), contents: contents.clone(), keys, index, current }))
    }
}

struct Opened {
    tar: Tar,
    contents: Contents,
    /// Of the files that are finished.
    keys: HashSet<String>,
    index: usize,
    /// None while the only file is finished and no sample was added to it.
    current: Option<Growing>,
}

impl Opened {
    /// Begins the next file where the current one has no room for so many bytes.
    fn make_room(&mut self, bytes: u64) -> Result<(), OutputError> {
        let is_full = |current: &mut Growing| {
            let room = self.tar.shard_size.map(|limit| limit.saturating_sub(END));
            !current.keys().is_empty() && room.is_some_and(|room| current.length() + bytes > room)
        };
        if let Some(full) = self.current.take_if(is_full) {
            self.keys.extend(full.keys().iter().cloned());
            full.finish()?;
            self.index += 1;
            self.current = Some(Growing::open(&self.tar.file(self.index), &self.contents)?);
        }
        Ok(())
    }
}

impl Sink for Opened {
    fn complete(&self) -> Complete {
        let (mut keys, keep_extension) = (self.keys.clone(), self.tar.keep_extension);
        keys.extend(self.current.iter().flat_map(|current| current.keys().iter().cloned()));
        Complete::when(move |name, sample| {
            keys.contains(&key(name, sample.map(|sample| sample.key.as_str()), keep_extension))
        })
    }

    fn write(&mut self, image: &Described<'_>, arrays: &[Array]) -> Result<Vec<PathBuf>, OutputError> {
        let key = key(image.name, image.sample.map(|sample| sample.key.as_str()), self.tar.keep_extension);
        if self.keys.contains(&key) {
            let reason = format!("has a sample {key} already");
            return Err(OutputError::Misplaced { path: self.tar.path.clone(), reason });
        }
        let elements: usize = arrays.iter().map(|array| array.values.len()).sum();
        let kept: usize =
            image.sample.iter().flat_map(|sample| &sample.kept).map(|kept| kept.bytes.len() + 1024).sum();
        let headers = (arrays.len() + 1) * 1536 + image.facts.len();
        self.make_room((elements * self.contents.dtype.size() + kept + headers) as u64)?;
        let current = match &mut self.current {
            Some(current) => current,
            none => none.insert(Growing::reopen(&self.tar.file(0), &self.contents)?),
        };
        current.write(key, image, arrays, &self.contents)?;
        Ok(vec![current.target().to_owned()])
    }

    fn finish(mut self: Box<Self>) -> Result<(), OutputError> {
        let mut count = self.index;
        if let Some(current) = self.current.take() {
            // Without an image, a file would only keep the next run from making one.
            if current.keys().is_empty() {
                current.discard()?;
            } else {
                current.finish()?;
                count += 1;
            }
        }
        // Of an older set that had more files.
        if self.contents.overwrite && self.tar.shard_size.is_some() {
            for path in (count..).map(|index| self.tar.file(index)) {
                match fs::remove_file(&path) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                    Err(source) => return Err(OutputError::Io { path, source }),
                }
            }
        }
        Ok(())
    }
}
