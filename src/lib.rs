//! Every vision token of a CLIP tower: images in, `last_hidden_state` out, with the reference's numbers.
//!
//! The reference is transformers' `CLIPVisionModel` behind `CLIPImageProcessorPil`, and its classes of the same kind for
//! SigLIP and DINOv2. A [`Request`] says which tensors, layers and tokens are wanted. Data flows one way:
//! [`input`] → [`image`] → [`processor`] → [`model`] → [`output`]; [`pipeline`] runs them
//! over many images, and [`Extractor`] is the whole way for one. [`hub`] finds a model's files by its name.

pub mod extractor;
pub mod heatmap;
pub mod hub;
pub mod image;
pub mod input;
pub mod kernels;
pub mod model;
pub mod output;
pub mod pipeline;
pub mod processor;
pub mod request;

pub use extractor::Extractor;
pub use request::{Request, Tokens};
