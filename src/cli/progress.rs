//! How far a run is, on standard error.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    print::{Voice, error_line},
    summary::Summary,
};
use crate::job::{Record, Status, Tally};

/// Between plain lines, where standard error is no terminal.
const INTERVAL: Duration = Duration::from_secs(30);

/// Between lines for a program, which does not tire of them.
const JSON_INTERVAL: Duration = Duration::from_secs(1);

/// When progress is shown, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProgressMode {
    Auto,
    /// Also a line at the start where standard error is no terminal
    Always,
    Never,
    /// To a program: all of standard error is JSON
    Json,
}

impl ProgressMode {
    /// What standard error is written in.
    pub(super) fn voice(self) -> Voice {
        if self == Self::Json { Voice::Json } else { Voice::Words }
    }
}

/// A bar on a terminal, lines elsewhere, or nothing.
pub(super) struct Progress {
    form: Form,
    voice: Voice,
    total: Option<u64>,
    tally: Tally,
    started: Instant,
}

enum Form {
    Bar(ProgressBar),
    Lines { last: Instant },
    Hidden,
}

impl Progress {
    /// `total` is the number of images, if it is known.
    pub(super) fn new(mode: ProgressMode, total: Option<u64>) -> Self {
        let started = Instant::now();
        let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let form = match mode {
            ProgressMode::Never => Form::Hidden,
            ProgressMode::Auto | ProgressMode::Always if is_terminal => Form::Bar(bar(total)),
            ProgressMode::Auto | ProgressMode::Always | ProgressMode::Json => Form::Lines { last: started },
        };
        let progress = Self { form, voice: mode.voice(), total, tally: Tally::default(), started };
        if let (ProgressMode::Always | ProgressMode::Json, Form::Lines { .. }) = (mode, &progress.form) {
            progress.line();
        }
        progress
    }

    /// Counts an image.
    pub(super) fn step(&mut self, status: Status, records: &[Record]) {
        self.tally.count(status, records);
        let (seen, failed) = (self.tally.seen(), self.tally.failed);
        let interval = if self.voice == Voice::Json { JSON_INTERVAL } else { INTERVAL };
        match &mut self.form {
            Form::Bar(bar) => {
                bar.set_position(seen);
                bar.set_message(if failed > 0 { format!("{failed} failed, ") } else { String::new() });
            }
            Form::Lines { last } if last.elapsed() >= interval => {
                *last = Instant::now();
                self.line();
            }
            Form::Lines { .. } | Form::Hidden => {}
        }
    }

    /// Prints something without tearing the bar.
    pub(super) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.form {
            Form::Bar(bar) => bar.suspend(print),
            Form::Lines { .. } | Form::Hidden => print(),
        }
    }

    /// Removes the bar.
    pub(super) fn clear(&self) {
        if let Form::Bar(bar) = &self.form {
            bar.finish_and_clear();
        }
    }

    /// How far it is.
    pub(super) fn summary(&self) -> Summary {
        Summary::of(self.tally, self.started.elapsed())
    }

    fn line(&self) {
        let summary = self.summary();
        match self.voice {
            Voice::Json => error_line(&summary.progress(self.total)),
            Voice::Words => {
                let seen = self.tally.seen();
                let of = self.total.map(|total| format!(" of {total}")).unwrap_or_default();
                let left = summary.seconds_left(self.total).filter(|&left| left > 0.0);
                let left = left.map(|left| left as u64);
                let left = left.map(|left| format!(", about {}:{:02} left", left / 60, left % 60));
                let left = left.unwrap_or_default();
                self.voice.say("progress", &format!("{seen}{of}: {}{left}", summary.words()));
            }
        }
    }
}

fn bar(total: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    let template = match total {
        Some(_) => "{bar:30} {pos}/{len}  {msg}{per_sec}  {elapsed} elapsed, {eta} left",
        None => "{spinner} {pos}  {msg}{per_sec}  {elapsed} elapsed",
    };
    bar.with_style(ProgressStyle::with_template(template).expect("the templates above are well formed"))
}
