//! What is printed about an image.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    time::Duration,
};

use clip_features::{extractor::Picture, pipeline::Failure};
use serde::Serialize;

/// The facts of one image, one line in either form.
#[derive(Debug, Serialize)]
pub(crate) struct Report<'a> {
    pub(crate) path: String,
    /// `done`, `skipped` or `failed`.
    pub(crate) status: &'static str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) features: Option<Features<'a>>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<FailureFacts<'a>>,
}

/// What an image that was extracted has.
#[derive(Debug, Serialize)]
pub(crate) struct Features<'a> {
    pub(crate) tensor: &'a str,
    pub(crate) shape: &'a [usize],
    pub(crate) dtype: &'a str,
    /// Which tokens, of a token tensor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tokens: Option<&'a str>,
    /// The tokens in the order in which they stand, of a token tensor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) layout: Option<TokenCounts>,
    /// Rows and columns of the patches, of a tensor that the tower gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) grid: Option<[usize; 2]>,
    /// Left, top, right and bottom of the picture's part that the patches show, in its pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) grid_box: Option<[f64; 4]>,
    /// The same of the part that the processor took; beyond the picture where it padded.
    pub(crate) crop_box: [f64; 4],
    pub(crate) image: ImageFacts,
    pub(crate) model: &'a str,
    /// The commit, of a model of the hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revision: Option<&'a str>,
    /// The weights' fingerprint, of a tensor that they made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) weights: Option<&'a str>,
    /// The file, or the archive, that holds the tensor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<String>,
    pub(crate) seconds: Seconds,
}

/// How many tokens of each kind a tensor has.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct TokenCounts {
    pub(crate) cls: usize,
    pub(crate) registers: usize,
    pub(crate) patches: usize,
}

/// Why an image failed; also a line of `--failures`.
#[derive(Debug, Serialize)]
pub(crate) struct FailureFacts<'a> {
    pub(crate) stage: &'static str,
    pub(crate) reason: &'a str,
}

impl<'a> FailureFacts<'a> {
    pub(crate) fn of(failure: &'a Failure) -> Self {
        Self { stage: failure.stage.name(), reason: &failure.reason }
    }
}

/// The picture as it was decoded.
#[derive(Debug, Serialize)]
pub(crate) struct ImageFacts {
    pub(crate) format: String,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl ImageFacts {
    pub(crate) fn of(picture: &Picture) -> Self {
        let format = format!("{:?}", picture.format).to_lowercase();
        Self { format, width: picture.width, height: picture.height }
    }
}

/// Wall-clock times.
#[derive(Debug, Serialize)]
pub(crate) struct Seconds {
    /// Reading, decoding, resizing, normalizing.
    pub(crate) preprocess: f64,
    /// Loading the weights, on the first image that needed them; where they are read in the forward pass, opening them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) load: Option<f64>,
    /// The image's share of its batch's forward pass, where there was one; a single image's reads its weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) encode: Option<f64>,
}

impl Report<'_> {
    /// `photo.jpg  last_hidden_state  [1, 257, 1024]  f32`; none for an image without features, which standard error
    /// speaks of.
    pub(crate) fn text(&self) -> Option<String> {
        let Features { tensor, shape, dtype, .. } = self.features.as_ref()?;
        Some(format!("{}  {tensor}  {shape:?}  {dtype}", printable(&self.path)))
    }

    /// The same facts and more, as one line of JSON.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).expect("a report has no map with other keys than strings")
    }
}

/// Rounded to microseconds, which is what a reader can use.
pub(crate) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e6
}

/// A name on one line: control characters, which could break it or drive a terminal, are escaped.
pub(crate) fn printable(name: &str) -> String {
    name.chars().fold(String::with_capacity(name.len()), |mut line, character| {
        if character.is_control() {
            let _ = write!(line, "{}", character.escape_default());
        } else {
            line.push(character);
        }
        line
    })
}

/// Prints a line on standard error. Where that is closed, there is nobody left to tell.
pub(crate) fn say(kind: &str, message: &str) {
    let _ = writeln!(io::stderr(), "{kind}: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_on_its_line() {
        assert_eq!(printable("a\nb\u{1b}[2Jü.png"), "a\\nb\\u{1b}[2Jü.png");
    }
}
