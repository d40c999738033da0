//! The size of the tower's input, where the user has another wish than the config.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What the processor resizes and crops to.
///
/// ```
/// use clip_features::ImageSize;
///
/// assert_eq!("448".parse(), Ok(ImageSize::Edge(448)));
/// assert_eq!("224x448".parse(), Ok(ImageSize::Exact { height: 224, width: 448 }));
/// assert!("448x".parse::<ImageSize>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageSize {
    /// One length, wherever the config has one.
    Edge(u32),
    /// The tower's input exactly.
    Exact {
        /// Rows.
        height: u32,
        /// Columns.
        width: u32,
    },
}

/// The longest edge that can be asked for.
const LONGEST: u32 = 16_384;

/// `N` or `HEIGHTxWIDTH`.
impl FromStr for ImageSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let edge = |text: &str| {
            let edge = text.parse().ok().filter(|edge| (1..=LONGEST).contains(edge));
            edge.ok_or_else(|| format!("expected N or HEIGHTxWIDTH, each from 1 to {LONGEST}"))
        };
        match text.split_once('x') {
            None => Ok(Self::Edge(edge(text)?)),
            Some((height, width)) => Ok(Self::Exact { height: edge(height)?, width: edge(width)? }),
        }
    }
}

impl fmt::Display for ImageSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Edge(edge) => write!(formatter, "{edge}"),
            Self::Exact { height, width } => write!(formatter, "{height}x{width}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_size_is_read_as_it_is_written(height in 1..=LONGEST, width in 1..=LONGEST, text in ".{0,12}") {
            for size in [ImageSize::Edge(height), ImageSize::Exact { height, width }] {
                prop_assert_eq!(size.to_string().parse(), Ok(size));
            }
            if let Ok(size) = text.parse::<ImageSize>() {
                prop_assert_eq!(size.to_string().parse(), Ok(size));
            }
        }
    }

    #[test]
    fn a_size_is_one_edge_or_rows_by_columns() {
        for text in ["1", "448", "224x448", "16384x1"] {
            assert_eq!(text.parse::<ImageSize>().unwrap().to_string(), text);
        }
        for text in ["", "0", "x", "3x", "x3", "3x0", "1x2x3", "-1", "16385", "3x16385", "3 x 4", "3.5"] {
            assert!(text.parse::<ImageSize>().unwrap_err().contains("HEIGHTxWIDTH"), "{text}");
        }
    }
}
