//! What can go wrong between a model's name and its files.

use std::{io, path::PathBuf};

use thiserror::Error;

use super::{ModelId, Revision};
use crate::model::ModelError;

/// Why a model's files could not be had. No variant holds the token or a signed URL.
///
/// ```
/// use clip_features::hub::{HubError, ModelId};
///
/// match "gpt2".parse::<ModelId>() {
///     Err(error @ HubError::InvalidId { .. }) => {
///         assert!(error.to_string().starts_with("gpt2: not a model id\nhint: an id is ORG/NAME"));
///     }
///     other => panic!("{other:?}"),
/// }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HubError {
    /// Not the name of a model.
    #[error(
        "{id}: not a model id\nhint: an id is ORG/NAME, such as openai/clip-vit-large-patch14; a path must exist"
    )]
    InvalidId {
        /// What was given.
        id: String,
    },
    /// An address of the hub, or a name with its scheme, that is no model's.
    #[error("{name}: not the address of a model\nhint: {hint}")]
    InvalidReference {
        /// What was given.
        name: String,
        /// The way out.
        hint: String,
    },
    /// Two revisions of one model.
    #[error("{name}: names the revision {there}, and {given} is asked for\nhint: leave one of them out")]
    TwoRevisions {
        /// The model as it was given.
        name: String,
        /// The revision in it.
        there: Revision,
        /// The one that was given beside it.
        given: Revision,
    },
    /// Not the name of a branch, tag or commit.
    #[error("{revision:?}: not a revision\nhint: a branch, a tag, or a full commit hash")]
    InvalidRevision {
        /// What was given.
        revision: String,
    },
    /// Neither a path that exists nor the name of a model.
    #[error("{}: no such file or directory\nhint: a model of the hub is named ORG/NAME", path.display())]
    NoSuchModel {
        /// What was given.
        path: PathBuf,
    },
    /// A revision of what has none.
    #[error("revision chooses among versions of a model on the hub, and {reason}\nhint: leave it out")]
    UselessRevision {
        /// What was given.
        reason: String,
    },
    /// An environment variable that cannot be followed.
    #[error("{name}: {reason}")]
    Environment {
        /// The variable.
        name: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
    /// There is no home directory to put the cache in.
    #[error("no place for the cache: there is no home directory")]
    NoCacheDirectory,
    /// Offline, and a file is not in the cache.
    #[error(
        "{model}: {file} of revision {revision} is not in the cache {} and downloads are turned off",
        cache.display()
    )]
    NotCached {
        /// The model.
        model: ModelId,
        /// The revision asked for.
        revision: Revision,
        /// The file that is missing.
        file: String,
        /// Where it was looked for.
        cache: PathBuf,
    },
    /// The hub cannot be reached, and a file is not in the cache.
    #[error("{model}: {file} is not in the cache, and {host} cannot be reached: {reason}")]
    Unreachable {
        /// The model.
        model: ModelId,
        /// The file that was to be fetched.
        file: String,
        /// The host that did not answer.
        host: String,
        /// What happened.
        reason: String,
    },
    /// The hub knows no such model, or does not show it.
    #[error("{model}: {host} has no such model, or it is private\nhint: {hint}")]
    ModelNotFound {
        /// The model.
        model: ModelId,
        /// The hub.
        host: String,
        /// The way out, which depends on whether a token was sent.
        hint: String,
    },
    /// The model's terms must be accepted first.
    #[error("{model}: access to this model is gated\nhint: {hint}")]
    Gated {
        /// The model.
        model: ModelId,
        /// The way out, which depends on whether a token was sent.
        hint: String,
    },
    /// The hub does not know the token.
    #[error("{model}: {host} does not accept the token\nhint: renew it in HF_TOKEN, or with `hf auth login`")]
    TokenRefused {
        /// The model.
        model: ModelId,
        /// The hub.
        host: String,
    },
    /// The model has no such branch, tag or commit.
    #[error("{model}: there is no revision {revision}")]
    RevisionNotFound {
        /// The model.
        model: ModelId,
        /// The revision asked for.
        revision: Revision,
    },
    /// The model lacks a file that every model has.
    #[error(
        "{model}: there is no {file} at revision {revision}, so this is no model that transformers, open_clip or timm saved"
    )]
    FileNotFound {
        /// The model.
        model: ModelId,
        /// The revision asked for.
        revision: Revision,
        /// The file.
        file: String,
    },
    /// A repository that is no checkpoint, but holds one or needs one.
    #[error("{model}: is {what}\nhint: hf download {model} --local-dir DIR, then {then}")]
    OtherKind {
        /// The model.
        model: ModelId,
        /// What it is.
        what: &'static str,
        /// What to do once it is on disk.
        then: &'static str,
    },
    /// The model has no tower that is supported, which its config says before any weights are fetched.
    #[error("{model}: {file}: {reason}")]
    Unsupported {
        /// The model.
        model: ModelId,
        /// Its config.
        file: String,
        /// What was found, and what is supported.
        reason: String,
    },
    /// The model offers its weights as a pickle only.
    #[error(
        "{model}: offers only {file}, a pickle, which is not read because it can run code\nhint: look for a revision \
         with safetensors (often refs/pr/N), or convert it, and give the directory: {line}"
    )]
    OnlyPickle {
        /// The model.
        model: ModelId,
        /// The pickle.
        file: String,
        /// The line of Python that converts it.
        line: String,
    },
    /// The hub answered something else than a file.
    #[error("{model}: {host} answered {status} for {file}{message}")]
    Status {
        /// The model.
        model: ModelId,
        /// The file.
        file: String,
        /// The host that answered.
        host: String,
        /// The HTTP status.
        status: u16,
        /// What the hub said, with a colon in front, or nothing.
        message: String,
    },
    /// The server kept failing, or the connection kept breaking.
    #[error(
        "{model}: {file} from {host}: {reason}, {tries} times in a row\nhint: run again later; what has arrived is \
         kept and continued"
    )]
    GaveUp {
        /// The model.
        model: ModelId,
        /// The file.
        file: String,
        /// The host.
        host: String,
        /// The last failure.
        reason: String,
        /// How often it was tried.
        tries: u32,
    },
    /// An answer that no hub gives.
    #[error(
        "{model}: {file}: {reason}\nhint: check HF_ENDPOINT and the proxy: {host} does not answer as a hub does"
    )]
    NotAHub {
        /// The model.
        model: ModelId,
        /// The file.
        file: String,
        /// The host that answered.
        host: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// What arrived is not what the hub announced. It was removed.
    #[error(
        "{model}: {file} arrived damaged: {property} {got}, expected {expected}\nhint: run again to fetch it once more"
    )]
    Damaged {
        /// The model.
        model: ModelId,
        /// The file.
        file: String,
        /// What differs: the size in bytes, or the SHA-256.
        property: &'static str,
        /// As the hub announced it.
        expected: String,
        /// As it arrived.
        got: String,
    },
    /// More bytes than any such file has.
    #[error(
        "{model}: {file} is of {size} bytes or more, expected at most {limit}\nhint: check HF_ENDPOINT and the name of the model"
    )]
    TooLarge {
        /// The model.
        model: ModelId,
        /// The file.
        file: String,
        /// The bytes that were announced, or that have arrived.
        size: u64,
        /// The most that are taken.
        limit: u64,
    },
    /// A file of the cache that cannot be right.
    #[error("{}: {reason}{}", path.display(), refetch(path))]
    Corrupt {
        /// The file, as a snapshot shows it.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The index of shards cannot be followed.
    #[error(transparent)]
    Index(#[from] ModelError),
    /// The cache's disk is full.
    #[error("{}: no space left on the disk, {needed} more bytes are needed", path.display())]
    DiskFull {
        /// The partial file.
        path: PathBuf,
        /// How many bytes are still to come.
        needed: u64,
    },
    /// The cache cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn refetch(path: &std::path::Path) -> String {
    super::refetch_hint(path).map_or_else(String::new, |hint| format!("\nhint: {hint}"))
}
