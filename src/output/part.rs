//! One of several parts of a job.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// One of several processes that do a job together: each takes every `count`th of what is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which, from 0.
    pub index: usize,
    /// How many there are.
    pub count: usize,
}

/// More than any cluster runs at once.
const MOST: usize = 99_999;

impl Part {
    /// Whether it takes what stands at this place of the listing.
    pub fn takes(self, place: usize) -> bool {
        place % self.count == self.index
    }

    /// A file's name with the part's: `x-00003-of-00016.npy`.
    pub(super) fn file(self, path: &Path) -> PathBuf {
        let mut name = path.file_stem().unwrap_or_default().to_owned();
        name.push(format!("-{self}"));
        if let Some(extension) = path.extension() {
            name.push(".");
            name.push(extension);
        }
        path.with_file_name(name)
    }
}

/// `00003-of-00016`
impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:05}-of-{:05}", self.index, self.count)
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
            Some(part) if part.index < part.count && part.count <= MOST => Ok(part),
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
        assert_eq!(
            part.file(Path::new("a/features.safetensors")),
            Path::new("a/features-00003-of-00016.safetensors")
        );
        assert_eq!((0..40).filter(|&place| part.takes(place)).collect::<Vec<_>>(), [3, 19, 35]);
        for text in ["16/16", "3", "a/b", "-1/2", "0/0", "0/100000"] {
            assert!(text.parse::<Part>().unwrap_err().contains("is no part"), "{text}");
        }
    }
}
