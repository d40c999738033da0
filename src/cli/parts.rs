//! Which parts of a job are complete, for `--dry-run`.

use std::fmt::Write as _;

use serde::Serialize;

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
    /// Says of each whether it is complete.
    pub(super) fn of(complete: &[bool]) -> Self {
        let those = |wanted: bool| (0..complete.len()).filter(|&index| complete[index] == wanted).collect();
        let missing: Vec<usize> = those(false);
        Self { parts: complete.len(), complete: those(true), missing: array(&missing) }
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
