//! What an output says of itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::OutputError;

/// What follows from the model; the first three tell which it is, the first two where it was found.
const OF_THE_MODEL: [&str; 9] = [
    "model",
    "revision",
    "weights",
    "family",
    "config",
    "processor",
    "class_tokens",
    "register_tokens",
    "norm",
];

/// The bytes of a value that is shown.
const LONGEST_VALUE: usize = 60;

/// Sorted key–value pairs, for the `__metadata__` of a safetensors file.
///
/// ```
/// use clip_features::{Fit, ModelSpec, Opened, Options};
///
/// let model = ModelSpec::Random { seed: 0, directory: None };
/// let mut options = Options::default();
/// let usual = Opened::open(&model, options.clone())?;
/// options.fit = Fit::Squash;
/// let squashed = Opened::open(&model, options)?;
/// assert_eq!(squashed.metadata().get("fit"), Some("squash"));
/// assert!(!squashed.metadata().differences(usual.metadata()).is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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

    /// What is not the same, as what follows "made": `by another model: A, not B`, or `with KEY A, not B` each, where A is the value here
    /// and B the `other`. Where the same weights were found does not count: a checkpoint has many paths, and may be moved. Nor does what a
    /// machine computed with, which keeps to the precision that was asked for: the machines of a cluster differ. What follows from another
    /// model is not listed beside it, nor are values that nobody types and that take many lines.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let differs = |key: &&str| self.get(key) != other.get(key);
        let same_weights = self.get("weights").is_some() && !differs(&"weights");
        let other_model = (!same_weights && OF_THE_MODEL[..3].iter().any(differs)).then(|| {
            let [here, there] = [self, other].map(|one| one.get("model").unwrap_or("none"));
            match here == there {
                true => format!("by another version of {here}"),
                false => format!("by another model: {here}, not {there}"),
            }
        });
        let of_the_model = |key: &&str| match other_model {
            Some(_) => OF_THE_MODEL.contains(key),
            None => same_weights && OF_THE_MODEL[..2].contains(key),
        };
        let keys: BTreeSet<&str> = self.0.keys().chain(other.0.keys()).map(String::as_str).collect();
        let keys = keys.into_iter().filter(|key| *key != "compute" && differs(key) && !of_the_model(key));
        let each = keys.map(|key| match (self.get(key), other.get(key)) {
            (Some(here), Some(there)) if here.len().max(there.len()) > LONGEST_VALUE => {
                format!("with another {key}")
            }
            (Some(here), Some(there)) => format!("with {key} {here}, not {there}"),
            (Some(here), None) => format!("with {key} {here}, not without"),
            (None, there) => format!("without {key}, not with {}", there.unwrap_or_default()),
        });
        other_model.iter().cloned().chain(each).collect()
    }

    /// Refuses to add outputs of `settings` to what has these at `path`.
    pub(super) fn check(&self, settings: &Self, path: &Path) -> Result<(), OutputError> {
        match self.differences(settings) {
            differences if differences.is_empty() => Ok(()),
            differences => Err(OutputError::Taken {
                path: path.to_owned(),
                reason: format!("made {}", differences.join("; ")),
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
        a.insert("processor", "x".repeat(LONGEST_VALUE + 1));
        b.insert("processor", "y");
        b.insert("tiles", true);
        let expected = ["with dtype f32, not f16", "with another processor", "without tiles, not with true"];
        assert_eq!(a.differences(&b), expected);
        assert_eq!(b.differences(&a)[2], "with tiles true, not without");
    }

    #[test]
    fn another_model_is_named_and_what_follows_from_it_is_not() {
        let (mut a, mut b) = (Metadata::new(), Metadata::new());
        for (one, model, weights) in [(&mut a, "org/a", "1f"), (&mut b, "org/b", "2f")] {
            one.insert("model", model);
            one.insert("weights", weights);
            one.insert("family", weights);
            one.insert("config", weights);
        }
        b.insert("dtype", "f16");
        let expected = ["by another model: org/a, not org/b", "without dtype, not with f16"];
        assert_eq!(a.differences(&b), expected);
        b.insert("model", "org/a");
        assert_eq!(a.differences(&b)[0], "by another version of org/a");
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
        assert_eq!(a.differences(&b), ["by another model: l14, not /models/l14"]);
        b.insert("weights", "1f");
        b.insert("revision", "a commit of the hub");
        assert!(a.differences(&b).is_empty());
    }
}
