//! The names that reach URLs and paths, checked once.

use std::{fmt, str::FromStr};

use super::HubError;

/// A model's name on the hub: `ORG/NAME`.
///
/// ```
/// use clip_features::hub::ModelId;
///
/// let model: ModelId = "openai/clip-vit-large-patch14".parse()?;
/// assert_eq!(model.as_str(), "openai/clip-vit-large-patch14");
/// assert!("../clip-vit-large-patch14".parse::<ModelId>().is_err()); // a path is none
/// # Ok::<(), clip_features::hub::HubError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelId(String);

impl ModelId {
    /// The name as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ModelId {
    type Err = HubError;

    /// Applies huggingface_hub's rules for a repository's name: two parts of at most 96 of `[A-Za-z0-9._-]`, that
    /// neither begin nor end with `-` or `.`, without `--`, `..` and a final `.git`. The hub's old names without an
    /// organisation are not taken, since a mistyped directory looks like one.
    fn from_str(id: &str) -> Result<Self, HubError> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_part = |part: &str| {
            (1..=96).contains(&part.len())
                && part.chars().all(|c| is_word(c) || c == '-' || c == '.')
                && part.starts_with(is_word)
                && part.ends_with(is_word)
        };
        let is_valid = id.split_once('/').is_some_and(|(org, name)| is_part(org) && is_part(name))
            && !id.contains("--")
            && !id.contains("..")
            && !id.ends_with(".git");
        if is_valid { Ok(Self(id.to_owned())) } else { Err(HubError::InvalidId { id: id.to_owned() }) }
    }
}

/// A branch, a tag, or a full commit hash.
///
/// ```
/// use clip_features::hub::Revision;
///
/// assert_eq!(Revision::default().as_str(), "main");
/// assert!("32bd64288804d66eefd0ccbe215aa642df71cc41".parse::<Revision>()?.is_commit());
/// assert!(!"refs/pr/1".parse::<Revision>()?.is_commit());
/// # Ok::<(), clip_features::hub::HubError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision(String);

impl Revision {
    /// The name as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is a full commit hash, which names a snapshot directly. As in huggingface_hub, a shortened hash
    /// is a name like any other, which the hub is asked for.
    pub fn is_commit(&self) -> bool {
        self.0.len() == 40 && self.0.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }
}

impl Default for Revision {
    /// The branch `main`.
    fn default() -> Self {
        Self("main".to_owned())
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Revision {
    type Err = HubError;

    /// A revision becomes a path below `refs`, so it must stay there: `refs/pr/1` may, `../x` may not.
    fn from_str(revision: &str) -> Result<Self, HubError> {
        if revision.split('/').all(is_file_name) {
            Ok(Self(revision.to_owned()))
        } else {
            Err(HubError::InvalidRevision { revision: revision.to_owned() })
        }
    }
}

/// Whether a name can be a file's name on every system: one part of a path, nothing that leads elsewhere.
///
/// What a server sends (commit, ETag, shard names) becomes a path only after this.
pub(super) fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 200
        && name != "."
        && name != ".."
        && !name
            .chars()
            .any(|c| c.is_control() || matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_taken_is_written_as_it_was_read(text in r"[a-z0-9._/-]{1,20}|.{0,20}") {
            if let Ok(id) = text.parse::<ModelId>() {
                prop_assert_eq!(id.to_string(), text.clone());
            }
            if let Ok(revision) = text.parse::<Revision>() {
                prop_assert_eq!(revision.to_string(), text);
            }
        }
    }

    #[test]
    fn ids_follow_the_hubs_rules() {
        for id in ["openai/clip-vit-large-patch14", "a/b", "A_1/x.y-z", "_a/b_"] {
            assert_eq!(id.parse::<ModelId>().unwrap().as_str(), id);
        }
        let long = format!("a/{}", "b".repeat(97));
        for id in [
            "", "gpt2", "a/b/c", "/a", "a/", "-a/b", "a./b", "a/b.", "a/b--c", "a/..", "a/b.git", "a b/c",
            "é/a", &long,
        ] {
            assert!(id.parse::<ModelId>().is_err(), "{id}");
        }
    }

    #[test]
    fn revisions_stay_below_refs() {
        for revision in ["main", "v1.0", "refs/pr/1", "feature/x"] {
            assert!(revision.parse::<Revision>().is_ok(), "{revision}");
        }
        for revision in ["", "/main", "a//b", "..", "a/../b", "a\\b", "C:", "a\nb"] {
            assert!(revision.parse::<Revision>().is_err(), "{revision:?}");
        }
    }

    #[test]
    fn only_a_full_lowercase_hash_is_a_commit() {
        let is_commit = |revision: &str| revision.parse::<Revision>().unwrap().is_commit();
        assert!(is_commit(&"0af9".repeat(10)));
        assert!(!is_commit(&"0AF9".repeat(10)));
        assert!(!is_commit("0af9") && !is_commit("main"));
    }
}
