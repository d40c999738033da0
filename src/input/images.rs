//! The images of all inputs together.

use std::{fmt, path::PathBuf};

use super::{Input, InputError, Item};
use crate::shard::NotRead;

/// What was met in directories and is none of the images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PassedOver {
    /// How many other files.
    pub others: usize,
    /// Which of them are pictures or tars that are not read.
    pub not_read: NotRead,
    /// The directories that hold no images.
    pub empty: Vec<PathBuf>,
}

/// The images of a run.
pub enum Images {
    /// All are known in advance.
    Known {
        /// The images, in order.
        items: Vec<Item>,
        /// What was met beside them.
        passed: PassedOver,
    },
    /// They come as somebody lists them.
    Listed(Box<dyn Iterator<Item = Item> + Send>),
}

impl Images {
    /// A single one.
    pub fn one(item: Item) -> Self {
        Self::Known { items: vec![item], passed: PassedOver::default() }
    }

    /// The images that are known in advance.
    pub fn known(&self) -> &[Item] {
        match self {
            Self::Known { items, .. } => items,
            Self::Listed(_) => &[],
        }
    }

    /// How many there are, if that is known.
    pub fn count(&self) -> Option<u64> {
        match self {
            Self::Known { items, .. } => Some(items.len() as u64),
            Self::Listed(_) => None,
        }
    }

    /// Those whose place in the listing, from 0, is taken.
    #[must_use]
    pub fn of_places(self, takes: impl Fn(usize) -> bool + Send + 'static) -> Self {
        // A list that is none is so for all parts.
        let is_for_all = |item: &Item| item.source.refused().is_err();
        let taken = move |(place, item): (usize, Item)| (takes(place) || is_for_all(&item)).then_some(item);
        match self {
            Self::Known { items, passed } => {
                Self::Known { items: items.into_iter().enumerate().filter_map(taken).collect(), passed }
            }
            Self::Listed(items) => Self::Listed(Box::new(items.enumerate().filter_map(taken))),
        }
    }

    /// These and then those: known in advance if both are.
    fn and(self, next: Self) -> Self {
        match (self, next) {
            (Self::Known { mut items, mut passed }, Self::Known { items: more, passed: more_passed }) => {
                items.extend(more);
                passed.others += more_passed.others;
                passed.not_read.add(&more_passed.not_read);
                passed.empty.extend(more_passed.empty);
                Self::Known { items, passed }
            }
            (first, second) => Self::Listed(Box::new(first.into_iter().chain(second))),
        }
    }
}

/// The images of all inputs, in order.
///
/// # Errors
/// An input cannot be opened.
pub fn gather(inputs: Vec<Input>) -> Result<Images, InputError> {
    let none = Images::Known { items: Vec::new(), passed: PassedOver::default() };
    inputs.into_iter().try_fold(none, |images, input| Ok(images.and(input.images()?)))
}

impl IntoIterator for Images {
    type Item = Item;
    type IntoIter = Box<dyn Iterator<Item = Item> + Send>;

    fn into_iter(self) -> Self::IntoIter {
        match self {
            Self::Known { items, .. } => Box::new(items.into_iter()),
            Self::Listed(items) => items,
        }
    }
}

impl fmt::Debug for Images {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known { items, .. } => write!(formatter, "{} images", items.len()),
            Self::Listed(_) => formatter.write_str("listed images"),
        }
    }
}
