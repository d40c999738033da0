//! A directory that repeats tar shards: one in, one of the same name out.
//!
//! A shard is renamed into place when all of its images have been written that can be: it exists, so it is done. One whose input
//! was cut or damaged gets a hidden `.NAME.incomplete` beside it, so that it is made again when the input may be whole. One of which
//! images failed gets a hidden `.NAME.failed`, so that these are tried again and told of, and the others are kept. One that was itself
//! cut since then is made again.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Mutex,
};

use super::{
    Asked, Claim,
    directory::{check_root, probe_root},
};
use crate::{
    output::{
        Array, Complete, Contents, Described, Destination, Format, Left, Metadata, OutputError, OutputFile,
        Setting, Sink,
        disk::{hidden_sibling, make_directories, whole_path},
        manifest::{MANIFEST, Manifest},
        tarball::{Growing, begun, image_bytes, is_ours, is_there, made_here, partial, seen},
    },
    shard,
};

#[derive(Clone, Debug)]
struct Mirror {
    root: PathBuf,
}

pub(super) fn claim(asked: &Asked) -> Claim {
    let root = asked.path.as_deref().filter(|_| asked.format.is_none())?;
    if !asked.names_directory() {
        return None;
    }
    match (asked.sharded, asked.tar) {
        (Some(true), _) | (None, true) => Some(Ok(Box::new(Mirror { root: root.to_owned() }))),
        (Some(false), true) => Some(Err(OutputError::NoShards { path: root.to_owned() })),
        (_, false) => None,
    }
}

impl Mirror {
    /// The output of a shard, by its relative name.
    fn target(&self, shard: &Path) -> PathBuf {
        let mut path = self.root.join(shard::stem(shard)).into_os_string();
        path.push(".tar");
        path.into()
    }

    fn is_done(&self, shard: &Path, settings: &Metadata) -> bool {
        let target = self.target(shard);
        is_there(&target, settings).is_ok_and(|is_there| is_there)
            && !MARKS.iter().any(|mark| mark.is_at(&target))
    }

    /// The samples of a finished shard that are kept while the others are tried again; none if there is no such shard.
    fn kept(&self, shard: &Path, settings: &Metadata) -> Option<HashSet<String>> {
        let target = self.target(shard);
        if Mark::INCOMPLETE.is_at(&target) || !Mark::FAILED.is_at(&target) {
            return None;
        }
        // A damaged one is made again.
        made_here(&target, settings).ok().flatten()
    }
}

/// What stands beside a finished shard, and says that it is not done.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Mark(&'static str);

impl Mark {
    /// Its input is damaged.
    const INCOMPLETE: Self = Self(".incomplete");
    /// Some of its images failed.
    const FAILED: Self = Self(".failed");

    fn path(self, target: &Path) -> PathBuf {
        hidden_sibling(target, self.0)
    }

    fn is_at(self, target: &Path) -> bool {
        self.path(target).exists()
    }

    fn set(self, target: &Path) -> Result<(), OutputError> {
        OutputFile::create_in_tree(&self.path(target))?.commit(|_| Ok(()))
    }

    fn remove(self, target: &Path) -> Result<(), OutputError> {
        let path = self.path(target);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(OutputError::Io { path, source }),
            _ => Ok(()),
        }
    }
}

const MARKS: [Mark; 2] = [Mark::INCOMPLETE, Mark::FAILED];

impl Destination for Mirror {
    fn describe(&self, _contents: &Contents) -> String {
        format!("{}, one tar a shard", self.root.display())
    }

    fn heeds(&self, setting: Setting) -> bool {
        matches!(setting, Setting::Format | Setting::Overwrite | Setting::Part | Setting::Keep)
    }

    fn format(&self) -> Option<Format> {
        Some(Format::Npy)
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.root)
    }

    fn place(&self, contents: &Contents, name: &Path) -> Option<PathBuf> {
        self.own_file(contents, name)
    }

    fn own_file(&self, _contents: &Contents, name: &Path) -> Option<PathBuf> {
        Some(self.target(name))
    }

    fn replaced(&self, _contents: &Contents) -> Vec<PathBuf> {
        vec![self.root.join(MANIFEST)]
    }

    fn is_own(&self, tar: &Path) -> bool {
        whole_path(tar).starts_with(whole_path(&self.root)) && is_ours(tar)
    }

    fn repeats_shards(&self) -> bool {
        true
    }

    fn image_bytes(&self, contents: &Contents) -> Option<u64> {
        image_bytes(contents)
    }

    fn resumes(&self) -> bool {
        true
    }

    fn probe(&self) -> Result<(), OutputError> {
        probe_root(&self.root)
    }

    fn check(&self, _contents: &Contents) -> Result<(), OutputError> {
        check_root(&self.root)
    }

    fn complete(&self, contents: &Contents) -> Result<Complete, OutputError> {
        if contents.overwrite {
            return Ok(Complete::none());
        }
        let Some(manifest) = Manifest::read(&self.root.join(MANIFEST))? else { return Ok(Complete::none()) };
        manifest.check(&contents.settings, &self.root)?;
        let (mirror, settings) = (self.clone(), contents.settings.clone());
        // What an earlier run left of a shard is looked at once, before this run adds to it.
        let left: Mutex<HashMap<PathBuf, HashSet<String>>> = Mutex::default();
        Ok(Complete::when(move |name, sample| {
            let Some(sample) = sample else { return mirror.is_done(name, &settings) };
            let mut left = left.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if !left.contains_key(&sample.shard) {
                // One shard at a time is read, so one is enough to remember.
                left.clear();
                let found = begun(&mirror.target(&sample.shard), &settings).ok().flatten();
                let found = found.or_else(|| mirror.kept(&sample.shard, &settings));
                left.insert(sample.shard.clone(), found.unwrap_or_default());
            }
            left[&sample.shard].contains(&sample.key)
        }))
    }

    fn open(&self, contents: &Contents, planned: &[&Path]) -> Result<Box<dyn Sink>, OutputError> {
        let root = &self.root;
        fs::create_dir_all(root).map_err(|source| OutputError::Io { path: root.clone(), source })?;
        for shard in planned {
            let target = self.target(shard);
            if !contents.overwrite {
                is_there(&target, &contents.settings)?;
            } else if let Err(source) = fs::remove_file(&target)
                && source.kind() != io::ErrorKind::NotFound
            {
                return Err(OutputError::Io { path: target, source });
            }
        }
        Manifest { settings: contents.settings.clone() }.settle(root, contents.overwrite)?;
        Ok(Box::new(Opened { mirror: self.clone(), contents: contents.clone(), current: None }))
    }
}

