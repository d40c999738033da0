//! What an output says of itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::OutputError;

/// Sorted key–value pairs, for the `__metadata__` of a safetensors file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// All pairs, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Of these, the pairs whose keys `other` has.
    pub(super) fn of(&self, other: &Self) -> Self {
        let pairs = self.0.iter().filter(|(key, _)| other.0.contains_key(*key));
        Self(pairs.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    /// The same, without a key.
    pub fn without(mut self, key: &str) -> Self {
        self.0.remove(key);
        self
    }

    /// These and those of `other`, which win.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        let mut both = self.clone();
        both.0.extend(other.0.iter().map(|(key, value)| (key.clone(), value.clone())));
        both
    }

    /// What is not the same, one `key is A, not B` each, where A is the value here and B the `other`. Where the same
    /// weights were found does not count: a checkpoint has many paths, and may be moved. Nor does what a machine computed with,
    /// which keeps to the precision that was asked for: the machines of a cluster differ.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let keys: BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        let show = |value: Option<&str>| value.map_or("absent".to_owned(), |value| format!("{value:?}"));
        let same_weights = self.get("weights").is_some() && self.get("weights") == other.get("weights");
        keys.into_iter()
            .filter(|key| key.as_str() != "compute")
            .filter(|key| !(same_weights && ["model", "revision"].contains(&key.as_str())))
            .map(|key| (key, self.get(key), other.get(key)))
            .filter(|(_, here, there)| here != there)
            .map(|(key, here, there)| format!("{key} is {}, not {}", show(here), show(there)))
            .collect()
    }

    /// Refuses to add outputs of `settings` to what has these at `path`; `what` says what is there.
    pub(super) fn check(&self, settings: &Self, path: &Path, what: &str) -> Result<(), OutputError> {
        match self.differences(settings) {
            differences if differences.is_empty() => Ok(()),
            differences => Err(OutputError::Taken {
                path: path.to_owned(),
                reason: format!("{what}: {}", differences.join(", ")),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named_with_both_values() {
        let (mut a, mut b) = (Metadata::new(), Metadata::new());
        assert!(a.differences(&b).is_empty());
        a.insert("dtype", "f32");
        b.insert("dtype", "f16");
        b.insert("revision", "main");
        assert_eq!(a.differences(&b), [r#"dtype is "f32", not "f16""#, r#"revision is absent, not "main""#]);
    }

    #[test]
    fn machines_may_differ_and_precisions_may_not() {
        let (mut a, mut b) = (Metadata::new(), Metadata::new());
        a.insert("compute", "avx2");
        b.insert("compute", "amx-bf16x3");
        assert!(a.differences(&b).is_empty());
        a.insert("matmul_precision", "highest");
        b.insert("matmul_precision", "medium");
        assert_eq!(a.differences(&b).len(), 1);
    }

    #[test]
    fn the_same_weights_in_another_place_are_the_same() {
        let (mut a, mut b) = (Metadata::new(), Metadata::new());
        a.insert("model", "l14");
        b.insert("model", "/models/l14");
        assert_eq!(a.differences(&b).len(), 1, "unknown weights");
        a.insert("weights", "1f");
        b.insert("weights", "2f");
        assert_eq!(a.differences(&b).len(), 2);
        b.insert("weights", "1f");
        b.insert("revision", "a commit of the hub");
        assert!(a.differences(&b).is_empty());
    }
}
