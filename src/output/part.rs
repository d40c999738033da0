//! One of several parts of a job.

use std::{fmt, num::NonZero, str::FromStr};

use serde::{Deserialize, Serialize};

/// One of several processes that do a job together: each takes every `count`th of what is listed.
///
/// ```
/// use clip_features::Part;
///
/// let part: Part = "3/16".parse().unwrap();
/// assert!(part.takes(19));
/// assert!("0/0".parse::<Part>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Which, from 0.
    pub index: usize,
    /// How many there are.
    pub count: NonZero<usize>,
}

/// More than any cluster runs at once.
const MOST: usize = 99_999;

impl Part {
    /// Whether it takes what stands at this place of the listing.
    pub fn takes(self, place: usize) -> bool {
        place % self.count.get() == self.index
    }
}

/// `part-03-of-16`, so that the names of all parts sort.
impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.count.to_string().len();
        write!(formatter, "part-{:0digits$}-of-{}", self.index, self.count)
    }
}

/// `I/N`
impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text
            .split_once('/')
            .and_then(|(index, count)| Some(Self { index: index.parse().ok()?, count: count.parse().ok()? }));
        match numbers {
            Some(part) if part.index < part.count.get() && part.count.get() <= MOST => Ok(part),
            Some(_) => Err(format!("{text} is no part, which are 0/N to N-1/N, with N at most {MOST}")),
            None => Err(format!("{text:?} is no part, expected I/N such as 0/16")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_written_from_0() {
        let part: Part = "3/16".parse().unwrap();
        assert_eq!(part.to_string(), "part-03-of-16");
        assert_eq!((0..40).filter(|&place| part.takes(place)).collect::<Vec<_>>(), [3, 19, 35]);
        for text in ["16/16", "3", "a/b", "-1/2", "0/0", "0/100000"] {
            assert!(text.parse::<Part>().unwrap_err().contains("is no part"), "{text}");
        }
    }
}
