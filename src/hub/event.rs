//! What a download tells of itself.

use std::time::Duration;

/// A step of a download.
///
/// ```
/// use clip_features::hub::Event;
///
/// /// A line for a log, where there is something to say.
/// fn line(event: Event<'_>) -> Option<String> {
///     match event {
///         Event::Begin { file, size: Some(size), .. } => Some(format!("{file}: {} MB", size / 1_000_000)),
///         Event::Retry { file, reason, .. } => Some(format!("{file}: {reason}, once more")),
///         _ => None,
///     }
/// }
/// let begin = Event::Begin { file: "model.safetensors", size: Some(1_710_537_716), have: 0 };
/// assert_eq!(line(begin).as_deref(), Some("model.safetensors: 1710 MB"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A file begins to arrive.
    Begin {
        /// Its name in the repository.
        file: &'a str,
        /// Its size in bytes, where the hub says.
        size: Option<u64>,
        /// How many bytes an earlier run has left.
        have: u64,
    },
    /// More of it has arrived.
    Received {
        /// How many bytes there are now; fewer than before if the server started over.
        have: u64,
    },
    /// It has arrived and is checked.
    Verify,
    /// It is in the cache.
    Done,
    /// Something failed and is tried again.
    Retry {
        /// The file.
        file: &'a str,
        /// What failed.
        reason: &'a str,
        /// The pause before the next try.
        pause: Duration,
    },
    /// Another process is fetching the file.
    Waiting {
        /// The file.
        file: &'a str,
    },
}
