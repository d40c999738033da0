//! Pictures of images' patches, as files.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use image::{
    ExtendedColorType, ImageEncoder, RgbImage,
    codecs::png::{CompressionType, FilterType, PngEncoder},
};

use super::{drawing_kind::DrawingKind, error::JobError};
use crate::{
    extractor::{Opened, Picture},
    figure::{Patches, Scores, Subject, heatmap, principal_components},
    input::Item,
    output::{Array, Catalogue, Complete, Directory, Metadata, OpenDirectory, OutputError, OutputFile},
};

/// A picture to draw of the patches of each image: of the first tensor that has some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawing {
    /// What is drawn.
    pub kind: DrawingKind,
    /// Where it goes.
    pub place: DrawingPlace,
}

/// Where pictures go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DrawingPlace {
    /// One PNG file, of one image. It is drawn by every run.
    File(PathBuf),
    /// Standard output, of one image.
    Stdout,
    /// A PNG file for each image. What is there already is not drawn again.
    Directory(Directory),
}

impl Drawing {
    /// The file or the directory, if there is one.
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            DrawingPlace::File(path) => Some(path),
            DrawingPlace::Stdout => None,
            DrawingPlace::Directory(directory) => Some(&directory.root),
        }
    }

    fn directory(&self) -> Option<&Directory> {
        match &self.place {
            DrawingPlace::File(_) | DrawingPlace::Stdout => None,
            DrawingPlace::Directory(directory) => Some(directory),
        }
    }

    /// What is written beside the pictures of a directory.
    pub(super) fn beside(&self) -> Vec<PathBuf> {
        self.directory().map(Directory::beside).unwrap_or_default()
    }

    /// The directory, if it is one.
    pub(super) fn root(&self) -> Option<&Path> {
        self.directory().map(|directory| directory.root.as_path())
    }

    /// The file of an image that no other may have, where there is one for each.
    pub(super) fn file(&self, name: &Path) -> Option<PathBuf> {
        self.directory().map(|directory| directory.files(name).swap_remove(0))
    }

    /// Sees that its query is a patch, as far as that does not depend on the image, and which pictures there are already.
    pub(super) fn complete(&self, opened: &Opened, overwrite: bool) -> Result<Complete, JobError> {
        if let (DrawingKind::Heatmap { query: Some(query) }, Some((height, width)), Some(config)) =
            (self.kind, opened.input_size(), opened.config())
        {
            let patch = config.patch_size;
            query.check(height / patch, width / patch).map_err(JobError::Query)?;
        }
        let complete = match &self.place {
            DrawingPlace::File(path) => OutputFile::check_directory(path)
                .and_then(|()| if overwrite { Ok(()) } else { Catalogue::check(path) })
                .map(|()| Complete::none()),
            DrawingPlace::Stdout => Ok(Complete::none()),
            DrawingPlace::Directory(directory) => {
                directory.check().and_then(|()| directory.complete(&self.settings(opened), overwrite))
            }
        };
        complete.map_err(|error| self.error(error))
    }

    fn error(&self, source: OutputError) -> JobError {
        JobError::Drawing { kind: self.kind, source }
    }

    /// Sees that it can be written.
    pub(crate) fn probe(&self) -> Result<(), OutputError> {
        match &self.place {
            DrawingPlace::File(path) => OutputFile::probe(path),
            DrawingPlace::Directory(directory) => directory.probe(),
            DrawingPlace::Stdout => Ok(()),
        }
    }

    /// Opens it for a run.
    pub(super) fn open(
        &self,
        opened: &Opened,
        overwrite: bool,
        planned: &[&Path],
    ) -> Result<OpenDrawing, JobError> {
        let directory = match &self.place {
            DrawingPlace::File(_) | DrawingPlace::Stdout => None,
            DrawingPlace::Directory(directory) => {
                let opened = directory.open(&self.settings(opened), overwrite, planned);
                Some(opened.map_err(|error| self.error(error))?)
            }
        };
        let complete = directory.as_ref().map_or_else(Complete::none, OpenDirectory::complete);
        Ok(OpenDrawing { drawing: self.clone(), directory, complete: Arc::new(complete) })
    }

    /// What all pictures of a directory have in common.
    fn settings(&self, opened: &Opened) -> Metadata {
        let mut settings = opened.metadata().clone();
        match self.kind {
            DrawingKind::Heatmap { query: None } => settings.insert("drawing", "norm"),
            DrawingKind::Heatmap { query: Some(query) } => {
                settings.insert("drawing", "cosine");
                settings.insert("query", query);
            }
            DrawingKind::Pca => settings.insert("drawing", "pca"),
        }
        settings
    }
}

