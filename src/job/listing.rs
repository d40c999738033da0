//! The images of a run, with those that are complete left out.

use std::{collections::HashSet, sync::Arc};

use super::{report::Status, task::Task};
use crate::{
    input::{Images, Item},
    output::{Found, OutputError, Standing},
};

/// The images of a run.
#[derive(Debug)]
pub(super) enum Listing {
    /// All are known in advance.
    Known {
        /// Those that are to be done, in order; what could not be read is among them.
        left: Vec<Item>,
        /// The places of those that are there, and may have changed.
        unsure: HashSet<usize>,
        /// Those of which nothing is to be done: how many of the others come before each, and what is to be told of it.
        complete: Vec<(usize, Status, Item)>,
    },
    /// They come as somebody lists them.
    Listed(Images),
}

impl Listing {
    /// Leaves out what is complete, as far as the images are known.
    ///
    /// # Errors
    /// A file of unknown origin is in the place of an output.
    pub(super) fn of(images: Images, task: &Task, found: Option<&Arc<Found>>) -> Result<Self, OutputError> {
        let Images::Known { items, .. } = images else { return Ok(Self::Listed(images)) };
        let (mut left, mut unsure, mut complete) = (Vec::new(), HashSet::new(), Vec::new());
        for item in items {
            match found.map_or(Standing::New, |found| task.standing(&item, found)) {
                Standing::Complete => complete.push((left.len(), Status::Skipped, item)),
                Standing::Accepted => complete.push((left.len(), Status::Accepted, item)),
                Standing::Foreign(path) => return Err(OutputError::Foreign { path }),
                Standing::New => left.push(item),
                Standing::Unsure => {
                    unsure.insert(left.len());
                    left.push(item);
                }
            }
        }
        Ok(Self::Known { left, unsure, complete })
    }

    /// How many there are, if that is known.
    pub(super) fn count(&self) -> Option<u64> {
        match self {
            Self::Known { left, complete, .. } => Some((left.len() + complete.len()) as u64),
            Self::Listed(_) => None,
        }
    }

    /// How many are to be done, if that is known.
    pub(super) fn remaining(&self) -> Option<u64> {
        match self {
            Self::Known { left, .. } => Some(left.len() as u64),
            Self::Listed(_) => None,
        }
    }

    /// Those of which nothing is there, each with its place among those that are to be done.
    pub(super) fn new_ones(&self) -> impl Iterator<Item = (usize, &Item)> {
        let is_new = move |place: &usize| match self {
            Self::Known { unsure, .. } => !unsure.contains(place),
            Self::Listed(_) => true,
        };
        self.left().iter().enumerate().filter(move |(place, _)| is_new(place))
    }

    /// Those that are to be done, as far as they are known in advance.
    pub(super) fn left(&self) -> &[Item] {
        match self {
            Self::Known { left, .. } => left,
            Self::Listed(_) => &[],
        }
    }
}
