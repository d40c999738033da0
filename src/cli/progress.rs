//! How far a run is, on standard error.

use std::time::{Duration, Instant};

use clap::ValueEnum;
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum ProgressMode {
    #[default]
    Auto,
    /// Also a line at the start where standard error is no terminal
    Always,
    Never,
    /// For a program: all of standard error is JSON objects, one a line, under what they are: download, progress (first at the start, then
    /// once a second), warning, error, interrupted, and last, once images are looked at, summary; with --quiet errors alone
    Json,
}

impl ProgressMode {
    /// The same of one who asked for quiet: then nothing is shown, but where it is asked for by itself.
    pub(super) fn unless(self, quiet: bool) -> Self {
        match self {
            Self::Auto | Self::Json if quiet => Self::Never,
            mode => mode,
        }
    }

    /// What standard error is written in.
    pub(super) fn voice(self) -> Voice {
        if self == Self::Json { Voice::Json } else { Voice::Words }
    }
}

/// A bar on a terminal, lines elsewhere, or nothing.
pub(super) struct Progress {
    /// Hidden where it is not for a terminal.
    bar: ProgressBar,
    /// Where there are lines in place of the bar: when the last one was printed.
    line: Option<Instant>,
    voice: Voice,
    tally: Tally,
    started: Instant,
}

impl Progress {
    /// `total` is the number of images, if it is known.
    pub(super) fn new(mode: ProgressMode, total: Option<u64>) -> Self {
        let started = Instant::now();
        let target = match mode {
            ProgressMode::Auto | ProgressMode::Always => ProgressDrawTarget::stderr(),
            ProgressMode::Never | ProgressMode::Json => ProgressDrawTarget::hidden(),
        };
        let style = ProgressStyle::with_template(template(total)).expect("the templates are well formed");
        let bar = ProgressBar::with_draw_target(total, target).with_style(style);
        let line = (mode != ProgressMode::Never && bar.is_hidden()).then_some(started);
        let progress = Self { bar, line, voice: mode.voice(), tally: Tally::default(), started };
        if mode != ProgressMode::Auto && line.is_some() {
            progress.line();
        }
        progress
    }

    /// Counts an image.
    pub(super) fn step(&mut self, status: Status, records: &[Record]) {
        self.tally.count(status, records);
        self.bar.set_position(self.tally.seen());
        if self.tally.failed > 0 {
            self.bar.set_message(format!("{} failed, ", self.tally.failed));
        }
        let interval = if self.voice == Voice::Json { JSON_INTERVAL } else { INTERVAL };
        if self.line.is_some_and(|last| last.elapsed() >= interval) {
            self.line = Some(Instant::now());
            self.line();
        }
    }

    /// Prints something without tearing the bar.
    pub(super) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    /// Removes the bar.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// How far it is.
    pub(super) fn summary(&self) -> Summary {
        Summary::of(self.tally, self.started.elapsed())
    }

    fn line(&self) {
        let (summary, total) = (self.summary(), self.bar.length());
        match self.voice {
            Voice::Json => error_line(&summary.progress(total)),
            Voice::Words => {
                let seen = self.tally.seen();
                let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
                let left = summary.seconds_left(total).filter(|&left| left > 0.0);
                let left = left.map(|left| left as u64);
                let left = left.map(|left| format!(", about {}:{:02} left", left / 60, left % 60));
                let left = left.unwrap_or_default();
                self.voice.say("progress", None, &format!("{seen}{of}: {}{left}", summary.words()));
            }
        }
    }
}

/// What takes at most 48 columns of a million images leaves a bar on the narrowest terminal.
fn template(total: Option<u64>) -> &'static str {
    match total {
        Some(_) => "{wide_bar} {pos}/{len} {msg}{per_sec} {eta} left",
        None => "{spinner} {pos} {msg}{per_sec} {elapsed}",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A terminal of 60 columns, which remembers its lines.
    #[derive(Clone, Debug, Default)]
    struct Narrow(Arc<Mutex<String>>);

    impl indicatif::TermLike for Narrow {
        fn width(&self) -> u16 {
            60
        }
        fn move_cursor_up(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn write_line(&self, line: &str) -> std::io::Result<()> {
            self.write_str(&format!("{line}\n"))
        }
        fn write_str(&self, text: &str) -> std::io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> std::io::Result<()> {
            self.write_str("\n")
        }
        fn flush(&self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_bar_fits_sixty_columns() {
        for total in [Some(1_000_000), None] {
            let terminal = Narrow::default();
            let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
            let style = ProgressStyle::with_template(template(total)).unwrap();
            let bar = ProgressBar::with_draw_target(total, target).with_style(style);
            bar.set_message("12345 failed, ");
            bar.set_position(999_999);
            bar.force_draw();
            let drawn = terminal.0.lock().unwrap().clone();
            let line = drawn.lines().find(|line| line.contains("999999")).unwrap().trim_end().to_owned();
            assert!(line.contains("12345 failed, ") && line.chars().count() <= 60, "{line:?}");
            assert!(total.is_none() || line.contains('░') || line.contains('█'), "{line:?}");
        }
    }
}
