//! Arguments, what they mean together, and what is said back.

mod args;
mod exit;
mod model;
mod plan;
mod progress;
mod report;
mod request;

pub(crate) use args::Args;
pub(crate) use exit::Exit;
pub(crate) use model::ModelChoice;
pub(crate) use plan::{Heatmap, Inputs, Plan, Target};
pub(crate) use progress::{Progress, Tally};
pub(crate) use report::{
    FailureFacts, Features, ImageFacts, Report, Seconds, TokenCounts, printable, say, seconds,
};
