//! Where tensors go: the questions that every kind of destination answers.

use std::{
    fmt::Debug,
    path::{Path, PathBuf},
};

use super::{Array, Contents, Format, Metadata, OutputError, Setting};
use crate::shard::Sample;

/// Somewhere that tensors can be written to. Nothing is touched before [`Destination::open`].
pub trait Destination: Debug + Send + Sync {
    /// In words, for a person.
    fn describe(&self, contents: &Contents) -> String;

    /// Whether a setting means anything here; one that does not is refused.
    fn heeds(&self, setting: Setting) -> bool;

    /// The format of what is written; none where nothing is.
    fn format(&self) -> Option<Format>;

    /// The file or directory that is written, if there is one.
    fn path(&self) -> Option<&Path> {
        None
    }

    /// The place of an image's output, which no other image may share, given the image's relative name; none where
    /// images have no names.
    fn place(&self, _contents: &Contents, _name: &Path) -> Option<PathBuf> {
        None
    }

    /// The file that holds one image's output, or one shard's where these are repeated, alone; none where there is no such file.
    fn own_file(&self, _contents: &Contents, _name: &Path) -> Option<PathBuf> {
        None
    }

    /// The files that are not one image's alone and may be replaced or removed, whether they are there or not: those of many images,
    /// and what is written beside them.
    fn replaced(&self, _contents: &Contents) -> Vec<PathBuf> {
        self.path().filter(|path| path.is_file()).map(Path::to_owned).into_iter().collect()
    }

    /// Whether a tar is one that was written here, by its name and what it says of itself.
    fn is_own(&self, _tar: &Path) -> bool {
        false
    }

    /// Whether it repeats tar shards one by one, so that a shard rather than an image has a place, and is complete.
    fn repeats_shards(&self) -> bool {
        false
    }

    /// Bytes that an image needs on the disk of [`Destination::path`]; none where they depend on the picture.
    fn image_bytes(&self, contents: &Contents) -> Option<u64> {
        contents.image_bytes()
    }

    /// The least that is written of an image beside its tensors: its lines in a journal, an index, a header.
    fn beside_bytes(&self, _contents: &Contents, _name: &Path) -> u64 {
        0
    }

    /// Bytes of the copy in which what is finished takes more images, and which stands beside it until it is whole; zero where nothing
    /// is copied.
    fn copied_bytes(&self, _contents: &Contents) -> u64 {
        0
    }

    /// Whether a run that was cut short goes on where it was.
    fn resumes(&self) -> bool {
        false
    }

    /// Sees that something can be written there, whatever it will be, and leaves it as it is.
    ///
    /// # Errors
    /// Its directory does not exist, or cannot be written.
    fn probe(&self) -> Result<(), OutputError> {
        Ok(())
    }

    /// Refuses what cannot succeed, before any work.
    ///
    /// # Errors
    /// The contents do not go there, or its directory does not exist.
    fn check(&self, _contents: &Contents) -> Result<(), OutputError> {
        Ok(())
    }

    /// What an earlier run has completed that this one can keep.
    ///
    /// # Errors
    /// Outputs of other settings, or of unknown origin, are there.
    fn complete(&self, _contents: &Contents) -> Result<Complete, OutputError> {
        Ok(Complete::none())
    }

    /// Whether an earlier run has come to its end, so that the same images would add nothing; false where that cannot be told.
    fn is_finished(&self, _contents: &Contents) -> bool {
        false
    }

    /// Opens it for a run. `planned` are the relative names of the images that are known in advance.
    ///
    /// # Errors
    /// As [`Destination::complete`], or another process writes there, or the disk fails.
    fn open(&self, contents: &Contents, planned: &[&Path]) -> Result<Box<dyn Sink>, OutputError>;
}

/// An opened destination.
pub trait Sink: Send {
    /// What is complete in it, of which no image need be written.
    fn complete(&self) -> Complete {
        Complete::none()
    }

    /// The file of an image that was cut since an earlier run completed it, so that it is made again; none where none was, or images have
    /// no files of their own.
    fn cut(&self, _name: &Path) -> Option<PathBuf> {
        None
    }

    /// Writes an image's tensors, whole or not at all. Gives the files that a reader can open for it, if there are some of its own: one for all
    /// tensors, or one for each.
    ///
    /// # Errors
    /// [`OutputError::Misplaced`] and [`OutputError::Foreign`] are this image's alone; all others end the run.
    fn write(&mut self, image: &Described<'_>, arrays: &[Array]) -> Result<Vec<PathBuf>, OutputError>;

    /// All images of a tar shard, by its relative name, have been written that can be.
    ///
    /// # Errors
    /// The disk is full or fails.
    fn end_shard(&mut self, _shard: &Path, _left: Left) -> Result<(), OutputError> {
        Ok(())
    }

    /// Completes what is only complete at the end. Dropped without, it can be resumed where the kind can.
    ///
    /// # Errors
    /// The disk is full or fails.
    fn finish(self: Box<Self>) -> Result<(), OutputError> {
        Ok(())
    }
}

/// What a later run may find to do in a shard that has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing.
    Nothing,
    /// Those of its images that failed.
    Failed,
    /// All of it: it is damaged, and may be whole when it is read again.
    All,
}

/// An image, as a destination is told of it.
#[derive(Debug)]
pub struct Described<'a> {
    /// Its relative name.
    pub name: &'a Path,
    /// Of an image in a tar shard: its sample.
    pub sample: Option<&'a Sample>,
    /// What an output says of it beside the settings.
    pub metadata: &'a Metadata,
    /// What a report says of it, as JSON.
    pub facts: &'a str,
}

/// Tells whether an image's output, or that of a whole shard, is complete, on any thread.
pub struct Complete(Box<Test>);

/// Given a relative name, and the sample of an image in a shard.
type Test = dyn Fn(&Path, Option<&Sample>) -> bool + Send + Sync;

impl Complete {
    /// No image is.
    pub fn none() -> Self {
        Self::when(|_, _| false)
    }

    /// Those are of which `test` holds.
    pub fn when(test: impl Fn(&Path, Option<&Sample>) -> bool + Send + Sync + 'static) -> Self {
        Self(Box::new(test))
    }

    /// Whether the image of this name, and of this sample, is.
    pub fn contains(&self, name: &Path, sample: Option<&Sample>) -> bool {
        (self.0)(name, sample)
    }
}

impl Debug for Complete {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Complete")
    }
}
