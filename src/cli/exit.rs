//! Exit codes.

use std::process::ExitCode;

/// How a run ended, as a shell sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything asked for was done, or whoever read our output has seen enough.
    Done,
    /// The image could not be read, decoded or encoded.
    ImageFailed,
    /// Wrong usage, or the model or the output could not be opened. Also clap's code.
    Refused,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::ImageFailed => 1,
            Exit::Refused => 2,
        })
    }
}
