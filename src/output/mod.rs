//! Tensors → bytes that the Python ecosystem opens, in files that are whole or absent.
//!
//! Three rooms: `format` knows how bytes are laid out, `disk` how a file becomes whole or stays absent, and `kinds` has one
//! file for each [`Destination`]. `parts` is what the two kinds that put many images into one file share, `tarball` what those share that write tars of samples. What is promised:
//! nothing is ever half a file under its final name, and a run that was killed goes on where it was. Nothing here knows what a
//! tensor means or which model made it.

mod array;
mod contents;
mod destination;
mod disk;
mod error;
mod format;
mod kinds;
mod manifest;
mod metadata;
mod name;
mod part;
mod parts;
mod tarball;
mod terminal;

pub use array::Array;
pub use contents::{Contents, TensorSpec};
pub use destination::{Complete, Described, Destination, Left, Sink};
pub use disk::{OutputFile, free_space, readable_size};
pub(crate) use disk::{place_of, whole_path};
use error::check_shard_size;
pub use error::{OutputError, Setting};
pub use format::{Dtype, Format};
pub(crate) use kinds::Catalogue;
pub use kinds::{Asked, Directory, OpenDirectory, choose};
pub use metadata::Metadata;
pub use name::key;
pub use part::Part;
pub(crate) use terminal::is_terminal;
