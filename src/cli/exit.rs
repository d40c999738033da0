//! Exit codes.

use std::process::ExitCode;

/// How a run ended, as a shell sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for was done, or whoever read our output has seen enough.
    Done,
    /// Some images failed; each is named on standard error.
    SomeFailed,
    /// Wrong usage, or the model or the output could not be opened. Also clap's code.
    Refused,
    /// Ctrl-C, SIGTERM or SIGHUP, by the shells' custom of 128 and SIGINT's number.
    Interrupted,
}

impl Exit {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Done, Self::SomeFailed, Self::Refused, Self::Interrupted];

    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::SomeFailed => 1,
            Self::Refused => 2,
            Self::Interrupted => 130,
        }
    }

    /// What it means, for help and the man page.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "all done",
            Self::SomeFailed => "some images failed, each named on standard error",
            Self::Refused => "wrong usage, or the model or the output could not be opened",
            Self::Interrupted => {
                "interrupted; into a directory or an archive, the same command goes on where it was"
            }
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}
