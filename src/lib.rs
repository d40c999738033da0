//! Every vision token of a CLIP tower: images in, `last_hidden_state` out, with the reference's numbers.
//!
//! The reference is transformers' `CLIPVisionModel` behind `CLIPImageProcessorPil`. Data flows one way:
//! [`input`] → [`image`] → [`processor`] → [`model`] → [`output`]; [`pipeline`] runs them
//! over many images, and [`Extractor`] is the whole way for one. [`hub`] finds a model's files by its name.

pub mod extractor;
pub mod hub;
pub mod image;
pub mod input;
pub mod kernels;
pub mod model;
pub mod output;
pub mod pipeline;
pub mod processor;

pub use extractor::{Extractor, Tokens};
