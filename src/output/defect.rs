//! What is wrong with an image's own bytes.

use serde::{Deserialize, Serialize};

/// Why an image fails as long as its bytes are as they are, whatever else is mended. A disk that could not be read, or memory that was not
/// there, is no such thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Defect {
    /// They are no picture.
    NoImage,
    /// They end too early, or break the rules of their format.
    Damaged,
    /// There are more of them, or of the picture's pixels, than are taken.
    TooLarge,
    /// They are of a format, or use a feature of one, that is not read.
    NotSupported,
}
