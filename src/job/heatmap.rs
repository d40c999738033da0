//! The picture of an image's patches, as a file.

use std::{io, path::PathBuf};

use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};

use super::error::JobError;
use crate::{
    extractor::{Opened, Picture},
    heatmap::{Cell, Patches, draw},
    output::{Array, OutputFile},
};

/// A picture to draw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heatmap {
    /// The PNG file.
    pub path: PathBuf,
    /// The patch that the others are compared with; without one, norms are drawn.
    pub query: Option<Cell>,
}

impl Heatmap {
    /// Sees that it can be written and its query is a patch, as far as that does not depend on the image.
    pub(super) fn check(&self, opened: &Opened) -> Result<(), JobError> {
        drop(OutputFile::create(&self.path)?);
        match (self.query, opened.input_size(), opened.config()) {
            (Some(query), Some((height, width)), Some(config)) => {
                let patch = config.patch_size;
                query.check(height / patch, width / patch).map_err(JobError::Query)
            }
            _ => Ok(()),
        }
    }

    /// Draws the first token tensor over its picture.
    pub(super) fn draw(&self, opened: &Opened, arrays: &[Array], picture: &Picture) -> Result<(), JobError> {
        let found = arrays.iter().zip(opened.parts()).find(|(_, part)| part.kind.has_tokens());
        let (Some((array, _)), Some(config), Some(rgb)) = (found, opened.config(), &picture.rgb) else {
            return Ok(());
        };
        let [rows, columns] = picture.geometry.grid(config.patch_size);
        // Of tiles the first is the picture; whatever stands before the patches is left out.
        let patches = rows * columns * config.hidden_size;
        let end = array.values.len() / array.shape[0];
        let values = &array.values[end - patches..end];
        let patches = Patches { values, rows, columns };
        let scores = match self.query {
            None => patches.norms(),
            Some(query) => patches.cosines(query).map_err(JobError::Query)?,
        };
        let drawn = draw(rgb, &picture.geometry, config.patch_size, &scores, self.query);
        OutputFile::create(&self.path)?.commit(|writer| {
            let encoder = PngEncoder::new(writer);
            let (width, height) = drawn.dimensions();
            let written = encoder.write_image(&drawn, width, height, ExtendedColorType::Rgb8);
            written.map_err(io::Error::other)
        })?;
        Ok(())
    }
}