/// A drawing of a run.
#[derive(Debug)]
pub(super) struct OpenDrawing {
    drawing: Drawing,
    directory: Option<OpenDirectory>,
    /// The pictures that were there when the run began.
    pub(super) complete: Arc<Complete>,
}

impl OpenDrawing {
    /// Draws the patches of an image; gives what may surprise of the picture. The inner error is this image's alone.
    pub(super) fn draw(
        &mut self,
        item: &Item,
        opened: &Opened,
        arrays: &[Array],
        picture: &Picture,
    ) -> Result<Result<Option<String>, String>, OutputError> {
        let (figure, warning) = match self.drawing.figure(opened, arrays, picture) {
            Ok(figure) => figure,
            Err(reason) => return Ok(Err(reason)),
        };
        let written = match (&mut self.directory, self.drawing.path()) {
            (Some(directory), _) => {
                directory.write(&item.name, &|_, writer| write_png(&figure, writer)).map(drop)
            }
            (None, Some(path)) => {
                OutputFile::create(path).and_then(|file| file.commit(|writer| write_png(&figure, writer)))
            }
            (None, None) => print_png(&figure),
        };
        match written {
            Err(error) if error.is_of_one_image() => Ok(Err(error.to_string())),
            written => written.map(|()| Ok(warning)),
        }
    }
}

impl Drawing {
    /// The picture, and what may surprise of it.
    fn figure(
        &self,
        opened: &Opened,
        arrays: &[Array],
        picture: &Picture,
    ) -> Result<(RgbImage, Option<String>), String> {
        let found = arrays.iter().zip(opened.parts()).find(|(_, part)| part.kind.has_tokens());
        let (Some((array, part)), Some(config), Some(rgb)) = (found, opened.config(), &picture.rgb) else {
            return Err("there are no patches to draw".into());
        };
        let subject = Subject {
            picture: rgb,
            size: (picture.width, picture.height),
            geometry: &picture.geometry,
            patch_size: config.patch_size,
        };
        let [rows, columns] = picture.geometry.grid(config.patch_size);
        // Of tiles the first is the picture. Whatever stands before the patches, or pads them, is left out.
        let padding = opened.padding(rows * columns) * config.hidden_size;
        let end = (array.values.len() / array.shape[0]).saturating_sub(padding);
        let first = end.checked_sub(rows * columns * config.hidden_size);
        let values = first.map(|first| &array.values[first..end]).filter(|values| !values.is_empty());
        let values = values.ok_or_else(|| format!("{rows} x {columns} patches cannot be drawn of it"))?;
        let patches = Patches { values, rows, columns };
        let tensor = part.name();
        let figure = match self.kind {
            DrawingKind::Heatmap { query: None } => {
                let meaning = format!("norm of each patch token, {tensor}");
                heatmap(subject, &Scores { values: patches.norms(), meaning, marked: None })
            }
            DrawingKind::Heatmap { query: Some(query) } => {
                let meaning = format!("cosine of each patch token to that of patch {query}, {tensor}");
                heatmap(subject, &Scores { values: patches.cosines(query)?, meaning, marked: Some(query) })
            }
            DrawingKind::Pca => {
                let components = principal_components(&patches);
                let is_grey = components.shares.iter().all(|&share| share == 0.0);
                let warning =
                    is_grey.then(|| "its patches do not differ, and are drawn grey (pca)".to_owned());
                return Ok((components.figure(subject, &tensor), warning));
            }
        };
        Ok((figure, None))
    }
}

fn print_png(figure: &RgbImage) -> Result<(), OutputError> {
    let mut stdout = io::stdout().lock();
    write_png(figure, &mut stdout).and_then(|()| stdout.flush()).map_err(OutputError::of_stdout)
}

fn write_png(figure: &RgbImage, writer: &mut dyn Write) -> io::Result<()> {
    // To memory first: the encoder's errors do not tell a full disk from a reader that has gone.
    let mut bytes = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Default, FilterType::Adaptive);
    let (width, height) = figure.dimensions();
    encoder.write_image(figure, width, height, ExtendedColorType::Rgb8).map_err(io::Error::other)?;
    writer.write_all(&bytes)
}
