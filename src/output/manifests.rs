//! The manifests that lie in a directory, as their names tell.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use super::Part;

/// The manifests in a directory of outputs, of whatever part, sorted.
pub(super) fn inside(directory: &Path) -> io::Result<Vec<PathBuf>> {
    files(directory, |name| {
        let middle = name.to_str().and_then(|name| name.strip_prefix("manifest.")?.strip_suffix("jsonl"));
        middle.is_some_and(|part| part.is_empty() || part.starts_with("part-") && part.contains("-of-"))
    })
}

/// The manifests in a directory that lie beside their files, sorted.
pub(super) fn beside(directory: &Path) -> io::Result<Vec<PathBuf>> {
    files(directory, |name| name.as_encoded_bytes().ends_with(b".manifest.jsonl"))
}

/// The files in a directory that are named so, sorted; none where there is no directory.
fn files(directory: &Path, is_wanted: impl Fn(&OsStr) -> bool) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    match fs::read_dir(directory) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
        entries => {
            for entry in entries? {
                let name = entry?.file_name();
                if is_wanted(&name) {
                    found.push(directory.join(name));
                }
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The stem of the files that a manifest beside them is of, and which part of a job.
pub(super) fn stem_of(manifest: &Path) -> Option<(PathBuf, Option<Part>)> {
    if manifest.extension() != Some(OsStr::new("jsonl")) {
        return None;
    }
    let whole = Path::new(manifest.file_stem()?);
    if whole.extension() != Some(OsStr::new("manifest")) {
        return None;
    }
    Some(without_part(Path::new(whole.file_stem()?)))
}

/// `x.part-03-of-16` → `x` and the part.
pub(super) fn without_part(stem: &Path) -> (PathBuf, Option<Part>) {
    match (stem.extension().and_then(|name| part_of(name.to_str()?)), stem.file_stem()) {
        (Some(part), Some(stem)) => (stem.into(), Some(part)),
        _ => (stem.to_owned(), None),
    }
}

/// `part-03-of-16` as a part.
pub(super) fn part_of(name: &str) -> Option<Part> {
    let (index, count) = name.strip_prefix("part-")?.split_once("-of-")?;
    let part: Part = format!("{}/{}", index.parse::<usize>().ok()?, count).parse().ok()?;
    (part.to_string() == name).then_some(part)
}
