//! An output that is open.

use std::path::{Path, PathBuf};

use super::{Failed, Image, InputFacts, OutputError, TarRead};

/// Takes images, one after the other.
pub trait Sink: Send {
    /// Writes an image, whole or not at all; it lasts once it is committed.
    ///
    /// # Errors
    /// [`OutputError::Misplaced`] and [`OutputError::Foreign`] are this image's alone; all others end the run.
    fn write(&mut self, image: &Image<'_>) -> Result<Written, OutputError>;

    /// Notes that an image has no features, and why.
    fn failed(&mut self, _failed: Failed) {}

    /// Notes that an image that is written was read again and has the same bytes, so that it need not be read once more.
    fn unchanged(&mut self, _key: &str, _input: &InputFacts) {}

    /// All images of a tar have been written that can be. What is made of it is named for `name`; where it `has_changed`, some of them
    /// are others than were written, and these stay as they are.
    ///
    /// # Errors
    /// The disk is full or fails.
    fn end_tar(&mut self, _name: &Path, _read: TarRead, _has_changed: bool) -> Result<(), OutputError> {
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
