//! A run as a person, or a program on the other end of a pipe, sees it.

use std::{io, ops::ControlFlow};

use super::{
    print::{error_line, print_line, printable},
    progress::{Progress, ProgressMode},
    settled::Show,
};
use crate::job::{Ended, Event, Record, Status};

/// Shows the events of a run.
pub(super) struct Reporter<'a> {
    show: &'a Show,
    /// From the moment at which the work begins.
    progress: Option<Progress>,
    /// Why standard output cannot be written.
    unprintable: Option<io::Error>,
}

impl<'a> Reporter<'a> {
    pub(super) fn new(show: &'a Show) -> Self {
        Self { show, progress: None, unprintable: None }
    }

    /// Why the run was ended, if it was because standard output cannot be written.
    pub(super) fn unprintable(&self) -> Option<&io::Error> {
        self.unprintable.as_ref()
    }

    /// Shows an event; breaks off where nobody reads what is printed.
    pub(super) fn take(&mut self, event: Event<'_>) -> ControlFlow<()> {
        match (event, &mut self.progress) {
            (Event::Started { total }, progress) => {
                let progress = progress.insert(Progress::new(self.show.progress, total));
                if self.show.warns_of_random_weights {
                    let message = "random weights: the features mean nothing";
                    progress.aside(|| self.show.voice.say("warning", message));
                }
                ControlFlow::Continue(())
            }
            (Event::Shard { path, passed_over, is_empty }, Some(progress)) => {
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
                show_image(self.show, progress, status, warnings, records).map_break(|error| {
                    self.unprintable = Some(error);
                })
            }
            (Event::Image { .. } | Event::Shard { .. }, None) => unreachable!("images come after the start"),
        }
    }

    /// Says how it went. `ended` is none where an error ended it, which is told afterwards.
    pub(super) fn end(&mut self, ended: Option<Ended>, resumes: bool) {
        let Some(progress) = &self.progress else { return };
        progress.clear();
        if ended == Some(Ended::Unheard) {
            return;
        }
        let (summary, voice) = (progress.summary(), self.show.voice);
        let words = summary.words();
        if self.show.progress == ProgressMode::Json {
            error_line(&summary.ended(ended));
        } else if !self.show.is_batch || self.show.quiet {
            // One image has its own line, and the quiet have the exit code.
        } else if ended == Some(Ended::Complete) {
            voice.say("finished", &words);
        } else if resumes && ended == Some(Ended::Stopped) {
            let how = match self.show.overwrites {
                true => "without --overwrite, the same command",
                false => "the same command",
            };
            voice.say("stopped", &format!("{words}; {how} goes on where it was"));
        } else {
            voice.say("stopped", &words);
        }
        if self.show.json && self.show.is_batch {
            // A reader that has gone after the last image has all that it wanted, and what ended the run matters more.
            let printed = print_line(&summary.ended(ended));
            let is_trouble = |error: &io::Error| ended.is_some() && error.kind() != io::ErrorKind::BrokenPipe;
            self.unprintable = printed.err().filter(is_trouble);
        }
    }
}

fn show_image(
    show: &Show,
    progress: &mut Progress,
    status: Status,
    warnings: &[String],
    records: &[Record<'_>],
) -> ControlFlow<io::Error> {
    for record in records {
        if let Some(failure) = record.failure.as_ref().filter(|_| !show.told.contains(record.path)) {
            progress.aside(|| show.voice.say_of("error", record.path, failure.reason));
        }
    }
    if let (Some(record), false) = (records.first(), show.quiet) {
        for warning in warnings {
            progress.aside(|| show.voice.say_of("warning", record.path, warning));
        }
    }
    progress.step(status);
    for record in records {
        let line = if show.json { Some(record.json()) } else { text(record).filter(|_| show.shapes) };
        if let Some(line) = line
            && let Err(error) = progress.aside(|| print_line(&line))
        {
            return ControlFlow::Break(error);
        }
    }
    ControlFlow::Continue(())
}

/// `photo.jpg  last_hidden_state  [1, 257, 1024]  f32`; none for an image without features, which standard error
/// speaks of.
fn text(record: &Record<'_>) -> Option<String> {
    let features = record.features.as_ref()?;
    let (tensor, shape, dtype) = (features.tensor, features.shape, features.dtype);
    Some(format!("{}  {tensor}  {shape:?}  {dtype}", printable(record.path)))
}
