//! Arguments and what they mean together.

mod args;
mod exit;
mod plan;
mod report;

pub(crate) use args::Args;
pub(crate) use exit::Exit;
pub(crate) use plan::{Plan, Target};
pub(crate) use report::{ImageFacts, Report, Seconds, printable, say, seconds};
