//! The last stage: each image's outcome into the target and onto the screen, in order.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    sync::OnceLock,
    time::Duration,
};

use clip_features::{
    extractor::Picture,
    input::Item,
    output::{Array, OutputError},
    pipeline::{Failure, Outcome, Stage},
};

use crate::{
    cli::{
        FailureFacts, Features, ImageFacts, Plan, Progress, Report, Seconds, Tally, Target, printable,
        seconds,
    },
    run::Ended,
    sink::{Sink, Stored, is_closed_pipe},
};

/// What the writing thread needs.
pub(crate) struct Writer<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) stored: Stored<'a>,
    pub(crate) sink: Sink,
    pub(crate) progress: Progress,
    pub(crate) failures: Option<File>,
    /// Rows and columns of patches, of a token tensor.
    pub(crate) grid: Option<[usize; 2]>,
    /// How long loading the weights took, for the first image's report.
    pub(crate) load: &'a OnceLock<Duration>,
}

impl Writer<'_> {
    /// Takes an image's outcome.
    pub(crate) fn take(&mut self, item: Item, outcome: Outcome) -> Result<(), Ended> {
        match outcome {
            Outcome::Skipped => {
                self.progress.step(|tally| tally.skipped += 1);
                self.report(&Report {
                    path: item.source.to_string(),
                    status: "skipped",
                    features: None,
                    failure: None,
                })
            }
            Outcome::Failed(failure) => self.failed(&item, &failure),
            Outcome::Done { arrays, picture, preprocess, encode } => {
                match self.sink.write(&item, &arrays, self.stored) {
                    Ok(output) => self.done(&item, &arrays, &picture, output, preprocess, encode),
                    Err(error @ OutputError::Misplaced { .. }) => {
                        self.failed(&item, &Failure { stage: Stage::Write, reason: error.to_string() })
                    }
                    Err(error) if is_closed_pipe(&error) => Err(Ended::ReaderGone),
                    Err(error) => Err(Ended::Refused(error.to_string())),
                }
            }
        }
    }

    fn done(
        &mut self,
        item: &Item,
        arrays: &[Array],
        picture: &Picture,
        output: Option<String>,
        preprocess: Duration,
        encode: Duration,
    ) -> Result<(), Ended> {
        let path = item.source.to_string();
        if !self.plan.quiet {
            for warning in &picture.warnings {
                self.progress.say("warning", &format!("{}: {warning}", printable(&path)));
            }
        }
        let is_first = self.progress.tally().done == 0;
        self.progress.step(|tally| tally.done += 1);
        let is_tower = self.grid.is_some();
        for array in arrays {
            let features = Features {
                tensor: &array.name,
                shape: &array.shape,
                dtype: self.plan.dtype.name(),
                tokens: is_tower.then(|| self.plan.request.tokens.name()),
                grid: self.grid,
                image: ImageFacts::of(picture),
                model: self.stored.settings.get("model").unwrap_or_default(),
                revision: self.stored.settings.get("revision"),
                weights: self.stored.settings.get("weights"),
                output: output.clone().or_else(|| Some(self.plan.target.path()?.display().to_string())),
                seconds: Seconds {
                    preprocess: seconds(preprocess),
                    load: self.load.get().filter(|_| is_first).copied().map(seconds),
                    encode: is_tower.then(|| seconds(encode)),
                },
            };
            self.report(&Report {
                path: path.clone(),
                status: "done",
                features: Some(features),
                failure: None,
            })?;
        }
        Ok(())
    }

    fn failed(&mut self, item: &Item, failure: &Failure) -> Result<(), Ended> {
        let path = item.source.to_string();
        self.progress.say("error", &format!("{}: {}", printable(&path), failure.reason));
        self.progress.step(|tally| tally.failed += 1);
        let record =
            Report { path, status: "failed", features: None, failure: Some(FailureFacts::of(failure)) };
        if let (Some(file), Some(path)) = (&mut self.failures, &self.plan.failures) {
            writeln!(file, "{}", record.json()).map_err(|error| cannot_write(path, &error))?;
        }
        self.report(&record)?;
        match self.plan.max_failures {
            Some(most) if self.progress.tally().failed >= most => Err(Ended::TooManyFailures),
            _ => Ok(()),
        }
    }

    /// Prints a report where one is wanted.
    fn report(&self, report: &Report<'_>) -> Result<(), Ended> {
        let line = if self.plan.json {
            report.json()
        } else if self.plan.target == Target::Nothing {
            match report.text() {
                Some(line) => line,
                None => return Ok(()),
            }
        } else {
            return Ok(());
        };
        self.progress.aside(|| print_line(&line))
    }

    /// Completes the target, unless the run was cut short, and says how it went.
    pub(crate) fn end(
        self,
        ran: &Result<(), Ended>,
        interrupted: bool,
        is_batch: bool,
    ) -> Result<Tally, Ended> {
        let tally = self.progress.tally();
        self.progress.clear();
        let cut_short = interrupted || ran.is_err();
        if !cut_short {
            self.sink.finish().map_err(|error| Ended::Refused(error.to_string()))?;
        }
        if !is_batch || self.plan.quiet || matches!(ran, Err(Ended::ReaderGone)) {
            return Ok(tally);
        }
        let summary = self.progress.summary();
        match self.plan.target {
            _ if !cut_short => self.progress.say("finished", &summary),
            Target::Tree(_) | Target::Archive(_) => {
                self.progress.say("stopped", &format!("{summary}; the same command goes on where it was"));
            }
            _ => self.progress.say("stopped", &summary),
        }
        Ok(tally)
    }
}

/// Opens the file of `--failures`.
pub(crate) fn create_failures(path: &Path) -> Result<File, Ended> {
    File::create(path).map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &io::Error) -> Ended {
    Ended::Refused(format!("{}: cannot be written: {error}", path.display()))
}

/// Prints on standard output, at once, since a reader may be waiting for the line.
pub(crate) fn print_line(line: &str) -> Result<(), Ended> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Ended::ReaderGone),
        Err(error) => Err(Ended::Refused(format!("standard output cannot be written: {error}"))),
    }
}
