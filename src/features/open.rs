//! Opening what was written: its manifests are followed, and held against the disk.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use super::{Features, FeaturesError, files::Open, followed::Manifest, settle::settle};
use crate::output::{Collection, Dtype, Ending, Head, Index, Part, Stands, key, manifests_of};

/// Opens what was written to a path: a directory, a stack, an archive, a tar, a set or the parts of a split job. The path is what was asked
/// for when it was written, or that of a file of it.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, path) = given::written()?;
/// use clip_features::features;
///
/// let features = features::open(path)?; // features.npy, beside which its manifest lies
/// assert_eq!(features.keys().collect::<Vec<_>>(), ["cat.ppm", "dog.ppm"]);
/// assert_eq!(features.get("cat.ppm")?.shape(), [5, 48]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// It is not there, not finished, cut, of mixed settings, or was not written here.
pub fn open(path: impl AsRef<Path>) -> Result<Features, FeaturesError> {
    Opening::default().open(&[path])
}

/// How features are opened.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, job, model) = given::job()?;
/// # let path = job.output.path.clone().ok_or("")?;
/// use std::ops::ControlFlow;
///
/// use clip_features::features::{self, Opening};
///
/// let broken_off = &mut |_: clip_features::job::Event<'_>| ControlFlow::Break(());
/// job.choose()?.look(&model)?.prepare()?.run(&Default::default(), broken_off)?;
/// assert!(features::open(&path).is_err());
/// assert!(Opening { unfinished: true }.open(&[path]).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Opening {
    /// Whether what a run has not finished, or has not finished yet, is read as far as it is complete.
    pub unfinished: bool,
}

impl Opening {
    /// Opens what was written to several paths as one collection. Paths of one output's files stand for it together.
    ///
    /// # Errors
    /// As [`open`], and an image is in two outputs, or there is no path.
    pub fn open<P: AsRef<Path>>(self, paths: &[P]) -> Result<Features, FeaturesError> {
        let (mut index, mut manifests) = (Index::default(), Vec::<Manifest>::new());
        let (mut seen, mut files) = (HashSet::new(), Vec::new());
        for (output, path) in paths.iter().map(AsRef::as_ref).enumerate() {
            let (found, file) = self.find(path)?;
            files.extend(file);
            for path in found {
                if !seen.insert(fs::canonicalize(&path).unwrap_or_else(|_| path.clone())) {
                    continue;
                }
                let opened = Open::at(&path)?;
                let followed = index.follow(&path, &opened.file, manifests.len(), output)?;
                let (collection, dtype) = collection(&path, &followed.head)?;
                if let Some(first) = manifests.first() {
                    check_mixed(first, &collection.path, &followed.head)?;
                }
                if let (Ending::Garbled(at), false) = (followed.ending, self.unfinished) {
                    let reason = format!(
                        "its line at byte {at} is not as it was written, and those after it do not count"
                    );
                    return Err(FeaturesError::damaged(&path, reason));
                }
                let (head, has_ended) = (followed.head, followed.has_ended);
                manifests.push(Manifest { path, output, collection, dtype, head, has_ended });
            }
        }
        if manifests.is_empty() {
            return Err(FeaturesError::Missing { path: PathBuf::new() });
        }
        if !self.unfinished {
            check_finished(&manifests, &index)?;
        }
        let homes = settle(&mut index, &manifests, self.unfinished)?;
        index.settle();
        if let Some(twice) = index.twice.take() {
            let path_of = |output| {
                let manifest = manifests.iter().find(|manifest| manifest.output == output);
                manifest.map_or_else(PathBuf::new, |manifest| manifest.collection.path.clone())
            };
            return Err(FeaturesError::Twice { key: twice.key, paths: twice.outputs.map(path_of) });
        }
        let features = Features::new(index, manifests, homes);
        files.iter().try_for_each(|file| check_listed(&features, file))?;
        Ok(features)
    }

