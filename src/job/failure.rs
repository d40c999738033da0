//! An image that failed, as a value.

/// Where an image failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its bytes could not be read.
    Read,
    /// They are no picture that can be decoded.
    Decode,
    /// The picture does not become the tower's input.
    Preprocess,
    /// The tower failed on it.
    Encode,
    /// Its output could not be placed.
    Write,
}

impl Stage {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Decode => "decode",
            Self::Preprocess => "preprocess",
            Self::Encode => "encode",
            Self::Write => "write",
        }
    }
}

/// An image that has no features, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where it failed.
    pub stage: Stage,
    /// The reason, without the path.
    pub reason: String,
}
