//! Tar shards of samples, as WebDataset lays them out: read as a stream, written so that the same contents are the same bytes.
//!
//! A sample is a run of members whose names differ only after the first dot of the base name. Nothing is ever unpacked; what a
//! tar says of owners, links and devices is not acted on. Nothing here knows of tensors, or decodes a picture.

mod group;
mod names;
mod not_read;
mod reader;
mod sample;
mod unpacked;
mod writer;

pub(crate) use group::Found;
pub use group::Unusable;
pub(crate) use names::{has_image_extension, inner_path, is_shard, stem};
pub use not_read::NotRead;
pub use reader::End;
pub(crate) use reader::{is_tar, read};
pub use sample::{Kept, Sample, Selection};
pub(crate) use writer::{END, TarWriter, member_bytes, padded};
