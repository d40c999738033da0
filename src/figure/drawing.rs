//! Pictures of images' patches.

use std::{fmt, io, str::FromStr};

use image::{
    ExtendedColorType, ImageEncoder, RgbImage,
    codecs::png::{CompressionType, FilterType, PngEncoder},
};

use serde::{Deserialize, Serialize};

use super::{
    Subject,
    heatmap::{Scores, heatmap},
    patches::{Cell, Patches},
    principal::principal_components,
};

/// What can be drawn of an image's patches, of the first tensor that has some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    #[doc(hidden)]
    pub fn check(self, rows: usize, columns: usize) -> Result<(), String> {
        match self {
            Self::Cosine(cell) => cell.check(rows, columns),
            Self::Norm | Self::Pca => Ok(()),
        }
    }

    /// Draws the patch tokens of `tensor` as a PNG file, and says what may surprise of it.
    ///
    /// # Errors
    /// It cannot be drawn of this image, in words.
    #[doc(hidden)]
    pub fn draw(
        self,
        subject: Subject<'_>,
        patches: &Patches<'_>,
        tensor: &str,
    ) -> Result<(Vec<u8>, Option<String>), String> {
        let (figure, warning) = match self {
            Self::Norm => {
                let meaning = format!("norm of each patch token, {tensor}");
                let scores = Scores { values: patches.norms(), meaning, marked: None };
                (heatmap(subject, &scores), None)
            }
            Self::Cosine(query) => {
                let meaning = format!("cosine of each patch token to that of patch {query}, {tensor}");
                let scores = Scores { values: patches.cosines(query)?, meaning, marked: Some(query) };
                (heatmap(subject, &scores), None)
            }
            Self::Pca => {
                let components = principal_components(patches);
                let is_grey = components.shares.iter().all(|&share| share == 0.0);
                let warning =
                    is_grey.then(|| "its patches do not differ, and are drawn grey (pca)".to_owned());
                (components.figure(subject, tensor), warning)
            }
        };
        Ok((png(&figure).map_err(|error| error.to_string())?, warning))
    }
}

fn png(figure: &RgbImage) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Default, FilterType::Adaptive);
    let (width, height) = figure.dimensions();
    encoder.write_image(figure, width, height, ExtendedColorType::Rgb8).map_err(io::Error::other)?;
    Ok(bytes)
}
