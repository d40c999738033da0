//! A download, as a terminal or a program that watches is shown it.

use std::{
    cell::{Cell, RefCell},
    time::{Duration, Instant},
};

use indicatif::{DecimalBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::print::{Voice, error_line};
use crate::hub::Event;

/// Shows events on stderr.
#[derive(Debug)]
pub(super) struct Downloads {
    is_shown: bool,
    voice: Voice,
    /// The file that arrives, drawn where stderr is a terminal. An error that stops it wipes it, so that the message stands alone.
    bar: RefCell<ProgressBar>,
    /// When a program was last told of it.
    told: Cell<Instant>,
}

/// Between lines for a program.
const INTERVAL: Duration = Duration::from_secs(1);

/// Smaller files come at once; a line about them says nothing.
const LARGE: u64 = 1 << 20;

impl Downloads {
    /// A bar with size, speed and ETA where stderr is a terminal; elsewhere a line for each large file; to a program
    /// `{"download":{"file":…,"received":…,"size":…}}` at the start, once a second and at the end of each. Failures that are
    /// tried again show in every form. Nothing shows unless `is_shown`.
    pub(super) fn new(is_shown: bool, voice: Voice) -> Self {
        Self { is_shown, voice, bar: RefCell::new(ProgressBar::hidden()), told: Cell::new(Instant::now()) }
    }

    /// Shows an event.
    pub(super) fn report(&self, event: Event<'_>) {
        if !self.is_shown {
            return;
        }
        let mut bar = self.bar.borrow_mut();
        match event {
            Event::Begin { file, size, have } => {
                *bar = begin(file, size, have, self.voice);
                if self.voice == Voice::Json {
                    self.tell(&bar);
                } else if bar.is_hidden() && size.is_none_or(|size| size >= LARGE) {
                    let size = size.map_or_else(String::new, |size| format!(" ({})", DecimalBytes(size)));
                    let from = match have {
                        0 => String::new(),
                        _ => format!(", continued at {}", DecimalBytes(have)),
                    };
                    error_line(&format!("downloading {file}{size}{from}"));
                }
            }
            Event::Received { have } => {
                bar.set_position(have);
                if self.voice == Voice::Json && self.told.get().elapsed() >= INTERVAL {
                    self.tell(&bar);
                }
            }
            Event::Verify => {
                bar.set_style(ProgressStyle::with_template("{msg}: checking").expect("a valid template"));
                bar.tick();
            }
            Event::Done => {
                if self.voice == Voice::Json {
                    self.tell(&bar);
                }
                bar.finish_and_clear();
            }
            Event::Retry { file, reason, pause } => {
                let message = format!("{reason}; trying again in {:.0} s", pause.as_secs_f32());
                bar.suspend(|| self.voice.say("warning", Some(file), &message));
            }
            Event::Waiting { file } => {
                let message = "another process is fetching it; waiting";
                bar.suspend(|| self.voice.say("warning", Some(file), message));
            }
        }
    }

    /// Tells a program how far a file is.
    fn tell(&self, bar: &ProgressBar) {
        self.told.set(Instant::now());
        let facts = json!({ "file": bar.message(), "received": bar.position(), "size": bar.length() });
        error_line(&json!({ "download": facts }).to_string());
    }
}

fn begin(file: &str, size: Option<u64>, have: u64, voice: Voice) -> ProgressBar {
    let target = match voice {
        Voice::Words => ProgressDrawTarget::stderr(),
        Voice::Json => ProgressDrawTarget::hidden(),
    };
    let bar = ProgressBar::with_draw_target(size, target);
    let template = match size {
        Some(_) => {
            "{wide_msg} {bar:8} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta} left"
        }
        None => "{msg} {spinner} {decimal_bytes} {decimal_bytes_per_sec}",
    };
    bar.set_style(ProgressStyle::with_template(template).expect("a valid template"));
    bar.set_message(file.to_owned());
    bar.set_position(have);
    // Speed and ETA count what arrives now, not what an earlier run has left.
    bar.reset_eta();
    bar
}
