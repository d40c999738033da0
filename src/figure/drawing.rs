//! Pictures of images' patches.

use std::{fmt, str::FromStr};

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use serde::{Deserialize, Serialize};

use super::{
    Subject,
    heatmap::{Scores, heatmap},
    patches::{Cell, Patches},
    principal::principal_components,
};

/// A picture of an image's patches.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, mut job, model) = given::job()?;
/// let maps = directory.path().join("maps");
/// job.options.request.draw = Some("pca:bare".parse()?);
/// job.output.path = Some(maps.clone());
/// # given::records(job, &model)?;
/// assert!(maps.join("cat.png").exists()); // once the job is run
/// assert!("sum".parse::<clip_features::Drawing>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drawing {
    /// What it shows.
    pub of: Drawn,
    /// Whether it stands alone, without margin, bar, caption and the frame of a patch.
    #[serde(default)]
    pub is_bare: bool,
}

/// What can be drawn of an image's patches, of the first tensor that has some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drawn {
    /// The norm of each patch token, over the picture.
    Norm,
    /// The cosine of each patch token to this one.
    Cosine(Cell),
    /// The first three principal components of the patch tokens, as colours.
    Pca,
}

const BARE: &str = ":bare";

/// `norm`, `pca`, or a patch by its row and column, each with `:bare` behind it or not.
impl FromStr for Drawing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bare = text.strip_suffix(BARE);
        let of = match bare.unwrap_or(text) {
            "norm" => Drawn::Norm,
            "pca" => Drawn::Pca,
            cell => cell.parse().map(Drawn::Cosine).map_err(|_| {
                format!(
                    "{text:?} is nothing to draw, expected norm, pca, or a patch by its row and column, such as 3,5, and after each \
                     {BARE} or nothing"
                )
            })?,
        };
        Ok(Self { of, is_bare: bare.is_some() })
    }
}

impl fmt::Display for Drawing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of {
            Drawn::Norm => formatter.write_str("norm"),
            Drawn::Cosine(cell) => cell.fmt(formatter),
            Drawn::Pca => formatter.write_str("pca"),
        }?;
        formatter.write_str(if self.is_bare { BARE } else { "" })
    }
}

impl Drawing {
    /// Sees that a patch is one, as far as that does not depend on the image.
    ///
    /// # Errors
    /// It is none, in words.
    #[doc(hidden)]
    pub fn check(self, rows: usize, columns: usize) -> Result<(), String> {
        match self.of {
            Drawn::Cosine(cell) => cell.check(rows, columns),
            Drawn::Norm | Drawn::Pca => Ok(()),
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
        let map =
            |values, meaning, marked| heatmap(subject, &Scores { values, meaning, marked }, self.is_bare);
        let (figure, warning) = match self.of {
            Drawn::Norm => (map(patches.norms(), format!("norm of each patch token, {tensor}"), None), None),
            Drawn::Cosine(query) => {
                let meaning = format!("cosine of each patch token to that of patch {query}, {tensor}");
                (map(patches.cosines(query)?, meaning, Some(query)), None)
            }
            Drawn::Pca => {
                let components = principal_components(patches);
                let is_grey = components.shares.iter().all(|&share| share == 0.0);
                let warning =
                    is_grey.then(|| "its patches do not differ, and are drawn grey (pca)".to_owned());
                (components.figure(subject, tensor, self.is_bare), warning)
            }
        };
        let mut png = Vec::new();
        let encoder = PngEncoder::new_with_quality(&mut png, CompressionType::Default, FilterType::Adaptive);
        figure.write_with_encoder(encoder).map_err(|error| error.to_string())?;
        Ok((png, warning))
    }
}
