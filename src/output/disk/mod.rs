//! How a file becomes whole or stays absent, whatever happens in between: renames, locks, and journals whose last line may be
//! torn.

pub(super) mod journal;
mod space;
mod whole;

pub use space::{free_space, readable_size};
pub use whole::OutputFile;
pub(super) use whole::{hidden_sibling, parent, sync_directory};
