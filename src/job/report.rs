//! What is said of each image, and of a run.

use std::{path::Path, time::Duration};

use serde::Serialize;

use super::{facts::PictureFacts, failure::Failure};
use crate::{input::Item, shard::NotRead};

/// A step of a run.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, job, model) = given::job()?;
/// # let prepared = job.choose()?.look(&model)?.prepare()?;
/// use std::ops::ControlFlow;
///
/// use clip_features::job::{Event, Stop};
///
/// let mut lines = Vec::new();
/// prepared.run(&Stop::new(), &mut |event| {
///     match event {
///         Event::Started { total } => lines.push(format!("{total:?} images")),
///         Event::Image { records, .. } => lines.push(records[0].key.clone()),
///         _ => {}
///     }
///     ControlFlow::Continue(())
/// })?;
/// assert_eq!(lines, ["Some(2) images", "cat.ppm", "dog.ppm"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The work begins: the model is loaded and the output open.
    Started {
        /// The number of images, if it is known.
        total: Option<u64>,
    },
    /// A tar shard has been read to its end, and its images have come to theirs.
    Shard {
        /// The shard, as it was named in the input.
        path: &'a str,
        /// The links, devices and sparse members in it, which were passed over.
        passed_over: u64,
        /// The pictures in it of formats that are not read.
        not_read: &'a NotRead,
        /// Whether another tar stands behind it in the same file, which is not read.
        is_followed: bool,
        /// Whether it is whole, and holds no image.
        is_empty: bool,
    },
    /// So many images were named more than once, and are taken once.
    Again(u64),
    /// Something of the output as a whole may surprise.
    Notice {
        /// The output.
        path: &'a Path,
        /// What it is, in words.
        message: &'a str,
    },
    /// An image has come to its end, in the order of the inputs; what is done of it lasts.
    Image {
        /// What became of it.
        status: Status,
        /// What may surprise of a picture that was read, one sentence each.
        warnings: &'a [String],
        /// The facts: of an image that is done one record for each tensor, else one.
        records: &'a [Record],
    },
}

/// What became of an image.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, job, model) = given::job()?;
/// use clip_features::job::Status;
///
/// let first = given::records(job.clone(), &model)?; // runs the job
/// assert!(first.iter().all(|record| record.status == Status::Done));
/// let again = given::records(job, &model)?;
/// assert!(again.iter().all(|record| record.status == Status::Skipped)); // it is complete
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// Its tensors are where they should be.
    Done,
    /// They were there before.
    Skipped,
    /// They were there before, of other bytes than the image has now; they stay.
    Changed,
    /// It has none.
    Failed,
    /// It has none by its own bytes, in this run or before, and that is accepted.
    Accepted,
}

/// The facts of one image, or of one of its tensors. As JSON, it is a line of a report.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, job, model) = given::job()?;
/// let records = given::records(job, &model)?; // runs the job
/// assert_eq!(records[1].key, "dog.ppm");
/// assert!(records[1].json().starts_with(r#"{"key":"dog.ppm","input":""#));
/// assert!(records[1].features.is_some() && records[1].failure.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// The image's path below the input that it came from; of a tar's member the tar's path and the member's.
    pub key: String,
    /// The image, as it was named in the input.
    pub input: String,
    /// What became of it.
    pub status: Status,
    /// Of an image that is done.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub features: Option<Features>,
    /// Of one that failed in this run.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

impl Record {
    /// Of an image without features.
    pub(super) fn bare(item: &Item, status: Status) -> Self {
        Self { key: item.key(), input: item.source.to_string(), status, features: None, failure: None }
    }

    /// One line of JSON.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("a record has no map with other keys than strings")
    }
}

/// What an image that was extracted has.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, job, model) = given::job()?;
/// # let record = given::records(job, &model)?.remove(0);
/// let features = record.features.ok_or("it failed")?;
/// assert_eq!((features.tensor.as_str(), &features.shape[..]), ("last_hidden_state", &[1, 5, 48][..]));
/// assert_eq!((features.dtype, features.not_finite), ("f32", 0));
/// assert!(features.output.is_some_and(|path| path.ends_with("features.npy")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize)]
pub struct Features {
    /// The tensor's name.
    pub tensor: String,
    /// Its shape, with a leading dimension of 1.
    pub shape: Vec<usize>,
    /// The type that it is stored in.
    pub dtype: &'static str,
    /// Which tokens, of a token tensor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<&'static str>,
    /// The tokens in the order in which they stand, of a token tensor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<TokenCounts>,
    /// How many of its values are not finite as they are stored.
    #[serde(skip_serializing_if = "is_zero")]
    pub not_finite: usize,
    /// The picture, and the way that it took.
    #[serde(flatten)]
    pub picture: PictureFacts,
    /// The model's name.
    pub model: String,
    /// The commit, of a model of the hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The weights' fingerprint, of a tensor that they made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// The file, or the archive, that holds the tensor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// How long it took; not in what an output says, whose bytes depend on its input alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<Seconds>,
}

