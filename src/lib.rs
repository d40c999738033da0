//! Every vision token of a CLIP tower: images in, `last_hidden_state` out, with the reference's numbers.

pub mod hub;
