//! Samples in one `.tar`, or in `NAME-000000.tar` and so on of a limited size.

use std::{
    collections::{BTreeSet, HashSet},
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use same_file::Handle;

use super::{Asked, Claim};
use crate::{
    output::{
        Array, Complete, Contents, Described, Destination, Format, OutputError, OutputFile, Setting, Sink,
        check_shard_size,
        disk::{parent, probe_sibling, readable_size, whole_path},
        tarball::{Growing, begun, image_bytes, is_ours, key, made_here, partial, seen},
    },
    shard::END,
};

#[derive(Clone, Debug)]
struct Tar {
    path: PathBuf,
    /// The most bytes of a file.
    shard_size: Option<u64>,
    keep_extension: bool,
}

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

    /// Looks which files there are. Of a set, some may have been removed: then the numbers have gaps.
    fn look(&self) -> Result<Files, OutputError> {
        /// After a larger gap, a file counts as another's.
        const LARGEST_GAP: usize = 1000;
        if self.shard_size.is_none() {
            let number = |path: PathBuf| path.exists().then_some(0).into_iter().collect();
            return Ok(Files {
                finished: number(self.file(0)),
                begun: number(partial(&self.file(0))),
                seen: seen(&self.file(0)),
            });
        }
        let io_error = |source| OutputError::Io { path: self.path.clone(), source };
        let mut names: HashSet<OsString> = HashSet::new();
        for entry in fs::read_dir(parent(&self.path)).map_err(io_error)? {
            let name = entry.map_err(io_error)?.file_name();
            if [".tar", ".partial"].iter().any(|end| name.as_encoded_bytes().ends_with(end.as_bytes())) {
                names.insert(name);
            }
        }
        let is_there = |path: &Path| path.file_name().is_some_and(|name| names.contains(name));
        let mut files = Files::default();
        let (mut number, mut end) = (0, LARGEST_GAP);
        while number < end {
            let file = self.file(number);
            for (path, found) in [(partial(&file), &mut files.begun), (file, &mut files.finished)] {
                if is_there(&path) {
                    found.insert(number);
                    end = number + LARGEST_GAP;
                }
            }
            number += 1;
        }
        Ok(files)
    }

    /// The keys in all files, finished and begun. A single tar that is being made again, in the place of a finished one, counts in its
    /// stead; of a set, what is finished does.
    fn keys(&self, contents: &Contents, files: &mut Files) -> Result<HashSet<String>, OutputError> {
        let mut keys = HashSet::new();
        for &number in &files.begun {
            if self.shard_size.is_some() && files.finished.contains(&number) {
                continue;
            }
            if let Some(found) = begun(&self.file(number), &contents.settings)? {
                keys.extend(found);
                files.finished.remove(&number);
            }
        }
        for &number in &files.finished {
            keys.extend(made_here(&self.file(number), &contents.settings)?.unwrap_or_default());
        }
        Ok(keys)
    }

    /// Removes what was begun; of that which does not count only, or all.
    fn discard(&self, contents: &Contents, files: &mut Files, all: bool) -> Result<(), OutputError> {
        let is_useless = |number: &usize| all || files.finished.contains(number);
        let useless: Vec<usize> = files.begun.iter().copied().filter(is_useless).collect();
        for number in useless {
            // Fails while another process writes it.
            let file = self.file(number);
            Growing::open(&file, contents, seen(&file).as_ref())?.discard()?;
            files.begun.remove(&number);
        }
        Ok(())
    }

    /// Removes an older set, the last file first, so that what a kill leaves of it is a set too.
    fn clear(&self, contents: &Contents, files: &mut Files) -> Result<(), OutputError> {
        self.discard(contents, files, true)?;
        for number in std::mem::take(&mut files.finished).into_iter().rev() {
            let path = self.file(number);
            fs::remove_file(&path).map_err(|source| OutputError::Io { path, source })?;
        }
        Ok(())
    }
}

/// The files of a set by their numbers, or a single one as number 0.
#[derive(Debug, Default)]
struct Files {
    finished: BTreeSet<usize>,
    /// What killed runs left: one, unless somebody has removed files since.
    begun: BTreeSet<usize>,
    /// A single file as it was when it was looked at.
    seen: Option<Handle>,
}

