//! Many images → one destination: preflight, resume, the pipeline, failures as values.
//!
//! A [`Job`] says what is wanted. [`Job::look`] and [`Looked::prepare`] look at everything that can be refused, and touch nothing;
//! [`Prepared::run`] does the work and tells of each image as it comes to its end. What is promised: a bad image costs itself alone; what is complete
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
//!     options: Options::default(),
//!     inputs: vec![input::choose("photos".as_ref())],
//!     output: asked.plan()?,
//!     draw: None,
//!     batch: 1,
//!     max_failures: None,
//!     failures: None,
//!     selection: Default::default(),
//! };
//! let model = ModelSpec::Local("clip-vit-large-patch14".into());
//! let (ended, tally) = job.look(&model)?.prepare()?.run(&Stop::new(), &mut |event| {
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
mod looked;
mod overlap;
mod pipeline;
mod prepared;
mod recorder;
mod report;
mod run;
mod stop;

use std::path::PathBuf;

use crate::{extractor::Options, input::Input, output::Plan, shard::Selection};

pub use absent::{Absent, absent, fail};
pub use drawing::Drawing;
pub use error::JobError;
pub use facts::{ImageFacts, PictureFacts};
pub use failure::{Failure, Remedy, Stage};
pub use looked::Looked;
pub use prepared::{Bound, Prepared};
pub use report::{Ended, Event, FailureFacts, Features, Record, Seconds, Status, Tally, TokenCounts};
pub use stop::Stop;

/// What is wanted.
#[derive(Debug)]
pub struct Job {
    /// What is asked of the model.
    pub options: Options,
    /// The images.
    pub inputs: Vec<Box<dyn Input>>,
    /// Where their tensors go, or the pictures of these, and how.
    pub output: Plan,
    /// The picture to draw of each image's patches, which is then what is written.
    pub draw: Option<Drawing>,
    /// The most images that the tower takes at once. The features do not depend on it.
    pub batch: usize,
    /// The number of failures that ends the run.
    pub max_failures: Option<u64>,
    /// A file for the failures, a line of JSON each.
    pub failures: Option<PathBuf>,
    /// What of the samples in tar shards is wanted.
    pub selection: Selection,
}
