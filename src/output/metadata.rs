//! What an output says of itself.

use std::collections::BTreeMap;

use serde::Serialize;

/// Sorted key–value pairs, for the `__metadata__` of a safetensors file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Metadata(BTreeMap<String, String>);

impl Metadata {
    /// Nothing but the tool and its version.
    pub fn new() -> Self {
        let mut metadata = Self::default();
        metadata.insert("tool", env!("CARGO_PKG_NAME"));
        metadata.insert("tool_version", env!("CARGO_PKG_VERSION"));
        metadata
    }

    /// Adds a pair, or replaces the value of its key.
    pub fn insert(&mut self, key: &str, value: impl ToString) {
        self.0.insert(key.to_owned(), value.to_string());
    }
}
