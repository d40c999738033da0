//! Pictures of images' patches.

use std::{fmt, io, str::FromStr};

use image::{
    ExtendedColorType, ImageEncoder, RgbImage,
    codecs::png::{CompressionType, FilterType, PngEncoder},
};

use crate::{
    extractor::{Opened, Picture},
    figure::{Cell, Patches, Scores, Subject, heatmap, principal_components},
    output::{Array, Metadata},
};

/// What can be drawn of an image's patches, of the first tensor that has some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drawing {
    /// The norm of each patch token, over the picture.
    Norm,
    /// The cosine of each patch token to this one.
    Cosine(Cell),
    /// The first three principal components of the patch tokens, as colours.
    Pca,
}

/// `norm`, `pca`, or a patch by its row and column.
impl FromStr for Drawing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "norm" => Ok(Self::Norm),
            "pca" => Ok(Self::Pca),
            cell => cell.parse().map(Self::Cosine).map_err(|_| {
                format!("{text:?} is nothing to draw, expected norm, pca, or a patch by its row and column, such as 3,5")
            }),
        }
    }
}

impl fmt::Display for Drawing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Norm => formatter.write_str("norm"),
            Self::Cosine(cell) => cell.fmt(formatter),
            Self::Pca => formatter.write_str("pca"),
        }
    }
}

impl Drawing {
    /// Sees that a patch is one, as far as that does not depend on the image.
    ///
    /// # Errors
    /// It is none, in words.
    pub(super) fn check(self, opened: &Opened) -> Result<(), String> {
        match (self, opened.input_size(), opened.config()) {
            (Self::Cosine(cell), Some((height, width)), Some(config)) => {
                cell.check(height / config.patch_size, width / config.patch_size)
            }
            _ => Ok(()),
        }
    }

    /// Adds what all pictures of an output have in common.
    pub(super) fn describe(self, settings: &mut Metadata) {
        settings.insert("drawing", self);
    }

    /// The picture as a PNG file, and what may surprise of it.
    ///
    /// # Errors
    /// It cannot be drawn of this image, in words.
    pub(super) fn draw(
        self,
        opened: &Opened,
        arrays: &[Array],
        picture: &Picture,
    ) -> Result<(Vec<u8>, Option<String>), String> {
        let (figure, warning) = self.figure(opened, arrays, picture)?;
        let bytes = png(&figure).map_err(|error| error.to_string())?;
        Ok((bytes, warning))
    }

    fn figure(
        self,
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
        let figure = match self {
            Self::Norm => {
                let meaning = format!("norm of each patch token, {tensor}");
                heatmap(subject, &Scores { values: patches.norms(), meaning, marked: None })
            }
            Self::Cosine(query) => {
                let meaning = format!("cosine of each patch token to that of patch {query}, {tensor}");
                heatmap(subject, &Scores { values: patches.cosines(query)?, meaning, marked: Some(query) })
            }
            Self::Pca => {
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

fn png(figure: &RgbImage) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Default, FilterType::Adaptive);
    let (width, height) = figure.dimensions();
    encoder.write_image(figure, width, height, ExtendedColorType::Rgb8).map_err(io::Error::other)?;
    Ok(bytes)
}
