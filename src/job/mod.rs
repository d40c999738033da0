//! Many images → one destination: preflight, resume, the pipeline, failures as values.
//!
//! A [`Job`] says what is wanted. [`Job::prepare`] looks at everything that can be refused, and touches nothing; [`Prepared::run`]
//! does the work and tells of each image as it comes to its end. What is promised: a bad image costs itself alone; what is complete
//! is not done again; a run that is killed or stopped leaves nothing half-written, and goes on where it was.
//!
//! Nothing here prints, reads arguments, listens to signals or sets up threads for the whole process: that is the caller's.
//!
//! ```no_run
//! use std::ops::ControlFlow;
//!
//! use clip_features::{
//!     extractor::Options,
//!     input,
//!     job::{Event, Job, Stop},
//!     model::ModelSpec,
//!     output::Asked,
//! };
//!
//! let asked = Asked { path: Some("features/".into()), several: true, ..Asked::default() };
//! let job = Job {
//!     model: ModelSpec::Local("clip-vit-large-patch14".into()),
//!     options: Options::default(),
//!     inputs: vec![input::choose("photos".as_ref())],
//!     output: asked.plan()?,
//!     dtype: asked.dtype,
//!     overwrite: asked.overwrite,
//!     update: asked.update,
//!     batch: 1,
//!     max_failures: None,
//!     failures: None,
//!     selection: Default::default(),
//!     part: None,
//!     draw: None,
//! };
//! let (ended, tally) = job.prepare()?.run(&Stop::new(), &mut |event| {
//!     if let Event::Image { records, .. } = event {
//!         records.iter().for_each(|record| println!("{}", record.json()));
//!     }
//!     ControlFlow::Continue(())
//! })?;
//! println!("{} done, {} failed, {ended:?}", tally.done, tally.failed);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod absent;
mod drawing;
mod error;
mod facts;
mod failure;
mod listing;
mod overlap;
mod pipeline;
mod prepared;
mod recorder;
mod report;
mod run;
mod stop;

use std::path::PathBuf;

use crate::{
    extractor::Options,
    input::Input,
    model::ModelSpec,
    output::{Dtype, Part, Plan},
    shard::Selection,
};

pub use absent::{Absent, absent, fail};
pub use drawing::Drawing;
pub use error::JobError;
pub use facts::{ImageFacts, PictureFacts};
pub use failure::{Failure, Remedy, Stage};
pub use prepared::{Bound, Prepared};
pub use report::{Ended, Event, FailureFacts, Features, Record, Seconds, Status, Tally, TokenCounts};
pub use stop::Stop;

/// What is wanted.
#[derive(Debug)]
pub struct Job {
    /// The model, on disk.
    pub model: ModelSpec,
    /// What is asked of it.
    pub options: Options,
    /// The images.
    pub inputs: Vec<Box<dyn Input>>,
    /// Where their tensors go, or the pictures of these.
    pub output: Plan,
    /// The type to store them in.
    pub dtype: Dtype,
    /// Whether outputs that are there are replaced rather than completed.
    pub overwrite: bool,
    /// Whether those of images that have changed are made again.
    pub update: bool,
    /// The most images that the tower takes at once. The features do not depend on it.
    pub batch: usize,
    /// The number of failures that ends the run.
    pub max_failures: Option<u64>,
    /// A file for the failures, a line of JSON each.
    pub failures: Option<PathBuf>,
    /// What of the samples in tar shards is wanted.
    pub selection: Selection,
    /// Which part of the work is this job's, if others do the rest.
    pub part: Option<Part>,
    /// The picture to draw of each image's patches, which is then what is written.
    pub draw: Option<Drawing>,
}
