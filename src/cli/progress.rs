//! How far a run is, on standard error.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::print::say;
use crate::job::{Status, Tally};

/// Between plain lines, where standard error is no terminal.
const INTERVAL: Duration = Duration::from_secs(30);

/// When progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProgressMode {
    Auto,
    /// Also a line at the start where standard error is no terminal
    Always,
    Never,
}

/// A bar on a terminal, lines elsewhere, or nothing.
pub(super) struct Progress {
    form: Form,
    tally: Tally,
    started: Instant,
}

enum Form {
    Bar(ProgressBar),
    Lines { last: Instant, total: Option<u64> },
    Hidden,
}

impl Progress {
    /// `total` is the number of images, if it is known.
    pub(super) fn new(mode: ProgressMode, total: Option<u64>) -> Self {
        let started = Instant::now();
        let lines = || Form::Lines { last: started, total };
        let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let form = match mode {
            ProgressMode::Never => Form::Hidden,
            ProgressMode::Auto | ProgressMode::Always if is_terminal => Form::Bar(bar(total)),
            ProgressMode::Auto | ProgressMode::Always => lines(),
        };
        let progress = Self { form, tally: Tally::default(), started };
        if mode == ProgressMode::Always {
            progress.line();
        }
        progress
    }

    /// Counts an image.
    pub(super) fn step(&mut self, status: Status) {
        self.tally.count(status);
        let Tally { done, skipped, failed } = self.tally;
        match &mut self.form {
            Form::Bar(bar) => {
                bar.set_position(done + skipped + failed);
                bar.set_message(if failed > 0 { format!("{failed} failed, ") } else { String::new() });
            }
            Form::Lines { last, .. } if last.elapsed() >= INTERVAL => {
                *last = Instant::now();
                self.line();
            }
            Form::Lines { .. } | Form::Hidden => {}
        }
    }

    /// Prints a line without tearing the bar.
    pub(super) fn say(&self, kind: &str, message: &str) {
        match &self.form {
            Form::Bar(bar) => bar.suspend(|| say(kind, message)),
            Form::Lines { .. } | Form::Hidden => say(kind, message),
        }
    }

    /// Runs something that prints on standard output without tearing the bar.
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

    /// `1900 done, 12 complete before, 88 failed in 25:03, 1.26 images/s`
    pub(super) fn summary(&self) -> String {
        let elapsed = self.started.elapsed();
        let Tally { done, skipped, failed } = self.tally;
        let mut parts = vec![format!("{done} done")];
        if skipped > 0 {
            parts.push(format!("{skipped} complete before"));
        }
        if failed > 0 {
            parts.push(format!("{failed} failed"));
        }
        let seconds = elapsed.as_secs();
        let rate = done as f64 / elapsed.as_secs_f64().max(1e-9);
        format!("{} in {}:{:02}, {rate:.2} images/s", parts.join(", "), seconds / 60, seconds % 60)
    }

    fn line(&self) {
        if let Form::Lines { total, .. } = &self.form {
            let Tally { done, skipped, failed } = self.tally;
            let seen = done + skipped + failed;
            let eta = match total {
                Some(total) if done > 0 && *total > seen => {
                    let left = self.started.elapsed().as_secs_f64() / done as f64 * (total - seen) as f64;
                    format!(", about {}:{:02} left", left as u64 / 60, left as u64 % 60)
                }
                _ => String::new(),
            };
            let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
            say("progress", &format!("{seen}{of}: {}{eta}", self.summary()));
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
