//! An output that is open.

use std::path::{Path, PathBuf};

use super::{Defect, Image, InputFacts, OutputError};

/// Takes images, one after the other.
pub trait Sink: Send {
    /// Writes an image, whole or not at all; it lasts once it is committed.
    ///
    /// # Errors
    /// [`OutputError::Misplaced`] and [`OutputError::Foreign`] are this image's alone; all others end the run.
    fn write(&mut self, image: &Image<'_>) -> Result<Written, OutputError>;

    /// Notes that an image has no features, and why.
    fn failed(&mut self, _failing: &Failing<'_>) {}

    /// Notes that an image that is written was read again and has the same bytes, so that it need not be read once more.
    fn unchanged(&mut self, _key: &str, _input: &InputFacts) {}

    /// All images of a tar have been written that can be.
    ///
    /// # Errors
    /// The disk is full or fails.
    fn end_tar(&mut self, _tar: &TarEnd<'_>) -> Result<(), OutputError> {
        Ok(())
    }

    /// Whether something was written that a power cut could lose.
    fn has_uncommitted(&self) -> bool {
        false
    }

    /// Makes last what was written.
    ///
    /// # Errors
    /// The disk is full or fails.
    fn commit(&mut self) -> Result<(), OutputError> {
        Ok(())
    }

    /// Ends the run, and if all inputs were looked at, completes what is only complete at the end. Dropped without, what was committed
    /// is resumed.
    ///
    /// # Errors
    /// The disk is full or fails.
    fn finish(self: Box<Self>, _is_complete: bool) -> Result<(), OutputError> {
        Ok(())
    }
}

/// Where an image went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The files that a reader opens for it, if there are some: one for all tensors, or one for each.
    pub outputs: Vec<PathBuf>,
    /// What may surprise of the image's output.
    pub warnings: Vec<String>,
    /// What may surprise of the output as a whole.
    pub notices: Vec<String>,
}

/// An image that has no features.
#[derive(Clone, Copy, Debug)]
pub struct Failing<'a> {
    /// Its path below the input that it came from; of a tar's member the tar's path and the member's.
    pub key: &'a str,
    /// The key of the tar that it is in.
    pub tar: Option<&'a str>,
    /// What was read of it.
    pub input: &'a InputFacts,
    /// Where it failed.
    pub stage: &'a str,
    /// What is wrong with its own bytes, if they are to blame.
    pub defect: Option<Defect>,
    /// Why it failed, in words.
    pub reason: &'a str,
}

/// A tar among the inputs that was read to its end.
#[derive(Clone, Copy, Debug)]
pub struct TarEnd<'a> {
    /// Its path below the input that it came from.
    pub key: &'a str,
    /// The same as a path, for which what is made of it is named.
    pub name: &'a Path,
    /// As it was when it was opened.
    pub input: &'a InputFacts,
    /// Where and how it is damaged, if it is.
    pub damage: Option<&'a str>,
    /// Whether some of its images have changed since they were written, and stay as they are.
    pub has_changed: bool,
}
