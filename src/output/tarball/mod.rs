//! Samples of features in a tar: what the kinds of destination that write one share.

mod growing;
mod sample;

pub(super) use growing::{Growing, begun, is_ours, is_there, made_here, partial, seen};
pub(super) use sample::{image_bytes, key, write};
