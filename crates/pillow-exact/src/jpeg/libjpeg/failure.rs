//! Why libjpeg gives no samples, and the way out of its callbacks.

use std::panic::resume_unwind;

/// Why there are no samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::jpeg) enum Failure {
    /// libjpeg needs bytes after the last.
    Truncated,
    /// libjpeg finds a frame of another size.
    OtherSize,
    /// libjpeg's own message.
    Broken(String),
}

/// Leaves libjpeg from within a callback.
#[cold]
pub(super) fn fail(failure: Failure) -> ! {
    // Not a panic: no hook is called for it.
    resume_unwind(Box::new(failure))
}
