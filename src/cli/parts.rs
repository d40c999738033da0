//! Which parts of a job are complete, for `--dry-run`.

use std::fmt::Write as _;

use serde::Serialize;

use super::{args::Args, hints::told, settled::Settled};
use crate::{job::Prepared, model::ModelSpec, output::Part};

/// The parts of a job; one that is not split is its only part.
#[derive(Debug, Serialize)]
pub(super) struct Parts {
    /// How many there are.
    parts: usize,
    /// Those with nothing left to do.
    complete: Vec<usize>,
    /// The others, as Slurm's `--array` takes them.
    missing: String,
}

impl Parts {
    /// Looks at all parts of the job that the arguments ask for one of. The error is what to say.
    pub(super) fn of(args: &Args, model: &ModelSpec, prepared: &Prepared) -> Result<Self, String> {
        let count = args.part.map_or(1, |part| part.count);
        let mut complete = Vec::new();
        for index in 0..count {
            let is_complete = match args.part {
                Some(part) if part.index != index => {
                    let args = Args { part: Some(Part { index, count }), ..args.clone() };
                    let settled = Settled::new(args).map_err(|error| error.to_string())?;
                    let (job, _) = settled.with_model(model.clone());
                    job.prepare().map_err(|error| told(&error))?.is_complete()
                }
                _ => prepared.is_complete(),
            };
            if is_complete {
                complete.push(index);
            }
        }
        let missing: Vec<usize> = (0..count).filter(|index| !complete.contains(index)).collect();
        Ok(Self { parts: count, complete, missing: array(&missing) })
    }

    /// A line for each fact.
    pub(super) fn describe(&self) -> String {
        let missing = if self.missing.is_empty() { "none" } else { &self.missing };
        format!("parts   {}, {} complete\nmissing {missing}\n", self.parts, self.complete.len())
    }
}

/// `0-3,7`
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
