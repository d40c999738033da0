//! Samples of features in a tar: what the kinds of destination that write one share.

mod growing;
mod sample;

pub(super) use growing::{Growing, begun, exists, made_here};
pub(super) use sample::{image_bytes, key, write};
