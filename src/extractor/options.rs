//! What is asked of a model, and how pictures become its input.

use pillow_exact::DecodeOptions;

use super::{memory::shared_budget, request::Request};
use crate::{
    kernels::{MatmulPrecision, physical_cores},
    processor::{Backend, Fit, ImageSize},
};

/// The settings of an extractor.
#[derive(Clone, Debug)]
pub struct Options {
    /// The tensors, layers and tokens.
    pub request: Request,
    /// How pictures are decoded.
    pub decode: DecodeOptions,
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
    /// How exact the tower's products are.
    pub matmul_precision: MatmulPrecision,
    /// Threads to compute with; the numbers do not depend on it.
    pub threads: usize,
}

impl Default for Options {
    /// `last_hidden_state` as the reference gives it, on the physical cores.
    fn default() -> Self {
        Self {
            request: Request::default(),
            decode: DecodeOptions { budget: Some(shared_budget()), ..DecodeOptions::default() },
            fit: Fit::default(),
            image_size: None,
            max_num_patches: None,
            tiles: false,
            backend: None,
            matmul_precision: MatmulPrecision::default(),
            threads: physical_cores(),
        }
    }
}
