//! Exit codes.

use std::process::ExitCode;

/// How a run ended, as a shell sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything asked for was done, or whoever read our output has seen enough.
    Done = 0,
    /// Some images failed; each is named on standard error.
    SomeFailed = 1,
    /// Wrong usage, or the model or the output could not be opened. Also clap's code.
    Refused = 2,
    /// Ctrl-C, SIGTERM or SIGHUP, by the shells' custom of 128 and SIGINT's number.
    Interrupted = 130,
}

impl Exit {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Done, Self::SomeFailed, Self::Refused, Self::Interrupted];

    /// The number.
    pub fn code(self) -> u8 {
        self as u8
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
