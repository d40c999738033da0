//! Tensors → bytes that the Python ecosystem opens, in files that are whole or absent.
//!
//! A [`Plan`] says where an output goes and what it is; [`Found`] is what is there already; a [`Sink`] takes images. `format` knows how
//! the bytes of a file are laid out, `layout` how many images lie in one file, `manifest` what is said of them, and the `engine` puts
//! entries into files, whatever their layout; `disk` alone changes files. What is promised: nothing is ever half a file under its final
//! name, and a run that was killed, or whose power was cut, goes on where it was. Nothing here knows what a tensor means or which model
//! made it.

mod array;
mod before;
mod collection;
mod contents;
mod defect;
mod destination;
mod disk;
mod engine;
mod error;
mod format;
mod found;
mod heads;
mod image;
mod layout;
mod manifest;
mod manifests;
mod metadata;
mod name;
mod one;
mod part;
mod plan;
mod planned;
mod settle;
mod shelf;
mod sink;
mod size;
mod stream;
mod sum;
mod terminal;

pub use array::Array;
pub(crate) use collection::Collection;
pub use contents::{Contents, TensorSpec};
pub use defect::Defect;
pub use destination::{Destination, Incoming};
pub(crate) use disk::{OutputFile, parent, place_of, whole_path};
pub use disk::{free_space, readable_size};
pub use error::{OutputError, Setting};
pub use format::{Dtype, Format};
pub(crate) use found::is_of_outputs;
pub use found::{Found, Standing};
pub(crate) use heads::Heading;
pub use image::{Content, Image};
pub(crate) use manifest::{Ending, Entry, EntryLine, Head, Home, Index, OnDisk, Place};
pub use manifest::{Failed, InputFacts, Sha256Bytes, TarRead};
pub use metadata::Metadata;
pub(crate) use name::is_inside;
pub use name::key;
pub(crate) use one::Nothing;
pub use part::Part;
pub use plan::Plan;
pub use planned::Planned;
pub(crate) use shelf::{Stands, manifests_of};
pub use sink::{Sink, Written};
pub use size::Upcoming;
