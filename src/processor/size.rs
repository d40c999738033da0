//! Sizes in a `preprocessor_config.json`, which spells them in many ways.

use serde_json::Value;

use super::error::{ConfigError, wrong};

/// The longest edge that a config may ask for: Pillow's own pictures end there.
pub(super) const MAX_EDGE: u64 = 65_535;

/// What a picture is resized to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// The shorter edge becomes this long and the aspect is kept; with a limit, the longer edge stays within it.
    ShortestEdge {
        /// Pixels of the shorter edge.
        edge: u32,
        /// Pixels that the longer edge may have at most.
        longest: Option<u32>,
    },
    /// Exactly this, whatever the aspect.
    Exact {
        /// Rows.
        height: u32,
        /// Columns.
        width: u32,
    },
    /// The smallest size with the picture's aspect that has these edges at least; a square is [`Size::ShortestEdge`].
    Cover {
        /// Rows at least.
        height: u32,
        /// Columns at least.
        width: u32,
    },
    /// The picture's own shape in whole patches: the shorter edge this long, each edge rounded down.
    Patches {
        /// Pixels of the shorter edge.
        edge: u32,
        /// Pixels of a patch's edge.
        patch: u32,
    },
    /// The picture's aspect, one edge that of a size and the other rounded: the edge that leaves the other within it, or the one that
    /// lets the other exceed it. open_clip's and timm's `ResizeKeepRatio`.
    KeepRatio {
        /// Rows of the size.
        height: u32,
        /// Columns of the size.
        width: u32,
        /// Whether the picture stays within.
        longest: bool,
    },
    /// The largest size with the picture's aspect inside these limits.
    Within {
        /// Rows at most.
        height: u32,
        /// Columns at most.
        width: u32,
    },
    /// As large as the picture's aspect allows, in whole patches and no more of them than this: SigLIP 2 NaFlex's.
    MaxNumPatches {
        /// Edge of a patch in pixels.
        patch_size: u32,
        /// Patches at most.
        max_num_patches: u32,
    },
}

pub(super) fn edge(field: &str, value: &Value) -> Result<u32, ConfigError> {
    match value.as_u64() {
        Some(number @ 1..=MAX_EDGE) => Ok(number as u32),
        _ => Err(wrong(field, value, &format!("a whole number from 1 to {MAX_EDGE}"))),
    }
}

/// `[height, width]`, if `value` is an array of two.
fn pair(field: &str, value: &Value) -> Result<Option<(u32, u32)>, ConfigError> {
    match value.as_array().map(Vec::as_slice) {
        Some([height, width]) => Ok(Some((edge(field, height)?, edge(field, width)?))),
        _ => Ok(None),
    }
}

/// The field `image_grid_pinpoints`: pairs of height and width.
pub(super) fn pinpoints(value: &Value) -> Result<Vec<(u32, u32)>, ConfigError> {
    let field = "image_grid_pinpoints";
    let expected = || wrong(field, value, "a list of one or more [height, width]");
    let items = value.as_array().filter(|items| !items.is_empty()).ok_or_else(expected)?;
    items.iter().map(|item| pair(field, item)?.ok_or_else(expected)).collect()
}

/// A number for both, or height and width.
pub(super) fn square_or_pair(field: &str, value: &Value) -> Result<(u32, u32), ConfigError> {
    match pair(field, value)? {
        Some(pair) => Ok(pair),
        None => edge(field, value).map(|edge| (edge, edge)),
    }
}

/// The entries of a size object, its absent ones and nulls left out, in the order of `keys`; none if there are others.
fn entries<'a, const N: usize>(value: &'a Value, keys: [&str; N]) -> Option<[&'a Value; N]> {
    let object = value.as_object()?;
    let given = object.values().filter(|value| !value.is_null()).count();
    let found: Vec<&Value> =
        keys.iter().filter_map(|key| object.get(*key)).filter(|value| !value.is_null()).collect();
    (given == N).then(|| found.try_into().ok()).flatten()
}

/// The field `size`, in any of its spellings.
pub(super) fn size(value: &Value, default_to_square: bool) -> Result<Size, ConfigError> {
    if value.is_number() {
        let edge = edge("size", value)?;
        return Ok(if default_to_square {
            Size::Exact { height: edge, width: edge }
        } else {
            Size::ShortestEdge { edge, longest: None }
        });
    }
    if let Some((height, width)) = pair("size", value)? {
        return Ok(Size::Exact { height, width });
    }
    if let Some([shortest]) = entries(value, ["shortest_edge"]) {
        return Ok(Size::ShortestEdge { edge: edge("size.shortest_edge", shortest)?, longest: None });
    }
    if let Some([shortest, longest]) = entries(value, ["shortest_edge", "longest_edge"]) {
        return Ok(Size::ShortestEdge {
            edge: edge("size.shortest_edge", shortest)?,
            longest: Some(edge("size.longest_edge", longest)?),
        });
    }
    if let Some([height, width]) = entries(value, ["height", "width"]) {
        return Ok(Size::Exact { height: edge("size.height", height)?, width: edge("size.width", width)? });
    }
    if let Some([height, width]) = entries(value, ["max_height", "max_width"]) {
        return Ok(Size::Within {
            height: edge("size.max_height", height)?,
            width: edge("size.max_width", width)?,
        });
    }
    let expected = "a number, or an object with shortest_edge, shortest_edge and longest_edge, height and width, or max_height and max_width";
    Err(wrong("size", value, expected))
}

/// The field `crop_size`: height and width.
pub(super) fn crop_size(value: &Value) -> Result<(u32, u32), ConfigError> {
    if value.is_number() {
        let edge = edge("crop_size", value)?;
        return Ok((edge, edge));
    }
    if let Some(pair) = pair("crop_size", value)? {
        return Ok(pair);
    }
    match entries(value, ["height", "width"]) {
        Some([height, width]) => Ok((edge("crop_size.height", height)?, edge("crop_size.width", width)?)),
        None => Err(wrong("crop_size", value, "a number, or an object with height and width")),
    }
}
