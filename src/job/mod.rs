//! Many images → one destination: preflight, resume, the pipeline, failures as values.
//!
//! A [`Job`] says what is wanted. [`Job::choose`], [`Chosen::look`] and [`Looked::prepare`] look at everything that can be refused, and
//! touch nothing; [`Prepared::run`] does the work and tells of each image as it comes to its end. What is promised: a bad image costs itself alone; what is complete
//! is not done again; a run that is killed or stopped leaves nothing half-written, and goes on where it was.
//!
//! Nothing here prints, reads arguments, listens to signals or sets up threads for the whole process: that is the caller's.
//!
//! ```
//! # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
//! # let (directory, _, model) = given::job()?;
//! # let [photos, output] = ["photos", "features"].map(|name| directory.path().join(name));
//! use std::ops::ControlFlow;
//!
//! use clip_features::{
//!     Inputs,
//!     job::{Ended, Event, Job, Stop},
//! };
//!
//! let mut job = Job::default();
//! job.inputs = Inputs::Paths(vec![photos]);
//! job.output.path = Some(output);
//! let (ended, tally) = job.choose()?.look(&model)?.prepare()?.run(&Stop::new(), &mut |event| {
//!     if let Event::Image { records, .. } = event {
//!         records.iter().for_each(|record| println!("{}", record.json()));
//!     }
//!     ControlFlow::Continue(())
//! })?;
//! assert_eq!((ended, tally.done, tally.failed), (Ended::Complete, 2, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod chosen;
mod error;
mod facts;
mod failure;
mod listing;
mod looked;
mod outcome;
mod overlap;
mod pipeline;
mod prepared;
mod recorder;
mod report;
mod run;
mod stop;
mod task;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    extractor::Options,
    input::Inputs,
    output::{Destination, Part},
    shard::Selection,
};

#[doc(hidden)]
pub use chosen::Absent;
pub use chosen::Chosen;
pub use error::JobError;
pub use facts::{ImageFacts, PictureFacts};
pub use failure::{Failure, Remedy, Stage};
pub use looked::Looked;
#[doc(hidden)]
pub use prepared::Bound;
pub use prepared::Prepared;
pub use report::{Ended, Event, Features, Record, Seconds, Status, Tally, TokenCounts};
pub use stop::Stop;

/// What is wanted, of whatever model. It is data: it can be written down and carried out elsewhere, by parts.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, _, model) = given::job()?;
/// # let [photos, output] = ["photos", "features.npy"].map(|name| directory.path().join(name));
/// use clip_features::{Inputs, job::Job};
///
/// let mut job = Job::default();
/// job.inputs = Inputs::Paths(vec![photos]);
/// job.output.path = Some(output);
/// let elsewhere: Job = serde_json::from_str(&serde_json::to_string(&job)?)?;
/// assert_eq!(elsewhere, job);
/// let chosen = elsewhere.choose()?; // the first step of four: choose, look, prepare, run
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Job {
    /// What is asked of the model.
    pub options: Options,
    /// Where the images are.
    pub inputs: Inputs,
    /// What of the samples in tar shards is wanted.
    pub selection: Selection,
    /// Which part of the work is done, if others do the rest.
    pub part: Option<Part>,
    /// Where their tensors go, or the pictures of these, and how.
    pub output: Destination,
    /// The number of failures that ends the run.
    pub max_failures: Option<u64>,
    /// Whether images that fail by their own bytes count as done, and are not tried again as long as these are as they were.
    pub accept_failures: bool,
    /// Whether those that failed so before are tried again nevertheless.
    pub retry_failures: bool,
    /// A file for the failures, a line of JSON each.
    pub failures: Option<PathBuf>,
}
