//! What a job would do, in words, for `--dry-run`.

use std::fmt::Write as _;

use serde_json::json;

use super::parts::Parts;
use crate::{
    job::{Bound, Prepared},
    output::readable_size,
};

/// A line for each fact.
pub(super) fn describe(prepared: &Prepared, parts: &Parts) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<8}{value}");
    };
    let (job, plan, contents) = (prepared.job(), prepared.plan(), prepared.contents());
    line(
        if plan.repeats_tars() { "tars" } else { "images" },
        match (prepared.count(), prepared.remaining()) {
            (Some(count), Some(left)) => {
                let mut value = format!("{count}, {left} to do");
                let passed = prepared.passed_over();
                if passed.others > 0 {
                    let _ = write!(value, "; {} other files are passed over", passed.others);
                }
                if !passed.not_read.is_empty() {
                    let _ = write!(value, ", pictures that are not read among them: {}", passed.not_read);
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
    line("compute", format!("{} threads, batches of {}", job.options.threads, prepared.batch()));
    line("output", plan.describe(contents));
    if let (Some((Some(needed), free)), Some((bound, image))) = (prepared.space(true), prepared.image_bytes())
    {
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
    if job.part.is_some() {
        text.push_str(&parts.describe());
    }
    text
}

/// The facts that a program wants, as one line of JSON: how many images, or shards where the output repeats them, there are and
/// remain to be done and how many bytes will be written, where that is known, and which parts of the job are complete.
pub(super) fn json(prepared: &Prepared, parts: &Parts) -> String {
    let mut facts = json!({
        "images": prepared.count(),
        "remaining": prepared.remaining(),
        "bytes": prepared.space(true).and_then(|(needed, _)| needed),
        "output": prepared.plan().path(),
    });
    let passed_over = prepared.passed_over();
    if passed_over.others > 0 {
        facts["passed_over"] = json!(passed_over.others);
    }
    let not_read = &passed_over.not_read;
    if !not_read.is_empty() {
        facts["not_read"] = json!(not_read);
    }
    if let (Some(facts), Ok(serde_json::Value::Object(parts))) =
        (facts.as_object_mut(), serde_json::to_value(parts))
    {
        facts.extend(parts);
    }
    facts.to_string()
}