impl Files {
    /// The number of the next file: what was begun goes on, and a gap is filled.
    fn next(&self) -> usize {
        let free = || (0..).find(|number| !self.finished.contains(number));
        self.begun.first().copied().or_else(free).expect("there are more numbers than files")
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

    fn is_own(&self, tar: &Path) -> bool {
        let stem = tar.file_stem().unwrap_or_default().to_string_lossy();
        let number = stem.rsplit_once('-').and_then(|(_, number)| number.parse().ok());
        whole_path(&self.file(number.unwrap_or(0))) == whole_path(tar) && is_ours(tar)
    }

    fn replaced(&self, contents: &Contents) -> Vec<PathBuf> {
        match self.shard_size {
            Some(_) if !contents.overwrite => Vec::new(), // what is finished stays
            _ => self
                .look()
                .into_iter()
                .flat_map(|files| files.finished)
                .map(|number| self.file(number))
                .collect(),
        }
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
        check_shard_size(&self.path, self.shard_size, image_bytes(contents), END + SETTINGS)?;
        OutputFile::check_directory(&self.path)
    }

    fn complete(&self, contents: &Contents) -> Result<Complete, OutputError> {
        if contents.overwrite {
            return Ok(Complete::none());
        }
        let keys = self.keys(contents, &mut self.look()?)?;
        let keep_extension = self.keep_extension;
        Ok(Complete::when(move |name, sample| {
            keys.contains(&key(name, sample.map(|sample| sample.key.as_str()), keep_extension))
        }))
    }

    fn is_finished(&self, contents: &Contents) -> bool {
        let is_finished = || {
            let mut files = self.look()?;
            self.keys(contents, &mut files)?;
            Ok::<_, OutputError>(!files.finished.is_empty())
        };
        !contents.overwrite && self.shard_size.is_none() && is_finished().unwrap_or(false)
    }

    fn open(&self, contents: &Contents, _planned: &[&Path]) -> Result<Box<dyn Sink>, OutputError> {
        let mut files = self.look()?;
        let mut keys = HashSet::new();
        if !contents.overwrite {
            keys = self.keys(contents, &mut files)?;
            if self.shard_size.is_some() {
                self.discard(contents, &mut files, false)?;
            }
        } else if self.shard_size.is_some() {
            self.clear(contents, &mut files)?;
        } else {
            files.finished.clear();
        }
        let mut opened = Opened { tar: self.clone(), contents: contents.clone(), keys, files, current: None };
        if self.shard_size.is_some() || opened.files.finished.is_empty() {
            opened.begin()?;
        }
        Ok(Box::new(opened))
    }
}

struct Opened {
    tar: Tar,
    contents: Contents,
    /// Of all files.
    keys: HashSet<String>,
    files: Files,
    /// The file that grows, and its number. None while the only file is finished and no sample was added to it.
    current: Option<(usize, Growing)>,
}

impl Opened {
    /// Opens the file that is to grow.
    fn begin(&mut self) -> Result<(), OutputError> {
        let number = self.files.next();
        let growing = Growing::open(&self.tar.file(number), &self.contents, self.files.seen.as_ref())?;
        self.files.begun.remove(&number);
        self.keys.extend(growing.keys().iter().cloned());
        self.current = Some((number, growing));
        Ok(())
    }

    /// Finishes the file that grows. Without an image, it would only keep the next run from making one.
    fn end(&mut self) -> Result<(), OutputError> {
        let Some((number, current)) = self.current.take() else { return Ok(()) };
        if current.keys().is_empty() {
            return current.discard();
        }
        current.finish()?;
        self.files.finished.insert(number);
        Ok(())
    }

    /// Sees that there is a file that grows, and begins the next one where it has no room for so many bytes.
    fn make_room(&mut self, bytes: u64) -> Result<(), OutputError> {
        let room = self.tar.shard_size.map(|limit| limit.saturating_sub(END));
        let is_full = |(_, current): &(usize, Growing)| {
            !current.keys().is_empty() && room.is_some_and(|room| current.length() + bytes > room)
        };
        while self.current.as_ref().is_some_and(is_full) {
            self.end()?;
            self.begin()?;
        }
        if self.current.is_none() {
            // The only file takes more.
            let growing = Growing::reopen(&self.tar.file(0), &self.contents, self.files.seen.as_ref())?;
            self.current = Some((0, growing));
        }
        Ok(())
    }
}

impl Sink for Opened {
    fn complete(&self) -> Complete {
        let (keys, keep_extension) = (self.keys.clone(), self.tar.keep_extension);
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
        let (_, current) = self.current.as_mut().expect("room was made in it");
        current.write(key.clone(), image, arrays, &self.contents)?;
        self.keys.insert(key);
        Ok(vec![current.target().to_owned()])
    }

    fn finish(mut self: Box<Self>) -> Result<(), OutputError> {
        self.end()?;
        // Where somebody has removed files of a set that was being written, more than one may have been left.
        while !self.files.begun.is_empty() {
            self.begin()?;
            self.end()?;
        }
        Ok(())
    }
}
