//! The arguments as another program's: parsed and settled as the command's are, and carried out by the caller.

use std::ffi::OsString;

use clap::Parser;

use super::{
    args::Args,
    hints::told,
    settled::{Settled, model},
    usage::message,
};
use crate::{
    hub::HubError,
    job::{Chosen, Job},
    model::ModelSpec,
};

/// Why arguments cannot be followed, or their model cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What to say.
    pub message: String,
    /// What is to blame.
    pub cause: Cause,
}

/// What is to blame for a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// What was asked for.
    Arguments,
    /// The model, or a file of it, is not there.
    Missing,
    /// The system, the network or the hub.
    System,
}

impl From<HubError> for Refusal {
    fn from(error: HubError) -> Self {
        let cause = match error {
            HubError::NoSuchModel { .. } | HubError::NotCached { .. } | HubError::FileNotFound { .. } => {
                Cause::Missing
            }
            HubError::InvalidId { .. }
            | HubError::InvalidRevision { .. }
            | HubError::UselessRevision { .. }
            | HubError::Unsupported { .. }
            | HubError::OnlyPickle { .. }
            | HubError::Index(_) => Cause::Arguments,
            _ => Cause::System,
        };
        Self { message: told(&error), cause }
    }
}

/// What arguments ask for, with no image looked at yet.
#[derive(Debug)]
pub struct Parsed(Settled);

impl Parsed {
    /// Parses and settles arguments, the program's name first.
    ///
    /// # Errors
    /// They are wrong or contradict each other.
    pub fn new(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, Refusal> {
        let refusal = |message: String| Refusal { message, cause: Cause::Arguments };
        let arguments = Args::try_parse_from(arguments).map_err(|error| refusal(message(&error)))?;
        model(&arguments)?;
        Settled::new(arguments).map(Self).map_err(|error| refusal(told(&*error)))
    }

    /// The job.
    pub fn job(&self) -> &Job {
        self.0.job.job()
    }

    /// Has the model's files on disk, downloading what is missing.
    ///
    /// # Errors
    /// They cannot be had.
    pub fn obtain(&self) -> Result<ModelSpec, Refusal> {
        Ok(self.0.model.obtain(self.0.wanted(), &|_| {})?)
    }

    /// The job, with what its inputs are.
    pub fn chosen(self) -> Chosen {
        self.0.job
    }
}
