//! Every vision token of a CLIP tower: images in, `last_hidden_state` out, with the reference's numbers.
//!
//! The reference is transformers' `CLIPVisionModel` behind `CLIPImageProcessorPil`, and its classes of the same kind for
//! SigLIP and DINOv2. [`Extractor`] is the whole way for one image or a batch in memory; a [`job::Job`] is the way of many
//! images into one destination. Dependencies point one way: each module below knows only those after it.

// Without them some of what they share has no other user.
#![cfg_attr(not(feature = "hub"), allow(dead_code, unused_imports))]

#[cfg(feature = "cli")]
pub mod cli;

pub mod job;

pub mod features;

pub mod extractor;

pub mod figure;

#[cfg(feature = "hub")]
pub mod hub;

pub mod input;

pub mod output;

pub mod shard;

pub mod model;

pub mod processor;

pub mod kernels;

mod bounded;
mod json;
mod read_at;

pub use extractor::{Extractor, Request, Tokens};
/// Bytes to pixels, and pixels to another size, as Pillow has them: its types are part of the interface here.
pub use pillow_exact;
