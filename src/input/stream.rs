//! Standard input as a stream, of which the beginning may have been looked at.

use std::{
    io::{self, IsTerminal, Read},
    sync::OnceLock,
};

use crate::shard;

/// What was read of standard input to tell what it is. There is one standard input in a process, and what is read is gone from it.
static START: OnceLock<Vec<u8>> = OnceLock::new();

/// Waits for the first bytes of standard input, unless it is a terminal, so that [`Inputs::choose`](super::Inputs::choose) can tell a tar from an
/// image. Nothing is lost: whoever reads standard input as an input gets them first.
pub fn look_at_stdin() {
    START.get_or_init(|| {
        let stdin = io::stdin().lock();
        let mut start = Vec::new();
        if !stdin.is_terminal() {
            // An error comes again when the rest is read.
            let _ = stdin.take(512).read_to_end(&mut start);
        }
        start
    });
}

/// Whether what was looked at is the beginning of a tar.
pub(super) fn is_tar() -> bool {
    START.get().is_some_and(|start| shard::is_tar(start))
}

/// All of standard input.
pub(super) fn reader() -> impl Read {
    START.get().map(Vec::as_slice).unwrap_or_default().chain(io::stdin())
}
