//! What was written, read back: manifest → keys → arrays, mapped. The other half of `output`.
//!
//! ```no_run
//! let features = clip_features::features::open("features/")?;
//! for key in features.keys() {
//!     println!("{key}");
//! }
//! let tokens = features.get("holiday/cat.jpg")?;
//! assert_eq!(tokens.shape(), [257, 1024]);
//! # Ok::<(), clip_features::features::FeaturesError>(())
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
