//! A run as a person, or a program on the other end of a pipe, sees it.

use std::{io, ops::ControlFlow};

use super::{
    print::{print_line, printable},
    progress::Progress,
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
                    progress.say("warning", "random weights: the features mean nothing");
                }
                ControlFlow::Continue(())
            }
            (Event::Shard { path, passed_over }, Some(progress)) => {
                if passed_over > 0 && !self.show.quiet {
                    let what = "links, devices and sparse members in it were passed over";
                    progress.say("warning", &format!("{}: {passed_over} {what}", printable(path)));
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
    pub(super) fn end(&self, ended: Option<Ended>, interrupted: bool, resumes: bool) {
        let Some(progress) = &self.progress else { return };
        progress.clear();
        let is_unheard = ended == Some(Ended::Unheard);
        if !self.show.is_batch || self.show.quiet || is_unheard {
            return;
        }
        let summary = progress.summary();
        if ended == Some(Ended::Complete) {
            progress.say("finished", &summary);
        } else if resumes && interrupted {
            let how = match self.show.overwrites {
                true => "without --overwrite, the same command",
                false => "the same command",
            };
            progress.say("stopped", &format!("{summary}; {how} goes on where it was"));
        } else {
            progress.say("stopped", &summary);
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
        let path = printable(record.path);
        if let Some(failure) = &record.failure {
            progress.say("error", &format!("{path}: {}", failure.reason));
        }
    }
    if let (Some(record), false) = (records.first(), show.quiet) {
        for warning in warnings {
            progress.say("warning", &format!("{}: {warning}", printable(record.path)));
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
