//! What is written, in one append-only file of checked lines: the journal while a run goes on, the index afterwards.
//!
//! `manifest.jsonl` in a directory, `x.manifest.jsonl` beside `x.npy` and its like; each part of a split job has its own. A line is a
//! JSON object that ends in the CRC-32 of what stands before it. A line that was cut off or garbled, and all after it, has not happened.

mod index;
mod line;
mod pieces;
mod read;
mod shared_file;
mod state;
mod write;

pub(crate) use index::{EntryLine, Home, Index};
pub(super) use line::{End, Line};
pub(crate) use line::{Entry, Head, Place};
pub use line::{Failed, InputFacts, Sha256Bytes, TarRead};
pub(crate) use pieces::Ending;
pub(super) use read::{head_at, is_manifest};
pub(crate) use shared_file::OnDisk;
pub(super) use state::{FileState, Held, In, State, Stored};
pub(super) use write::Manifest;
