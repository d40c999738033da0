//! What was written, read back: manifest → keys → arrays, mapped. The other half of `output`.
//!
//! ```
//! # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
//! # let (directory, path) = given::written()?;
//! let features = clip_features::features::open(path)?;
//! for key in features.keys() {
//!     assert_eq!(features.get(key)?.shape(), [5, 48]); // of ViT-L/14 [257, 1024]
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod collection;
mod error;
mod files;
mod followed;
mod locate;
mod open;
mod record;
mod runs;
mod settle;
mod tensor;
mod verify;

#[doc(hidden)]
pub use collection::At;
pub use collection::Features;
pub use error::FeaturesError;
pub use open::{Opening, open};
pub use record::Record;
#[doc(hidden)]
pub use runs::Run;
pub use tensor::Tensor;
pub use verify::{Difference, Verified};
