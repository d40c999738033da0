//! What a directory of outputs says of its files, to whoever comes upon one of them without having named the directory.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use super::ledger::{self, LEDGER};
use crate::output::{
    OutputError,
    disk::place_of,
    key,
    manifest::{MANIFEST, Manifest},
};

/// The images of a directory of outputs, which its files are named for.
#[derive(Debug)]
pub(crate) struct Catalogue {
    root: PathBuf,
    /// The images' keys, with and without their extensions.
    images: HashSet<PathBuf>,
    /// What stands between an image's name and the extension where each tensor has a file.
    tensors: Vec<String>,
    is_of_drawings: bool,
}

impl Catalogue {
    /// Reads it; none where there is no directory of outputs that were made here.
    pub(crate) fn of(root: &Path) -> Option<Self> {
        let Manifest { settings } = Manifest::read(&root.join(MANIFEST)).ok()??;
        settings.get("tool").filter(|tool| *tool == env!("CARGO_PKG_NAME"))?;
        let keys = ledger::peek_all(root).ok()?.into_iter().map(PathBuf::from);
        let images = keys.flat_map(|key| [key.with_extension(""), key]).collect();
        let tensors =
            settings.get("tensor").unwrap_or_default().split(',').map(|tensor| format!(".{tensor}"));
        let is_of_drawings = settings.get("drawing").is_some();
        Some(Self { root: root.to_owned(), images, tensors: tensors.collect(), is_of_drawings })
    }

    /// Refuses a file that is an image's output in a directory of them, or was and is missing: nobody but the directory's own run
    /// makes it.
    ///
    /// # Errors
    /// As said.
    pub(crate) fn check(file: &Path) -> Result<(), OutputError> {
        let whole = place_of(file);
        let is_output = |found: &Self| found.names(&whole) && !found.has_another(&whole);
        match whole.ancestors().skip(1).filter_map(Self::of).find(is_output) {
            None => Ok(()),
            Some(Self { root, .. }) => Err(OutputError::Taken {
                path: file.to_owned(),
                reason: format!("is an image's output in {}, as {LEDGER} there says", root.display()),
            }),
        }
    }

    /// Whether a file's image has an output of another name there, by the format or with its extension, which a manifest does not tell.
    fn has_another(&self, file: &Path) -> bool {
        let Some(name) = self.name_of(file) else { return false };
        let is_same = |image: &&PathBuf| **image == name || image.with_extension("") == name;
        let mut outputs = self.images.iter().filter(is_same).flat_map(|image| {
            let output = |ending| self.root.join(format!("{}.{ending}", image.display()));
            self.endings().iter().map(output)
        });
        outputs.any(|output| output != file && output.exists())
    }

    /// How outputs end.
    fn endings(&self) -> &'static [&'static str] {
        if self.is_of_drawings { &["png"] } else { &["npy", "safetensors"] }
    }

    /// What a file below the directory that ends so is named for.
    fn name_of(&self, file: &Path) -> Option<PathBuf> {
        let extension = file.extension()?;
        self.endings().iter().find(|ending| extension == **ending)?;
        Some(PathBuf::from(key(file.strip_prefix(&self.root).ok()?)).with_extension(""))
    }

    /// Whether the files are pictures.
    pub(crate) fn is_of_drawings(&self) -> bool {
        self.is_of_drawings
    }

    /// Whether a file is an image's output.
    pub(crate) fn names(&self, file: &Path) -> bool {
        let Some(name) = self.name_of(file) else { return false };
        // `cat.attentions`, or of several layers `cat.attentions.3`
        let of_tensor = |tensor: &String| {
            let parts = name.to_str().and_then(|name| name.rsplit_once(tensor.as_str()));
            parts.is_some_and(|(image, layer)| {
                let is_layer = layer.strip_prefix('.').is_some_and(|layer| layer.parse::<usize>().is_ok());
                (layer.is_empty() || is_layer) && self.images.contains(Path::new(image))
            })
        };
        self.images.contains(&name) || self.tensors.iter().any(of_tensor)
    }
}
