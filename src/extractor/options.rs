//! What is asked of a model, and how pictures become its input.

use std::num::NonZero;

use pillow_exact::{Alpha, DecodeOptions, ExifOrientation};
use serde::{Deserialize, Serialize};

use super::{memory::shared_budget, request::Request};
use crate::{
    device::{DeviceChoice, DeviceError, Kernels, Road, Taken},
    kernels::{MatmulPrecision, physical_cores},
    processor::{Backend, Fit, ImageSize},
};

/// The settings of an extractor.
///
/// ```
/// use clip_features::{ImageSize, ModelSpec, Opened, Options, Tokens};
///
/// let mut options = Options::default();
/// options.image_size = Some(ImageSize::Edge(336));
/// options.request.tokens = Tokens::Patch;
/// let opened = Opened::open(&ModelSpec::Random { seed: 0, directory: None }, options)?;
/// assert_eq!(opened.tensors()[0].shape, Some(vec![1, 24 * 24, 1024]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Options {
    /// The tensors, layers and tokens.
    pub request: Request,
    /// What becomes of transparency.
    #[serde(with = "AlphaName")]
    pub alpha: Alpha,
    /// What becomes of an orientation that EXIF gives.
    #[serde(with = "ExifOrientationName")]
    pub exif_orientation: ExifOrientation,
    /// Pictures of more pixels are refused.
    pub max_pixels: u64,
    /// How a picture comes into the shape of the tower's input.
    pub fit: Fit,
    /// Size of the tower's input in pixels, where it is not the model's own.
    pub image_size: Option<ImageSize>,
    /// The most patches that a picture is cut into, where it is not the model's own number.
    pub max_num_patches: Option<u32>,
    /// Whether a picture is given as its whole and the tiles that the processor cuts beside it.
    pub tiles: bool,
    /// Whose image processor is followed; none for Pillow's, or torchvision's where the family has no other.
    pub backend: Option<Backend>,
    /// Where the tower is computed.
    pub device: DeviceChoice,
    /// Whose operations it is made of; none for ours on a CPU, and candle's on a GPU.
    pub kernels: Option<Kernels>,
    /// How exact the tower's products are.
    pub matmul_precision: MatmulPrecision,
    /// Threads to compute with; the numbers do not depend on it.
    pub threads: NonZero<usize>,
    /// The most images that the tower takes at once; none for a number that suits what computes. With our kernels the numbers do not
    /// depend on it; candle's may in their last digits, so that there every batch has this size.
    pub batch: Option<NonZero<usize>>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Alpha", rename_all = "snake_case")]
enum AlphaName {
    White,
    Drop,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ExifOrientation", rename_all = "snake_case")]
enum ExifOrientationName {
    Ignore,
    Apply,
}

impl Options {
    /// How pictures are decoded: all of the process share one budget of memory.
    pub(super) fn decode(&self) -> DecodeOptions {
        DecodeOptions {
            alpha: self.alpha,
            exif_orientation: self.exif_orientation,
            max_pixels: self.max_pixels,
            budget: Some(shared_budget()),
        }
    }
}

impl Default for Options {
    /// `last_hidden_state` as the reference gives it, on the physical cores.
    fn default() -> Self {
        let DecodeOptions { alpha, exif_orientation, max_pixels, .. } = DecodeOptions::default();
        Self {
            request: Request::default(),
            alpha,
            exif_orientation,
            max_pixels,
            fit: Fit::default(),
            image_size: None,
            max_num_patches: None,
            tiles: false,
            backend: None,
            device: DeviceChoice::default(),
            kernels: None,
            matmul_precision: MatmulPrecision::default(),
            threads: physical_cores(),
            batch: None,
        }
    }
}

impl Options {
    /// Chooses what the tower is computed with, of what this build and this machine have.
    ///
    /// # Errors
    /// What is asked for is not there.
    pub fn choose_road(&self) -> Result<Taken, DeviceError> {
        Road::choose(self.device, self.kernels, self.matmul_precision)
    }
}