struct Opened {
    mirror: Mirror,
    contents: Contents,
    current: Option<Growing>,
}

impl Opened {
    /// Whether a shard is a finished one that is kept, and that has not begun to take more.
    fn rests(&self, shard: &Path) -> bool {
        !self.contents.overwrite
            && !partial(&self.mirror.target(shard)).exists()
            && self.mirror.kept(shard, &self.contents.settings).is_some()
    }

    /// Whether a killed run left samples of a shard, and what is finished of it has no more.
    fn has_begun(&self, target: &Path) -> bool {
        let settings = &self.contents.settings;
        let left = begun(target, settings).ok().flatten().map_or(0, |keys| keys.len());
        // What is finished holds more where its input could be read further.
        let finished = || made_here(target, settings).ok().flatten().map_or(0, |keys| keys.len());
        !self.contents.overwrite && left > 0 && finished() <= left
    }

    fn shard(&mut self, shard: &Path) -> Result<&mut Growing, OutputError> {
        let target = self.mirror.target(shard);
        let current = match self.current.take() {
            Some(current) if current.target() == target => current,
            _ => {
                make_directories(&self.mirror.root, &target)?;
                // Before anything is asked of it: what another process finishes from now on is noticed.
                let before = seen(&target);
                let rests = self.rests(shard);
                let growing = match rests {
                    true => Growing::reopen(&target, &self.contents, before.as_ref())?,
                    false => Growing::open(&target, &self.contents, before.as_ref())?,
                };
                if !self.contents.overwrite && self.mirror.is_done(shard, &self.contents.settings) {
                    // Another process has finished it since, with samples that were passed over here. A copy of it is of no use.
                    if rests || growing.keys().is_empty() {
                        growing.discard()?;
                    }
                    return Err(OutputError::Busy { path: target });
                }
                growing
            }
        };
        Ok(self.current.insert(current))
    }
}

impl Sink for Opened {
    fn complete(&self) -> Complete {
        self.mirror.complete(&self.contents).unwrap_or_else(|_| Complete::none())
    }

    fn write(&mut self, image: &Described<'_>, arrays: &[Array]) -> Result<Vec<PathBuf>, OutputError> {
        let Some(sample) = image.sample else {
            let reason = "is not in a tar, and this directory repeats tars".into();
            return Err(OutputError::Misplaced { path: image.name.to_owned(), reason });
        };
        let contents = self.contents.clone();
        let current = self.shard(&sample.shard)?;
        current.write(sample.key.clone(), image, arrays, &contents)?;
        Ok(vec![current.target().to_owned()])
    }

    fn end_shard(&mut self, shard: &Path, left: Left) -> Result<(), OutputError> {
        let target = self.mirror.target(shard);
        let is_open = self.current.as_ref().is_some_and(|current| current.target() == target);
        if left == Left::All && !is_open && !self.has_begun(&target) {
            return Ok(()); // nothing could be read of it
        }
        if is_open || !self.rests(shard) {
            self.shard(shard)?;
        }
        let mark = match left {
            Left::Nothing => None,
            Left::Failed => Some(Mark::FAILED),
            Left::All => Some(Mark::INCOMPLETE),
        };
        mark.map_or(Ok(()), |mark| mark.set(&target))?;
        if let Some(current) = self.current.take() {
            current.finish()?;
        }
        MARKS.into_iter().filter(|&other| Some(other) != mark).try_for_each(|other| other.remove(&target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        output::{Dtype, TensorSpec},
        shard::Sample,
    };

    #[test]
    fn what_another_run_finishes_meanwhile_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let mirror = Mirror { root: directory.path().join("out") };
        let tensors = vec![TensorSpec { name: "x".into(), shape: Some(vec![1, 2]) }];
        let contents = Contents { tensors, dtype: Dtype::F32, settings: Metadata::new(), overwrite: false };
        let (name, metadata) = (Path::new("a.tar"), Metadata::new());
        let sample = Sample { shard: name.to_owned(), key: "cat".into(), kept: Vec::new() };
        let image = Described { name, sample: Some(&sample), metadata: &metadata, facts: "{}" };
        let array = Array { name: "x".into(), shape: vec![1, 2], values: vec![1.0, 2.0] };
        let [mut first, mut second] = [(), ()].map(|()| mirror.open(&contents, &[name]).unwrap());
        first.write(&image, &[array]).unwrap();
        assert!(second.complete().contains(name, Some(&sample)), "it is there, and passed over");
        first.end_shard(name, Left::Nothing).unwrap();
        let finished = fs::read(mirror.target(name)).unwrap();
        assert!(matches!(second.end_shard(name, Left::Nothing), Err(OutputError::Busy { .. })));
        assert_eq!(fs::read(mirror.target(name)).unwrap(), finished);
        assert_eq!(fs::read_dir(&mirror.root).unwrap().count(), 2, "with the manifest");
    }
}
