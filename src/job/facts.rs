//! What is said of a picture and of the way that it took, in reports, manifests and outputs alike.

use serde::Serialize;

use crate::{
    extractor::{Opened, Picture},
    output::Metadata,
};

/// What is said of a picture.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, job, model) = given::job()?;
/// # let record = given::records(job, &model)?.remove(1);
/// let picture = record.features.ok_or("it failed")?.picture; // of 2 × 1 pixels
/// assert_eq!(picture.grid, Some([2, 2]));
/// assert_eq!(picture.crop_box, [0.5, 0.0, 1.5, 1.0]); // the middle
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize)]
pub struct PictureFacts {
    /// Rows and columns of the patches, of tensors that the tower gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grid: Option<[usize; 2]>,
    /// Rows and columns of the patches, of an image processor that gives patches, as it calls them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spatial_shapes: Option<[usize; 2]>,
    /// Left, top, right and bottom of the picture's part that the patches show, in its pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grid_box: Option<[f64; 4]>,
    /// The same of the part that the processor took; beyond the picture where it padded.
    pub crop_box: [f64; 4],
    /// Height and width of the picture, as its processor gives them beside tiles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_sizes: Option<[[u32; 2]; 1]>,
    /// The picture.
    pub image: ImageFacts,
}

/// The picture as it was decoded.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, job, model) = given::job()?;
/// # let record = given::records(job, &model)?.remove(1);
/// let image = record.features.ok_or("it failed")?.picture.image;
/// assert_eq!((image.format.as_str(), image.width, image.height), ("pnm", 2, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize)]
pub struct ImageFacts {
    /// The format of its bytes, `jpeg` and so on.
    pub format: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

impl PictureFacts {
    /// Of a picture that was read.
    pub(super) fn of(opened: &Opened, picture: &Picture) -> Self {
        let (geometry, tower) = (&picture.geometry, opened.config());
        Self {
            grid: tower.map(|tower| geometry.grid(tower.patch_size)),
            spatial_shapes: opened.patches().map(|patches| geometry.grid(patches.patch_size)),
            grid_box: tower.map(|tower| geometry.grid_box(tower.patch_size).edges()),
            crop_box: geometry.crop_box().edges(),
            image_sizes: opened.options().tiles.then_some([[picture.height, picture.width]]),
            image: ImageFacts {
                format: picture.format.name().to_ascii_lowercase(),
                width: picture.width,
                height: picture.height,
            },
        }
    }

    /// One JSON object.
    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).expect("facts have only string keys")
    }

    /// What an output of one image says of it.
    pub(super) fn metadata(&self) -> Metadata {
        let mut image = Metadata::default();
        let list = |numbers: [f64; 4]| format!("{numbers:?}");
        image.insert("crop_box", list(self.crop_box));
        if let Some(grid) = self.grid {
            image.insert("grid", format!("{grid:?}"));
        }
        if let Some(grid_box) = self.grid_box {
            image.insert("grid_box", list(grid_box));
        }
        if let Some(sizes) = self.image_sizes {
            image.insert("image_sizes", format!("{sizes:?}"));
        }
        if let Some(shapes) = self.spatial_shapes {
            image.insert("spatial_shapes", format!("{shapes:?}"));
        }
        image
    }
}
