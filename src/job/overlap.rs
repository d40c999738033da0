//! Whether an output would be written over what is read: an input, or a file of the model. Links are followed, and hard links are one
//! file.

use std::{
    collections::{HashMap, HashSet},
    ffi::{OsStr, OsString},
    fmt::Display,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;

use super::{error::JobError, task::Task};
use crate::{
    bounded::read_piece,
    input::{Item, Source},
    output::{place_of, whole_path},
};

/// A file, whatever its name.
#[cfg(unix)]
type Identity = (u64, u64);

/// A file, by the name that its links lead to.
#[cfg(not(unix))]
type Identity = PathBuf;

/// Which file a path leads to; none where there is no regular file. Nothing is opened, since a pipe waits for its writer.
#[cfg(unix)]
fn identity(path: &Path) -> Option<Identity> {
    let found = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    Some((std::os::unix::fs::MetadataExt::dev(&found), std::os::unix::fs::MetadataExt::ino(&found)))
}

#[cfg(not(unix))]
fn identity(path: &Path) -> Option<Identity> {
    path.is_file().then(|| path.canonicalize().ok()).flatten()
}

/// What a run may write over.
#[derive(Clone, Debug)]
pub(super) struct Overlap {
    /// Files that are there already and may be replaced.
    outputs: HashMap<Identity, PathBuf>,
    task: Arc<Task>,
    model: HashSet<Identity>,
    model_names: HashSet<OsString>,
}

impl Overlap {
    /// Looks at where a job writes.
    ///
    /// # Errors
    /// One of them is a file of the model, or one of `read`, the files that are read beside the images, or failures would go there too.
    pub(super) fn of(task: &Arc<Task>, read: &[PathBuf]) -> Result<Self, JobError> {
        let (plan, failures) = (&task.plan, task.job.failures.as_deref());
        let written = plan.replaced(&task.contents);
        if let Some(path) = failures {
            let place = place_of(path);
            if written.iter().any(|written| place_of(written) == place) {
                return Err(JobError::SamePlace { path: path.to_owned() });
            }
        }
        let replaced = written.into_iter().chain(failures.map(Path::to_owned));
        let outputs: HashMap<Identity, PathBuf> =
            replaced.filter_map(|path| Some((identity(&path)?, path))).collect();
        // Of those nothing need be known where nothing is written.
        let writes = plan.path().is_some() || failures.is_some();
        let files = if writes { task.opened.files() } else { Vec::new() };
        let model: HashSet<Identity> = files.iter().filter_map(|path| identity(path)).collect();
        let model_names = files.into_iter().filter_map(file_name).collect();
        if let Some((_, path)) = outputs.iter().find(|(file, _)| model.contains(file)) {
            return Err(over_model(path.clone()));
        }
        for input in read {
            if let Some(path) = identity(input).and_then(|input| outputs.get(&input)) {
                return Err(over_input(path.clone(), input.display()));
            }
        }
        Ok(Self { outputs, task: task.clone(), model, model_names })
    }

    /// Refuses images that are known in advance, before anything is touched.
    ///
    /// # Errors
    /// As [`Overlap::check`].
    pub(super) fn check_all(&self, items: &[Item]) -> Result<(), JobError> {
        /// Of more than a command line names, links of other names are found when they are read: to ask the disk for each takes long.
        const FEW: usize = 1000;
        let whole = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
        let names: HashSet<_> = self
            .outputs
            .values()
            .flat_map(|path| [path.clone(), whole(path)])
            .filter_map(file_name)
            .collect();
        let may_be_output = |item: &&Item| match &item.source {
            Source::File(path) | Source::Shard(path) => {
                items.len() <= FEW
                    || path.file_name().is_some_and(|name| names.contains(name))
                    || self
                        .own_file(item)
                        .is_some_and(|own| own.file_name() == path.file_name() || self.has_models_name(&own))
            }
            _ => false,
        };
        items.iter().filter(may_be_output).try_for_each(|item| self.check(item))?;
        self.check_others(items)
    }

    /// Refuses an output of one image that would replace another one: a picture, or a tar.
    fn check_others(&self, items: &[Item]) -> Result<(), JobError> {
        if !self.task.contents.overwrite || !self.task.plan.writes_inputs() {
            return Ok(()); // what is there stays
        }
        let file = |item: &Item| match &item.source {
            Source::File(path) | Source::Shard(path) => Some(whole_path(path)),
            _ => None,
        };
        let inputs: HashSet<PathBuf> = items.iter().filter_map(file).collect();
        match items
            .iter()
            .filter_map(|item| self.own_file(item))
            .find(|path| inputs.contains(&whole_path(path)))
        {
            Some(path) => Err(over_input(path.clone(), path.display())),
            None => Ok(()),
        }
    }

    /// Refuses an image, or a shard, that an output would be written over, or whose own output would replace a file of the model.
    ///
    /// # Errors
    /// As said.
    pub(super) fn check(&self, item: &Item) -> Result<(), JobError> {
        let (Source::File(input) | Source::Shard(input) | Source::Member { shard: input, .. }) = &item.source
        else {
            return Ok(());
        };
        let over = |path: &PathBuf| over_input(path.clone(), &item.source);
        if !self.outputs.is_empty()
            && let Some(output) = identity(input).and_then(|input| self.outputs.get(&input))
        {
            return Err(over(output));
        }
        // A rename over another name of the same file would not harm it, so names are compared before the disk is asked.
        if let Some(output) = self.own_file(item) {
            if output.file_name() == input.file_name()
                && identity(&output).is_some_and(|file| Some(file) == identity(input))
            {
                return Err(over(&output));
            }
            if self.has_models_name(&output)
                && identity(&output).is_some_and(|file| self.model.contains(&file))
            {
                return Err(over_model(output));
            }
        }
        Ok(())
    }

    fn has_models_name(&self, path: &Path) -> bool {
        path.file_name().is_some_and(|name| self.model_names.contains(name))
    }

    /// The file that is this image's alone, or its tar's.
    fn own_file(&self, item: &Item) -> Option<PathBuf> {
        let name = match &item.sample {
            Some(sample) if self.task.plan.repeats_tars() => &sample.shard,
            _ => &item.name,
        };
        self.task.plan.own_file(&self.task.contents, name)
    }
}

fn over_input(path: PathBuf, input: impl Display) -> JobError {
    JobError::Over { path, reason: format!("would be written over {input}, which is an input") }
}

fn over_model(path: PathBuf) -> JobError {
    JobError::Over { path, reason: "is a file of the model".into() }
}

fn file_name(path: PathBuf) -> Option<OsString> {
    path.file_name().map(OsStr::to_owned)
}

/// Refuses to empty a file for failures that holds something else: a list of images is not read beforehand, and may name it.
///
/// # Errors
/// As said.
pub(super) fn check_failures(path: &Path) -> Result<(), JobError> {
    /// A longer line is no failure of ours.
    const LONGEST_LINE: usize = 1 << 20;
    /// What tells a failure from other records.
    #[derive(Deserialize)]
    struct Line {
        #[serde(rename = "stage")]
        _stage: String,
        #[serde(rename = "reason")]
        _reason: String,
    }
    if !path.is_file() {
        return Ok(());
    }
    // What cannot be read is told when it is opened.
    let Ok(file) = File::open(path) else { return Ok(()) };
    let mut file = BufReader::new(file);
    while let Ok(Some(line)) = read_piece(&mut file, b'\n', LONGEST_LINE) {
        let is_failure = serde_json::from_slice::<Line>(&line.bytes).is_ok();
        // A full disk may have cut the last one off.
        let is_cut = || !line.bytes.ends_with(b"\n") && line.bytes.starts_with(br#"{"key":""#);
        if !is_failure && !is_cut() {
            return Err(JobError::NoFailures { path: path.to_owned() });
        }
    }
    Ok(())
}