fn is_zero<T: Default + PartialEq>(count: &T) -> bool {
    *count == T::default()
}

/// How many tokens of each kind a tensor has.
///
/// ```
/// use clip_features::job::TokenCounts;
///
/// /// Which rows of a tensor are patches.
/// fn patches(counts: &TokenCounts) -> std::ops::Range<usize> {
///     let first = counts.cls + counts.registers;
///     first..first + counts.patches
/// }
/// let dinov2 = TokenCounts { cls: 1, registers: 4, patches: 256, padding: None };
/// assert_eq!(patches(&dinov2), 5..261);
/// ```
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TokenCounts {
    /// Class tokens, 0 or 1.
    pub cls: usize,
    /// Register tokens.
    pub registers: usize,
    /// Patch tokens, row by row.
    pub patches: usize,
    /// Padding, which follows the patches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub padding: Option<usize>,
}

/// Wall-clock times in seconds, rounded to microseconds, which is what a reader can use.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, job, model) = given::job()?;
/// let records = given::records(job, &model)?; // runs the job
/// let seconds = |record: &clip_features::job::Record| record.features.as_ref()?.seconds.clone();
/// let spent: f64 = records.iter().filter_map(seconds).map(|seconds| seconds.preprocess).sum();
/// assert!(spent > 0.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize)]
pub struct Seconds {
    /// Reading, decoding, resizing, normalizing.
    pub preprocess: f64,
    /// Loading the weights, on the first image that needed them; where they are read in the forward pass, opening them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<f64>,
    /// The image's share of its batch's forward pass, where there was one; a single image's reads its weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encode: Option<f64>,
}

impl Seconds {
    pub(super) fn of(duration: Duration) -> f64 {
        (duration.as_secs_f64() * 1e6).round() / 1e6
    }
}

/// Images by what became of them.
///
/// ```
/// use clip_features::job::{Status, Tally};
///
/// let mut tally = Tally::default();
/// tally.count(Status::Done, &[]);
/// tally.count(Status::Skipped, &[]);
/// assert_eq!((tally.done, tally.skipped, tally.seen()), (1, 1, 2));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Done in this run.
    pub done: u64,
    /// Complete before.
    pub skipped: u64,
    /// Complete before, of images that have changed since.
    #[serde(skip_serializing_if = "is_zero")]
    pub changed: u64,
    /// Failed.
    pub failed: u64,
    /// Failed by their own bytes, in this run or before, which is accepted.
    #[serde(skip_serializing_if = "is_zero")]
    pub accepted: u64,
    /// Of those done in this run, the ones with values that are not finite.
    #[serde(skip_serializing_if = "is_zero")]
    pub not_finite: u64,
}

impl Tally {
    /// All that have come to an end.
    pub fn seen(&self) -> u64 {
        let Self { done, skipped, changed, failed, accepted, not_finite: _ } = self;
        done + skipped + changed + failed + accepted
    }

    /// Counts an image, of which these records speak.
    pub fn count(&mut self, status: Status, records: &[Record]) {
        let features = records.iter().filter_map(|record| record.features.as_ref());
        self.not_finite += u64::from(features.map(|features| features.not_finite).any(|count| count > 0));
        match status {
            Status::Done => self.done += 1,
            Status::Skipped => self.skipped += 1,
            Status::Changed => self.changed += 1,
            Status::Failed => self.failed += 1,
            Status::Accepted => self.accepted += 1,
        }
    }
}

/// How a run ended that nothing refused.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, mut job, model) = given::job()?;
/// # std::fs::write(directory.path().join("photos/empty.jpg"), "")?;
/// use std::ops::ControlFlow;
///
/// use clip_features::job::{Ended, Stop};
///
/// job.max_failures = Some(1);
/// let prepared = job.choose()?.look(&model)?.prepare()?;
/// let (ended, tally) = prepared.run(&Stop::new(), &mut |_| ControlFlow::Continue(()))?;
/// assert_eq!((ended, tally.failed), (Ended::TooManyFailures, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// All images have been looked at, and the output is complete.
    Complete,
    /// It was stopped from outside.
    Stopped,
    /// As many images failed as are allowed.
    TooManyFailures,
    /// Nobody listens any more: the caller said so, or the reader of standard output has gone.
    Unheard,
}
