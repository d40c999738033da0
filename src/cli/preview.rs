//! What a job would do, in words, for `--dry-run`.

use std::fmt::Write as _;

use serde_json::json;

use super::parts::Parts;
use crate::{
    input::Images,
    job::{Bound, Prepared},
    output::readable_size,
};

/// A line for each fact.
pub(super) fn describe(prepared: &Prepared, parts: Option<&Parts>) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<8}{value}");
    };
    let (job, contents) = (prepared.job(), prepared.contents());
    let repeats_shards = job.destination.repeats_shards();
    line(
        if repeats_shards { "shards" } else { "images" },
        match (prepared.images(), prepared.remaining()) {
            (Images::Known { items, others, .. }, Some(left)) => {
                let mut value = format!("{}, {left} to do", items.len());
                if *others > 0 {
                    let _ = write!(value, "; {others} other files are passed over");
                }
                value
            }
            _ => "as they are listed".into(),
        },
    );
    for tensor in &contents.tensors {
        let shape = tensor.shape.as_ref();
        let shape = shape.map_or("of the picture's size".into(), |shape| format!("{shape:?}"));
        line("tensor", format!("{} {shape} {}", tensor.name, contents.dtype.name()));
    }
    line("model", contents.settings.get("model").unwrap_or_default().to_owned());
    line("compute", format!("{} threads, batches of {}", job.options.threads, job.batch));
    line("output", job.destination.describe(contents));
    for drawing in &job.drawings {
        let place = drawing.path().map_or("standard output".into(), |path| path.display().to_string());
        line("drawing", format!("{place}, .png"));
    }
    if let (Some((Some(needed), free)), Some((bound, image))) = (prepared.space(), prepared.image_bytes()) {
        let free = free.map_or("unknown".into(), readable_size);
        let bound = match bound {
            Bound::Exactly => "",
            Bound::AtLeast => "at least ",
            Bound::AtMost => "at most ",
        };
        line(
            "space",
            format!("{bound}{} needed, {image} bytes an image; {free} free", readable_size(needed)),
        );
    }
    text.push_str(&parts.map(Parts::describe).unwrap_or_default());
    text
}

/// The facts that a program wants, as one line of JSON: how many images, or shards where the output repeats them, there are and
/// remain to be done, where that is known, and which parts of the job are complete.
pub(super) fn json(prepared: &Prepared, parts: &Parts) -> String {
    let mut facts = json!({
        "images": prepared.images().count(),
        "remaining": prepared.remaining(),
        "output": prepared.job().destination.path(),
    });
    if let (Some(facts), Ok(serde_json::Value::Object(parts))) =
        (facts.as_object_mut(), serde_json::to_value(parts))
    {
        facts.extend(parts);
    }
    facts.to_string()
}
