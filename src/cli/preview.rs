//! What a job would do, in words, for `--dry-run`.

use std::fmt::Write as _;

use serde_json::json;

use crate::{
    job::{Bound, Prepared},
    output::readable_size,
};

/// A line for each fact. Of the job's parts, `complete` says which have nothing left to do.
pub(super) fn describe(prepared: &Prepared, complete: &[bool]) -> String {
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
    if job.part.is_some() {
        let done = those(complete, true).len();
        line("parts", format!("{}, {done} complete", complete.len()));
        let missing = array(&those(complete, false));
        line("missing", if missing.is_empty() { "none".into() } else { missing });
    }
    text
}

/// The facts that a program wants, as one line of JSON: how many images, or shards where the output repeats them, there are and
/// remain to be done and how many bytes will be written, where that is known, and which parts of the job are complete.
pub(super) fn json(prepared: &Prepared, complete: &[bool]) -> String {
    let mut facts = json!({
        "images": prepared.count(),
        "remaining": prepared.remaining(),
        "bytes": prepared.space().and_then(|(needed, _)| needed),
        "output": prepared.plan().path(),
        "parts": complete.len(),
        "complete": those(complete, true),
        "missing": array(&those(complete, false)),
    });
    let passed_over = prepared.passed_over();
    if passed_over.others > 0 {
        facts["passed_over"] = json!(passed_over.others);
    }
    let not_read = &passed_over.not_read;
    if !not_read.is_empty() {
        facts["not_read"] = json!(not_read);
    }
    facts.to_string()
}

/// The parts that are complete, or those that are not.
fn those(complete: &[bool], wanted: bool) -> Vec<usize> {
    (0..complete.len()).filter(|&index| complete[index] == wanted).collect()
}

/// `0-3,7`, as Slurm's `--array` takes it.
fn array(numbers: &[usize]) -> String {
    let mut text = String::new();
    for run in numbers.chunk_by(|a, b| a + 1 == *b) {
        let separator = if text.is_empty() { "" } else { "," };
        let _ = match run {
            [one] => write!(text, "{separator}{one}"),
            _ => write!(text, "{separator}{}-{}", run[0], run[run.len() - 1]),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::array;

    #[test]
    fn runs_are_written_as_slurm_takes_them() {
        assert_eq!(array(&[0, 1, 2, 3, 7]), "0-3,7");
        assert_eq!(array(&[]), "");
        assert_eq!(array(&[2, 4, 5]), "2,4-5");
    }
}
