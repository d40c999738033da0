//! Why a processor's config cannot be used.

use serde_json::Value;
use thiserror::Error;

use crate::bounded::excerpt;

/// Why a `preprocessor_config.json` cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The text is not JSON, or not a JSON object.
    #[error("{0}")]
    Json(String),
    /// The config belongs to another model's processor.
    #[error(
        "{field} is {found}, expected the image processor of CLIP, SigLIP, SigLIP 2, DINOv2 (Bit), DINOv3, LLaVA, Gemma 3 or Aya Vision (GotOcr2)"
    )]
    OtherProcessor {
        /// The field that says so.
        field: &'static str,
        /// The processor it names.
        found: String,
    },
    /// A field holds a value that is wrong or unsupported.
    #[error("{field} is {found}, but must be {expected}")]
    Field {
        /// The field's name.
        field: String,
        /// The JSON value found.
        found: String,
        /// What would be accepted.
        expected: String,
    },
}

pub(super) fn wrong(field: &str, value: &Value, expected: &str) -> ConfigError {
    let (field, found) = (field.to_owned(), excerpt(&value.to_string()));
    ConfigError::Field { field, found, expected: expected.to_owned() }
}
