//! The fields of a `config.json`, as every family spells them.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::bounded::excerpt;

/// The fields of a config, by their names; the error names the field that is wrong, what it is and what it should be.
pub(super) fn fields<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_path_to_error::deserialize(&value).map_err(|error| {
        let found = at(&value, error.path());
        let reason = error.inner().to_string();
        match reason.rsplit_once("expected ") {
            Some((_, expected)) => wrong(&error.path().to_string(), found, plain(expected, found)),
            None if matches!(error.path().iter().next(), None | Some(Segment::Unknown)) => reason,
            None => format!("{}: {reason}", error.path()),
        }
    })
}

/// A field that is a text, where it is there.
pub(super) fn text<'a>(root: &'a Value, field: &str) -> Result<Option<&'a str>, String> {
    match root.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(wrong(field, Some(other), "a text")),
    }
}

/// `hidden_size is "x", expected a whole number`
pub(super) fn wrong(field: &str, found: Option<&Value>, expected: &str) -> String {
    let found = found.map_or("not there".to_owned(), |value| excerpt(&value.to_string()));
    let field = if field == "." { "the config" } else { field };
    format!("{field} is {found}, expected {expected}")
}

/// The value at a path, if there is one.
fn at<'a>(root: &'a Value, path: &Path) -> Option<&'a Value> {
    path.iter().try_fold(root, |value, segment| match segment {
        Segment::Seq { index } => value.get(index),
        Segment::Map { key } => value.get(key),
        Segment::Enum { .. } | Segment::Unknown => Some(value),
    })
}

/// What serde calls a type, in plain words.
fn plain<'a>(expected: &'a str, found: Option<&Value>) -> &'a str {
    match expected {
        "usize" | "u64" | "u32" | "u16" | "u8" => match found.and_then(Value::as_f64) {
            Some(number) if number < 0.0 => "a whole number that is not negative",
            Some(number) if number.fract() == 0.0 && number.abs() > 1e15 => "a smaller number",
            _ => "a whole number",
        },
        "i64" | "i32" => "a whole number",
        "f64" | "f32" => "a number",
        "a string" => "a text",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "an object",
        other if other.starts_with("struct ") => "an object",
        other => other,
    }
}

/// An edge length: transformers accepts an integer or a pair.
#[derive(Deserialize, Serialize)]
#[serde(untagged, expecting = "expected a whole number, or a pair of them")]
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

#[cfg(test)]
mod tests {
    use crate::model::config::VisionConfig;

    #[test]
    fn a_field_of_another_type_is_told_in_plain_words() {
        let long =
            format!(r#"{{"model_type": "clip_vision_model", "hidden_act": [{}1]}}"#, "1, ".repeat(1000));
        for (text, reason) in [
            (r#"{"model_type": 3}"#, "model_type is 3, expected a text"),
            (
                r#"{"model_type": "clip", "vision_config": {"model_type": []}}"#,
                "model_type is [], expected a text",
            ),
            (r#"{"model_type": "clip", "vision_config": 5}"#, "vision_config is 5, expected an object"),
            (
                r#"{"model_type": "llava", "vision_config": "x"}"#,
                r#"vision_config is "x", expected an object"#,
            ),
            ("[1]", "the config is [1], expected an object"),
            (
                r#"{"model_type": "clip_vision_model", "hidden_size": "x"}"#,
                r#"hidden_size is "x", expected a whole number"#,
            ),
            (
                r#"{"model_type": "clip_vision_model", "hidden_size": 2.5}"#,
                "hidden_size is 2.5, expected a whole number",
            ),
            (
                r#"{"model_type": "clip_vision_model", "hidden_size": -1}"#,
                "hidden_size is -1, expected a whole number that is not negative",
            ),
            (
                r#"{"model_type": "clip_vision_model", "hidden_size": 1e30}"#,
                "hidden_size is 1e+30, expected a smaller number",
            ),
            (
                r#"{"model_type": "siglip_vision_model", "layer_norm_eps": [1]}"#,
                "layer_norm_eps is [1], expected a number",
            ),
            (r#"{"model_type": "clip_vision_model", "hidden_act": 1}"#, "hidden_act is 1, expected a text"),
            (
                r#"{"model_type": "dinov2", "use_swiglu_ffn": "yes"}"#,
                r#"use_swiglu_ffn is "yes", expected true or false"#,
            ),
            (
                r#"{"model_type": "clip_vision_model", "image_size": "large"}"#,
                r#"image_size is "large", expected a whole number, or a pair of them"#,
            ),
            (r#"{"architecture": 7}"#, "architecture is 7, expected a text"),
            (
                r#"{"architecture": "vit_base_patch16_224", "model_args": {"depth": "x"}}"#,
                r#"depth is "x", expected a whole number"#,
            ),
            (r#"{"model_cfg": {"embed_dim": 512}}"#, "missing field `vision_cfg`"),
            (r#"{"model_cfg": {"embed_dim": 512, "vision_cfg": 3}}"#, "vision_cfg is 3, expected an object"),
        ] {
            assert_eq!(VisionConfig::from_json(text).unwrap_err(), reason, "{text}");
        }
        let reason = VisionConfig::from_json(&long).unwrap_err();
        assert!(reason.len() < 200 && reason.ends_with("…, expected a text"), "{reason}");
    }
}
