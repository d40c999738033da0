//! A run as a person, or a program on the other end of a pipe, sees it.

use std::{io, ops::ControlFlow};

use super::{
    exit::Exit,
    hints::told_of_image,
    print::{cannot_print, error_line, print_line, printable},
    progress::{Progress, ProgressMode},
    settled::Show,
    summary::Summary,
};
use crate::{
    job::{Ended, Event, Record, Status},
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
        match (event, &mut self.progress) {
            (Event::Started { total }, progress) => {
                let progress = progress.insert(Progress::new(self.show.progress, total));
                if let Some(took) = &self.show.took {
                    progress.aside(|| self.show.voice.say("note", took));
                }
                if self.show.warns_of_random_weights {
                    let message = "random weights: the features mean nothing";
                    progress.aside(|| self.show.voice.say("warning", message));
                }
                if let Some(unit) = Compute::distrusted().filter(|_| !self.show.quiet) {
                    let what = "multiplies otherwise than it should, and is not used";
                    progress.aside(|| self.show.voice.say("warning", &format!("this CPU's {unit} {what}")));
                }
                ControlFlow::Continue(())
            }
            (Event::Shard { path, passed_over, not_read, is_followed, is_empty }, Some(progress)) => {
                self.not_read.add(not_read);
                if is_followed && !self.show.quiet {
                    let message =
                        "another tar follows its end, and is not read\nhint: give each tar by itself";
                    progress.aside(|| self.show.voice.say_of("warning", path, message));
                }
                if is_empty && !self.show.quiet {
                    progress.aside(|| self.show.voice.say_of("warning", path, "holds no images"));
                }
                if passed_over > 0 && !self.show.quiet {
                    let what = "links, devices and sparse members in it were passed over";
                    let message = format!("{passed_over} {what}");
                    progress.aside(|| self.show.voice.say_of("warning", path, &message));
                }
                ControlFlow::Continue(())
            }
            (Event::Image { status, warnings, records }, Some(progress)) => {
                match show_image(self.show, self.unread, progress, status, warnings, records) {
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe && self.show.writes => {
                        self.unread = true;
                        ControlFlow::Continue(())
                    }
                    Err(error) => {
                        self.unprintable = Some(error);
                        ControlFlow::Break(())
                    }
                    Ok(()) => ControlFlow::Continue(()),
                }
            }
            (Event::Again(count), Some(progress)) => {
                if !self.show.quiet {
                    let message = format!("{count} images are named more than once, and taken once");
                    progress.aside(|| self.show.voice.say("warning", &message));
                }
                ControlFlow::Continue(())
            }
            (Event::Notice { path, message }, Some(progress)) => {
                if !self.show.quiet {
                    progress
                        .aside(|| self.show.voice.say_of("warning", &path.display().to_string(), message));
                }
                ControlFlow::Continue(())
            }
            (_, None) => unreachable!("images come after the start"),
        }
    }

    /// Says how it went, and gives the exit code. Where an error ended it, `ran` is what to say of that, and is said first: the
    /// summary is the last word.
    pub(super) fn end(mut self, ran: Result<Ended, String>, resumes: bool) -> Exit {
        let mut ran = match self.unprintable.take().map(|error| cannot_print(&error)) {
            Some(Err(message)) => Err(message),
            _ => ran,
        };
        let summary = self.progress.as_ref().map(|progress| {
            progress.clear();
            progress.summary().with(self.not_read.clone())
        });
        if let (Some(summary), true, true) = (&summary, self.show.json, self.show.is_batch)
            && ran != Ok(Ended::Unheard)
            && !self.unread
        {
            // A reader that has gone after the last image has all that it wanted, and what ended the run matters more.
            let printed = print_line(&summary.ended(ran.as_ref().ok().copied()));
            if let (Err(error), true) = (printed, ran.is_ok()) {
                ran = cannot_print(&error).map_or_else(Err, |_| ran);
            }
        }
        if let Err(message) = &ran {
            self.show.voice.say("error", message);
        }
        if let Some(summary) = &summary {
            self.say(summary, ran.as_ref().ok().copied(), resumes);
        }
        match ran {
            Ok(Ended::Complete | Ended::TooManyFailures)
                if summary.as_ref().is_some_and(|one| one.failed > 0) =>
            {
                Exit::SomeFailed
            }
            Ok(Ended::Complete | Ended::TooManyFailures | Ended::Unheard) => Exit::Done,
            Ok(Ended::Stopped) => Exit::Interrupted,
            Err(_) => Exit::Refused,
        }
    }

    /// Says on standard error what became of the images. `ended` is none where an error ended it.
    fn say(&self, summary: &Summary, ended: Option<Ended>, resumes: bool) {
        let (words, voice) = (summary.words(), self.show.voice);
        if self.show.progress == ProgressMode::Json {
            error_line(&summary.ended(ended));
        } else if !self.show.is_batch || self.show.quiet || ended == Some(Ended::Unheard) {
            // One image has its own line, the quiet have the exit code, and a reader that has gone has what it wanted.
        } else if ended == Some(Ended::Complete) {
            match summary.nothing_to_do() {
                Some(words) => voice.say("nothing to do", &words),
                None => voice.say("finished", &words),
            }
            if !summary.not_read.is_empty() {
                let (count, kinds) = (summary.not_read.count(), &summary.not_read);
                voice.say("warning", &format!("{count} files of formats that are not read: {kinds}"));
            }
            if summary.not_finite > 0 {
                let message = format!(
                    "{} images have values that are not finite{}",
                    summary.not_finite,
                    finite_hint(self.show.dtype)
                );
                voice.say("warning", &message);
            }
            if summary.changed > 0 {
                let how = if self.show.updates { "--update" } else { "--overwrite" };
                let message = format!(
                    "{} images have changed since their features were made, which stay\nhint: {how} makes them again",
                    summary.changed
                );
                voice.say("warning", &message);
            }
        } else if resumes && ended == Some(Ended::Stopped) {
            let how = match self.show.overwrites {
                true => "without --overwrite, the same command",
                false => "the same command",
            };
            voice.say("stopped", &format!("{words}; {how} goes on where it was"));
        } else {
            voice.say("stopped", &words);
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

fn show_image(
    show: &Show,
    unread: bool,
    progress: &mut Progress,
    status: Status,
    warnings: &[String],
    records: &[Record],
) -> io::Result<()> {
    for record in records {
        if let Some(failure) = record.failure.as_ref().filter(|_| !show.told.contains(&record.input)) {
            let level = if status == Status::Failed { "error" } else { "warning" };
            if status == Status::Failed || !show.quiet {
                progress.aside(|| show.voice.say_of(level, &record.input, &told_of_image(failure)));
            }
        }
    }
    if let (Some(record), false) = (records.first(), show.quiet) {
        for warning in warnings {
            progress.aside(|| show.voice.say_of("warning", &record.input, warning));
        }
    }
    let not_finite = |record: &&Record| record.features.as_ref().is_some_and(|one| one.not_finite > 0);
    if let (Some(record), false, false) = (records.iter().find(not_finite), show.quiet, show.is_batch) {
        let features = record.features.as_ref().expect("it has some");
        let (count, tensor, dtype) = (features.not_finite, &features.tensor, features.dtype);
        let message =
            format!("{count} values of {tensor} are not finite in {dtype}{}", finite_hint(show.dtype));
        progress.aside(|| show.voice.say_of("warning", &record.input, &message));
    }
    progress.step(status, records);
    for record in records.iter().filter(|_| !unread) {
        let line = if show.json { Some(record.json()) } else { text(record).filter(|_| show.shapes) };
        line.map_or(Ok(()), |line| progress.aside(|| print_line(&line)))?;
    }
    Ok(())
}

/// `photo.jpg  last_hidden_state  [1, 257, 1024]  f32`; none for an image without features, which standard error
/// speaks of.
fn text(record: &Record) -> Option<String> {
    let features = record.features.as_ref()?;
    let (tensor, shape, dtype) = (&features.tensor, &features.shape, features.dtype);
    Some(format!("{}  {tensor}  {shape:?}  {dtype}", printable(&record.input)))
}