    /// The manifests that a path stands for, and the file that one of them must list.
    fn find(self, path: &Path) -> Result<(Vec<PathBuf>, Option<PathBuf>), FeaturesError> {
        match manifests_of(path)? {
            Stands::For { manifests, file } => Ok((manifests, file)),
            Stands::Missing => Err(FeaturesError::Missing { path: path.to_owned() }),
            Stands::Unknown { outputs } => {
                let reason = match outputs.as_slice() {
                    [] if path.is_dir() => "there is no manifest in it that says what it holds".to_owned(),
                    [] => "no manifest says what it holds; the output of a single image has none, and is read by itself".to_owned(),
                    outputs => {
                        let outputs: Vec<String> = outputs.iter().map(|path| path.display().to_string()).collect();
                        format!("there is no manifest in it that says what it holds\nhint: open {}", outputs.join(" or "))
                    }
                };
                Err(FeaturesError::Unknown { path: path.to_owned(), reason })
            }
        }
    }
}

fn collection(manifest: &Path, head: &Head) -> Result<(Collection, Dtype), FeaturesError> {
    Collection::of(manifest, head).ok_or_else(|| match head.layout.as_str() {
        "directory of png" => FeaturesError::Pictures { path: crate::output::parent(manifest).to_owned() },
        layout => {
            let reason = format!("its layout, {layout}, is not known here");
            FeaturesError::Unknown { path: manifest.to_owned(), reason }
        }
    })
}

/// Refuses what was made otherwise than the first.
fn check_mixed(first: &Manifest, path: &Path, head: &Head) -> Result<(), FeaturesError> {
    // Whatever the version, the numbers are the reference's.
    let [found, expected] = [head, &first.head].map(|head| head.settings.clone().without("tool_version"));
    let mut differences = found.differences(&expected);
    if differences.is_empty() && head.tensors != first.head.tensors {
        differences.push(format!(
            "with tensors {}, not {}",
            head.tensors.join(","),
            first.head.tensors.join(",")
        ));
    }
    if differences.is_empty() {
        return Ok(());
    }
    let reason = format!("made {}, unlike {}", differences.join("; "), first.collection.path.display());
    Err(FeaturesError::Mixed { path: path.to_owned(), reason })
}

/// Refuses what a run has not finished, and a job of which parts are missing.
fn check_finished(manifests: &[Manifest], index: &Index) -> Result<(), FeaturesError> {
    let unfinished = |manifest: &Manifest, reason: String| {
        Err(FeaturesError::Unfinished { path: manifest.collection.path.clone(), reason })
    };
    for (place, manifest) in manifests.iter().enumerate() {
        let grows = |home: &&crate::output::Home| {
            home.manifest == place && home.file.as_ref().is_some_and(|file| file.grows_from.is_some())
        };
        if !manifest.has_ended || index.homes.iter().find(grows).is_some() {
            let name = key(Path::new(manifest.path.file_name().unwrap_or_default()));
            return unfinished(
                manifest,
                format!("the last run of {name} did not come to its end, or goes on"),
            );
        }
    }
    for first in manifests {
        let of_output = || manifests.iter().filter(|manifest| manifest.output == first.output);
        let Some(Part { count, .. }) = first.collection.part else { continue };
        // What an undivided run has looked at is complete.
        if of_output().any(|manifest| manifest.collection.part.is_none()) {
            continue;
        }
        let found: HashSet<usize> = of_output()
            .filter_map(|manifest| manifest.collection.part.filter(|part| part.count == count))
            .map(|part| part.index)
            .collect();
        if let Some(index) = (0..count.get()).find(|index| !found.contains(index)) {
            let more = match count.get() - found.len() {
                1 => String::new(),
                missing => format!(" and {} more", missing - 1),
            };
            return unfinished(first, format!("there is no {}{more}", Part { index, count }));
        }
    }
    Ok(())
}

/// Refuses a file that lies among the outputs and is none.
fn check_listed(features: &Features, file: &Path) -> Result<(), FeaturesError> {
    if features.lists(file)? {
        return Ok(());
    }
    let reason = "the manifest does not say that it is one of its files".into();
    Err(FeaturesError::Unknown { path: file.to_owned(), reason })
}
