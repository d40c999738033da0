//! Every vision token of a CLIP tower: images in, `last_hidden_state` out, with the reference's numbers.
//!
//! The reference is transformers' `CLIPVisionModel` behind `CLIPImageProcessorPil`, and its classes of the same kind for
//! SigLIP and DINOv2. [`Extractor`] is the whole way for one image or a batch in memory; a [`job::Job`] is the way of many
//! images into one destination, and [`features`] reads back what was written.
//!
//! ```
//! # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
//! # let (directory, model) = given::model()?;
//! # let photo = directory.path().join("photo.ppm");
//! # std::fs::write(&photo, b"P6 1 1 255\n\xff\x80\x00")?;
//! use clip_features::{Extractor, Options, TensorKind};
//!
//! let mut options = Options::default();
//! options.request.tensors = vec![TensorKind::LastHiddenState, TensorKind::PoolerOutput];
//! let extractor = Extractor::load(&model, options)?; // such as ModelSpec::Local("clip-vit-large-patch14".into())
//! let features = extractor.extract(&std::fs::read(photo)?)?;
//! assert_eq!(features[0].shape, [1, 5, 48]); // here a small tower; of ViT-L/14 [1, 257, 1024]
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The feature `hub` finds models by their names on the Hugging Face Hub, and `cli` is the command; both are on unless
//! `default-features = false`, and a checkpoint on disk needs neither.
//!
//! What is not shown here is for the command, the tests and the Python module, and may change with any version.

// Dependencies point one way: each module below knows only those after it.

// Without them some of what they share has no other user.
#![cfg_attr(not(feature = "hub"), allow(dead_code, unused_imports))]

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;

pub mod job;

pub mod features;

#[doc(hidden)]
pub mod extractor;

#[doc(hidden)]
pub mod figure;

#[cfg(feature = "hub")]
pub mod hub;

#[doc(hidden)]
pub mod input;

#[doc(hidden)]
pub mod output;

#[doc(hidden)]
pub mod shard;

#[doc(hidden)]
pub mod model;

#[doc(hidden)]
pub mod processor;

#[doc(hidden)]
pub mod device;

#[doc(hidden)]
pub mod kernels;

mod bounded;
mod json;
mod read_at;

/// Under the tower: an error of its own is one of [`ModelError`]'s.
pub use candle_core;
pub use extractor::{
    ExtractError, Extractor, Layers, Opened, Options, Picture, Preprocessed, Request, TensorKind, Tokens,
};
pub use figure::Drawing;
/// The type of decoded pictures is of this version.
pub use image;
pub use input::{InputError, Inputs, List, Separator};
pub use kernels::MatmulPrecision;
pub use model::{ModelError, ModelSpec};
pub use output::{Array, Destination, Dtype, Format, InputFacts, Metadata, OutputError, Part, TensorSpec};
/// Bytes to pixels, and pixels to another size, as Pillow has them: its types are part of the interface here.
pub use pillow_exact;
pub use processor::{Backend, Fit, ImageSize, PixelValues, ProcessError};
pub use shard::Selection;
