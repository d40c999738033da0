//! A run as a person, or a program on the other end of a pipe, sees it.

use std::{io, ops::ControlFlow};

use anyhow::Error;

use super::{
    exit::Exit,
    hints::{told, told_of_image},
    print::{after_printing, error_line, print_line, printable},
    progress::{Progress, ProgressMode},
    settled::Show,
    summary::Summary,
};
use crate::{
    job::{Ended, Event, Features, JobError, Record, Status},
    kernels::Compute,
    output::Dtype,
    shard::NotRead,
};

/// Shows the events of a run.
pub(super) struct Reporter<'a> {
    show: &'a Show,
    /// From the moment at which the work begins.
    progress: Option<Progress>,
    /// Why standard output cannot be written.
    unprintable: Option<io::Error>,
    /// Whether nobody reads what is printed any more, of a run that goes on for what it writes.
    unread: bool,
    /// The pictures and tars that are not read.
    not_read: NotRead,
}

impl<'a> Reporter<'a> {
    /// `not_read` is what was met of such when the inputs were listed.
    pub(super) fn new(show: &'a Show, not_read: NotRead) -> Self {
        Self { show, progress: None, unprintable: None, unread: false, not_read }
    }

    /// Shows an event; breaks off where nobody reads what is printed, and that is all there is.
    pub(super) fn take(&mut self, event: Event<'_>) -> ControlFlow<()> {
        match event {
            Event::Started { total } => {
                self.progress = Some(Progress::new(self.show.progress, total));
                if let Some(took) = self.show.took.as_ref().filter(|_| !self.show.args.quiet) {
                    self.say("note", None, took);
                }
                if self.show.warns_of_random_weights {
                    self.warn(None, "random weights: the features mean nothing");
                }
                if let Some(unit) = Compute::distrusted() {
                    let what = "multiplies otherwise than it should, and is not used";
                    self.warn(None, &format!("this CPU's {unit} {what}"));
                }
            }
            Event::Shard { path, passed_over, not_read, is_followed, is_empty } => {
                self.not_read.add(not_read);
                if is_followed {
                    let message =
                        "another tar follows its end, and is not read\nhint: give each tar by itself";
                    self.warn(Some(path), message);
                }
                if is_empty {
                    self.warn(Some(path), "holds no images");
                }
                if passed_over > 0 {
                    let what = "links, devices and sparse members in it were passed over";
                    self.warn(Some(path), &format!("{passed_over} {what}"));
                }
            }
            Event::Again(count) => {
                self.warn(None, &format!("{count} images are named more than once, and taken once"));
            }
            Event::Notice { path, message } => self.warn(Some(&path.display().to_string()), message),
            Event::Image { status, warnings, records } => {
                self.tell(status, warnings, records);
                match self.print(records) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe && self.show.writes() => {
                        self.unread = true;
                    }
                    Err(error) => {
                        self.unprintable = Some(error);
                        return ControlFlow::Break(());
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Says on standard error what is to be said of an image, and counts it.
    fn tell(&mut self, status: Status, warnings: &[String], records: &[Record]) {
        for Record { input, failure, .. } in records {
            let failure = failure.as_ref().filter(|_| !self.show.told.contains(input));
            match (failure.map(told_of_image), status) {
                (Some(message), Status::Failed) => self.say("error", Some(input), &message),
                (Some(message), _) => self.warn(Some(input), &message),
                (None, _) => {}
            }
        }
        if let Some(record) = records.first() {
            warnings.iter().for_each(|warning| self.warn(Some(&record.input), warning));
        }
        let mut features = records.iter().filter_map(|one| Some((&one.input, one.features.as_ref()?)));
        if let (Some((input, of)), false) = (features.find(|(_, of)| of.not_finite > 0), self.show.is_batch) {
            let Features { not_finite, tensor, dtype, .. } = of;
            let hint = finite_hint(self.show.args.dtype);
            self.warn(
                Some(input),
                &format!("{not_finite} values of {tensor} are not finite in {dtype}{hint}"),
            );
        }
        if let Some(progress) = &mut self.progress {
            progress.step(status, records);
        }
    }

    /// Prints what is asked for on standard output.
    fn print(&self, records: &[Record]) -> io::Result<()> {
        for record in records.iter().filter(|_| !self.unread) {
            let line = if self.show.args.json {
                Some(record.json())
            } else {
                text(record).filter(|_| self.show.args.output.is_none())
            };
            line.map_or(Ok(()), |line| self.aside(|| print_line(&line)))?;
        }
        Ok(())
    }

    fn warn(&self, path: Option<&str>, message: &str) {
        self.aside(|| self.show.warn(path, message));
    }

    fn say(&self, kind: &str, path: Option<&str>, message: &str) {
        self.aside(|| self.show.say(kind, path, message));
    }

    /// Prints something without tearing the bar.
    fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.progress {
            Some(progress) => progress.aside(print),
            None => print(),
        }
    }

    /// Says how it went, and gives the exit code. An error that ended it is said first: the summary is the last word.
    pub(super) fn end(mut self, ran: Result<Ended, JobError>, resumes: bool) -> Exit {
        let ran = ran.map_err(Error::from);
        let mut ran = match self.unprintable.take() {
            Some(error) => after_printing(Err(error)).and(ran),
            None => ran,
        };
        let ended = ran.as_ref().ok().copied();
        let summary = self.progress.as_ref().map(|progress| {
            progress.clear();
            progress.summary().with(self.not_read.clone())
        });
        if let (Some(summary), true, true) = (&summary, self.show.args.json, self.show.is_batch)
            && ended != Some(Ended::Unheard)
            && !self.unread
        {
            // A reader that has gone after the last image has all that it wanted, and what ended the run matters more.
            let printed = after_printing(print_line(&summary.ended(ended)));
            ran = ran.and_then(|ended| printed.map(|_| ended));
        }
        if let Err(error) = &ran {
            self.say("error", None, &told(&**error));
        }
        if let Some(summary) = &summary {
            self.sum_up(summary, ran.as_ref().ok().copied(), resumes);
        }
        match ran {
            Ok(Ended::Complete | Ended::TooManyFailures)
                if summary.as_ref().is_some_and(|one| one.tally.failed > 0) =>
            {
                Exit::SomeFailed
            }
            Ok(Ended::Complete | Ended::TooManyFailures | Ended::Unheard) => Exit::Done,
            Ok(Ended::Stopped) => Exit::Interrupted,
            Err(_) => Exit::Refused,
        }
    }

    /// Says on standard error what became of the images. `ended` is none where an error ended it.
    fn sum_up(&self, summary: &Summary, ended: Option<Ended>, resumes: bool) {
        let words = summary.words();
        if self.show.progress == ProgressMode::Json {
            error_line(&summary.ended(ended));
        } else if !self.show.is_batch || self.show.args.quiet || ended == Some(Ended::Unheard) {
            // One image has its own line, the quiet have the exit code, and a reader that has gone has what it wanted.
        } else if ended == Some(Ended::Complete) {
            match summary.nothing_to_do() {
                Some(words) => self.say("nothing to do", None, &words),
                None => self.say("finished", None, &words),
            }
            if !summary.not_read.is_empty() {
                let (count, kinds) = (summary.not_read.count(), &summary.not_read);
                self.warn(None, &format!("{count} files of formats that are not read: {kinds}"));
            }
            if summary.tally.not_finite > 0 {
                let message = format!(
                    "{} images have values that are not finite{}",
                    summary.tally.not_finite,
                    finite_hint(self.show.args.dtype)
                );
                self.warn(None, &message);
            }
            if summary.tally.changed > 0 {
                let how = if self.show.updates { "--update" } else { "--overwrite" };
                let message = format!(
                    "{} images have changed since their features were made, which stay\nhint: {how} makes them again",
                    summary.tally.changed
                );
                self.warn(None, &message);
            }
        } else if resumes && ended == Some(Ended::Stopped) {
            let how = match self.show.args.overwrite {
                true => "without --overwrite, the same command",
                false => "the same command",
            };
            self.say("stopped", None, &format!("{words}; {how} goes on where it was"));
        } else {
            self.say("stopped", None, &words);
        }
    }
}

/// The way out of values that are not finite.
fn finite_hint(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F16 => "\nhint: f16 ends at 65504; --dtype f32 or bf16 holds larger ones",
        Dtype::F32 | Dtype::Bf16 => "\nhint: the model's weights or its config are to blame",
    }
}

/// `photo.jpg  last_hidden_state  [1, 257, 1024]  f32`; none for an image without features, which standard error
/// speaks of.
fn text(record: &Record) -> Option<String> {
    let features = record.features.as_ref()?;
    let (tensor, shape, dtype) = (&features.tensor, &features.shape, features.dtype);
    Some(format!("{}  {tensor}  {shape:?}  {dtype}", printable(&record.input)))
}
