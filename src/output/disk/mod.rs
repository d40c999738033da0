//! How a file becomes whole or stays absent, whatever happens in between: renames, locks, and journals whose last line may be
//! torn.

mod directories;
pub(super) mod journal;
mod own;
mod probe;
mod space;
mod whole;

pub(super) use directories::make_directories;
pub(super) use own::{make_own_directory, open_locked, open_own};
pub(super) use probe::{probe_sibling, probe_tree};
pub use space::{free_space, readable_size};
pub use whole::OutputFile;
pub(super) use whole::{check_way, end_of_links, hidden_sibling, parent, sync_directory};
pub(crate) use whole::{place_of, whole_path};
