//! Outputs as a reader finds them: the manifests that a path stands for, and the files that they speak of.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    Dtype, Format, OutputError,
    collection::{Collection, Way},
    disk::parent,
    manifest::{Head, head_at, is_manifest},
    manifests::{beside, inside, part_of, stem_of, without_part},
};

/// The manifests that a path stands for.
#[derive(Debug)]
pub(crate) enum Stands {
    /// They are these. Where the path is that of a file, one of them must list it.
    For { manifests: Vec<PathBuf>, file: Option<PathBuf> },
    /// Nothing is there.
    Missing,
    /// None says what is there. With the names of outputs that are in the directory.
    Unknown { outputs: Vec<PathBuf> },
}

/// Finds the manifests of an output, by the path that was asked for when it was written, or by one of its files.
///
/// # Errors
/// A directory cannot be read.
pub(crate) fn manifests_of(path: &Path) -> Result<Stands, OutputError> {
    let io_error = |path: &Path| {
        let path = path.to_owned();
        move |source| OutputError::Io { path, source }
    };
    if path.is_dir() {
        let mut manifests = inside(path).map_err(io_error(path))?;
        if manifests.iter().any(|manifest| is_manifest(manifest)) {
            // What is named like one, and is none, lists nothing.
            manifests.retain(|manifest| is_manifest(manifest));
        }
        return match manifests.is_empty() {
            false => Ok(Stands::For { manifests, file: None }),
            true => Ok(Stands::Unknown { outputs: outputs_in(path).map_err(io_error(path))? }),
        };
    }
    let (directory, exists) = (parent(path), fs::symlink_metadata(path).is_ok());
    let beside = beside(directory).map_err(io_error(directory))?;
    for (stem, is_asked) in stems(path) {
        let of_stem = |manifest: &&PathBuf| stem_of(manifest).is_some_and(|(found, _)| *found == *stem);
        let manifests: Vec<PathBuf> = beside.iter().filter(of_stem).cloned().collect();
        let is_manifest = manifests.iter().any(|manifest| manifest == path);
        if !manifests.is_empty() && (exists || is_asked) {
            let file = (exists && !is_manifest).then(|| path.to_owned());
            return Ok(Stands::For { manifests, file });
        }
    }
    if !exists {
        return Ok(Stands::Missing);
    }
    for directory in
        path.ancestors().skip(1).map(|above| if above == Path::new("") { Path::new(".") } else { above })
    {
        let manifests = inside(directory).unwrap_or_default();
        if !manifests.is_empty() {
            let file = (!manifests.iter().any(|manifest| manifest == path)).then(|| path.to_owned());
            return Ok(Stands::For { manifests, file });
        }
    }
    Ok(Stands::Unknown { outputs: Vec::new() })
}

/// What the files of the output may be called before the extension that a path is of, and whether that is as it was asked for: a path
/// may be that of one file of a set, of a part, or of a manifest.
fn stems(path: &Path) -> Vec<(PathBuf, bool)> {
    let Some(name) = path.file_name().map(Path::new) else { return Vec::new() };
    if let Some((stem, _)) = stem_of(name) {
        return vec![(stem, false)];
    }
    let format = name.extension().and_then(OsStr::to_str);
    let is_format = Format::OF_TENSORS.into_iter().any(|known| format == Some(known.name()));
    let stem = if is_format { name.file_stem().map_or(name, Path::new) } else { name };
    let unnumbered = stem.to_str().and_then(|stem| {
        let (stem, number) = stem.rsplit_once('-')?;
        (number.len() >= 5 && number.bytes().all(|byte| byte.is_ascii_digit())).then(|| PathBuf::from(stem))
    });
    let mut found = vec![(name.to_owned(), true), (stem.to_owned(), true)];
    for stem in [Some(stem.to_owned()), unnumbered].into_iter().flatten() {
        found.push((without_part(&stem).0, false));
    }
    found
}

/// What could be opened in a directory that is no output itself.
fn outputs_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let stems = beside(directory)?.into_iter().filter_map(|manifest| Some((stem_of(&manifest)?.0, manifest)));
    let mut outputs = Vec::new();
    for (stem, manifest) in stems {
        if let Ok(head) = head_at(&manifest) {
            let mut name = stem.into_os_string();
            name.push(format!(".{}", head.layout));
            outputs.push(directory.join(name));
        }
    }
    outputs.dedup();
    Ok(outputs)
}

impl Collection {
    /// What a manifest speaks of, given its first line, and the type of all elements; none of what holds no tensors.
    pub(crate) fn of(manifest: &Path, head: &Head) -> Option<(Self, Dtype)> {
        let (way, format) = match head.layout.split_once(" of ") {
            Some(("directory", format)) => (Way::Each, format),
            Some(("tars", format)) => (Way::Repeated, format),
            _ => (Way::Together(None), head.layout.as_str()),
        };
        let format = Format::OF_TENSORS.into_iter().find(|known| known.name() == format)?;
        let dtype = head.settings.get("dtype")?;
        let dtype = Dtype::ALL.into_iter().find(|known| known.name() == dtype)?;
        let (path, part) = match way {
            Way::Together(_) => {
                let (stem, part) = stem_of(manifest)?;
                let mut name = stem.into_os_string();
                name.push(format!(".{}", format.name()));
                (manifest.with_file_name(name), part)
            }
            Way::Each | Way::Repeated => {
                let middle = manifest.file_stem().and_then(|stem| Path::new(stem).extension()?.to_str());
                (parent(manifest).to_owned(), middle.and_then(part_of))
            }
        };
        Some((Self { path, way, format, part, keep_extension: false }, dtype))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &str) -> Vec<String> {
        stems(Path::new(path)).into_iter().map(|(stem, _)| stem.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_path_is_that_of_an_output_or_of_one_of_its_files() {
        assert_eq!(names("o/x.npy")[..2], ["x.npy", "x"]);
        assert!(names("x-00003.safetensors").contains(&"x".to_owned()));
        assert!(names("x.part-03-of-16.tar").contains(&"x".to_owned()));
        assert!(names("x.part-03-of-16-00000.tar").contains(&"x".to_owned()));
        assert_eq!(names("o/x.part-03-of-16.manifest.jsonl"), ["x"]);
        for odd in ["x.part-3-of-16.npy", "x.part-16-of-16.npy", "x-003.npy", "x.png"] {
            assert!(!names(odd).contains(&"x".to_owned()), "{odd}");
        }
    }
}
