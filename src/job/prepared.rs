//! A job of which everything that can be refused has been looked at.

use std::sync::{Arc, atomic::AtomicU64};

use super::{Job, error::JobError, listing::Listing, overlap::Overlap, task::Task};
use crate::{
    input::{Item, PassedOver},
    output::{Contents, Found, Plan, Planned, Upcoming, free_space, readable_size},
};

/// A job that is ready to run. Nothing has been written, and no weights have been read.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, job, model) = given::job()?;
/// use std::ops::ControlFlow;
///
/// use clip_features::job::{Ended, Stop};
///
/// let prepared = job.choose()?.look(&model)?.prepare()?;
/// assert_eq!((prepared.count(), prepared.remaining()), (Some(2), Some(2)));
/// let (ended, tally) = prepared.run(&Stop::new(), &mut |_| ControlFlow::Continue(()))?;
/// assert_eq!((ended, tally.done), (Ended::Complete, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Prepared {
    pub(super) task: Arc<Task>,
    pub(super) listing: Listing,
    pub(super) passed_over: PassedOver,
    /// How many images were named again, so far.
    pub(super) again: Arc<AtomicU64>,
    /// What is there of the output.
    pub(super) found: Option<Arc<Found>>,
    /// For images that are not known in advance.
    pub(super) overlap: Overlap,
}

/// The images that are to be written, where no tar among them stands for more.
pub(super) fn planned(output: &Plan, listing: &Listing) -> Planned {
    let mut planned = Planned::default();
    if listing.left().iter().any(Item::is_shard) {
        return planned;
    }
    for (place, item) in listing.new_ones() {
        planned.pass_to(place);
        output.add_planned(&mut planned, &item.key(), &item.name);
    }
    planned
}

impl Prepared {
    /// What was asked for.
    pub fn job(&self) -> &Job {
        &self.task.job
    }

    /// The most images that the tower takes at once.
    pub fn batch(&self) -> usize {
        self.task.opened.batch()
    }

    /// Where its output goes.
    #[doc(hidden)]
    pub fn plan(&self) -> &Plan {
        &self.task.plan
    }

    /// Whether a run that was cut short goes on where it was.
    pub fn resumes(&self) -> bool {
        self.task.plan.resumes()
    }

    /// What was met in directories and is none of the images.
    #[doc(hidden)]
    pub fn passed_over(&self) -> &PassedOver {
        &self.passed_over
    }

    /// What is stored of each image.
    #[doc(hidden)]
    pub fn contents(&self) -> &Contents {
        &self.task.contents
    }

    /// How many images there are, or tars where the output repeats them, if that is known.
    pub fn count(&self) -> Option<u64> {
        self.listing.count()
    }

    /// How many are to be done, if that is known.
    pub fn remaining(&self) -> Option<u64> {
        self.listing.remaining()
    }

    /// Whether nothing is left to be done, as far as that can be told without reading what is in tars.
    pub(super) fn is_complete(&self) -> bool {
        self.remaining() == Some(0) && self.found.as_ref().is_none_or(|found| found.is_settled())
    }

    /// What is stored, in shapes that are known, and what these say; none where nothing is known, or no file is written.
    fn shaped(&self) -> Option<(Bound, Contents)> {
        let Task { opened, contents, .. } = &*self.task;
        let with = |tensors| Contents { tensors, ..contents.clone() };
        if contents.image_bytes().is_some() {
            return Some((Bound::Exactly, contents.clone()));
        }
        let most = opened.largest_tensors().map(|tensors| (Bound::AtMost, with(tensors)));
        let least = || (Bound::AtLeast, with(opened.least_tensors()));
        let shaped = most.unwrap_or_else(least);
        shaped.1.image_bytes().is_some().then_some(shaped)
    }

    /// The bytes that an image's tensors take, or what is known of them where they depend on the picture; none where nothing is known.
    #[doc(hidden)]
    pub fn image_bytes(&self) -> Option<(Bound, u64)> {
        let (bound, contents) = self.shaped()?;
        Some((bound, contents.image_bytes()?))
    }

    /// The bytes that a run will write, as [`Prepared::image_bytes`] says, with heads, manifest, and the copy in which a finished file
    /// takes more; and those that are free there, if either can be told; none where no file is written.
    #[doc(hidden)]
    pub fn space(&self) -> Option<(Option<u64>, Option<u64>)> {
        let path = self.task.plan.path()?;
        // How many images a tar has is not known before it is read.
        let is_known = !self.listing.left().iter().any(Item::is_shard) && self.count().is_some();
        let needed = self.shaped().filter(|_| is_known).and_then(|(_, contents)| {
            let images = self.listing.new_ones().map(|(_, item)| Upcoming {
                key: item.key(),
                name: &item.name,
                input: item.source.to_string(),
            });
            self.task.plan.bytes(&contents, self.found.as_deref(), images)
        });
        Some((needed, free_space(path)))
    }

    /// Refuses a run whose outputs do not fit on the disk.
    pub(super) fn check_space(&self) -> Result<(), JobError> {
        if let Some((Bound::AtMost, _)) = self.image_bytes() {
            return Ok(());
        }
        match (self.task.plan.path(), self.space()) {
            (Some(path), Some((Some(needed), Some(free)))) if free < needed => Err(JobError::NoSpace {
                path: path.to_owned(),
                needed: readable_size(needed),
                free: readable_size(free),
            }),
            _ => Ok(()),
        }
    }
}

/// What a number of bytes says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// It is this many.
    Exactly,
    /// It is no less.
    AtLeast,
    /// It is no more.
    AtMost,
}
