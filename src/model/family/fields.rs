//! The fields of a `config.json`, as every family spells them.

use serde::{Deserialize, de::DeserializeOwned};

/// The fields of a config, by their names; the error names the field that is wrong.
pub(super) fn fields<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, String> {
    serde_path_to_error::deserialize(value).map_err(|error| format!("{}: {}", error.path(), error.inner()))
}

/// An edge length: transformers accepts an integer or a pair.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a number, or a pair of them")]
pub(super) enum Edge {
    Square(usize),
    Pair([usize; 2]),
}

pub(super) fn square(field: &str, edge: &Edge) -> Result<usize, String> {
    match *edge {
        Edge::Square(edge) => Ok(edge),
        Edge::Pair([height, width]) if height == width => Ok(height),
        Edge::Pair([height, width]) => {
            Err(format!("{field} is [{height}, {width}], only squares are supported"))
        }
    }
}

pub(super) fn check_channels(num_channels: usize) -> Result<(), String> {
    if num_channels != 3 {
        return Err(format!("num_channels is {num_channels}, only 3 (RGB) is supported"));
    }
    Ok(())
}
