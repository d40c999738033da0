//! Why libjpeg gives no samples.

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
