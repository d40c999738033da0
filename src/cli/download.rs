//! A download, as a terminal or a program that watches is shown it.

use std::{
    cell::RefCell,
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{DecimalBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::print::{Voice, error_line};
use crate::hub::Event;

/// Shows events on stderr.
#[derive(Debug)]
pub(super) struct Downloads {
    kind: Kind,
    bar: RefCell<Option<ProgressBar>>,
    /// The file that a program is told of.
    arriving: RefCell<Option<Arriving>>,
}

#[derive(Debug)]
struct Arriving {
    file: String,
    size: Option<u64>,
    received: u64,
    /// When a line was printed of it.
    told: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bar,
    Lines,
    Json,
    Silent,
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
        let kind = match (is_shown, voice) {
            (false, _) => Kind::Silent,
            (true, Voice::Json) => Kind::Json,
            (true, Voice::Words) if std::io::stderr().is_terminal() => Kind::Bar,
            (true, Voice::Words) => Kind::Lines,
        };
        Self { kind, bar: RefCell::new(None), arriving: RefCell::new(None) }
    }

    /// Shows an event.
    pub(super) fn report(&self, event: Event<'_>) {
        match self.kind {
            Kind::Silent => return,
            Kind::Json => return self.tell(event),
            Kind::Bar | Kind::Lines => {}
        }
        let mut bar = self.bar.borrow_mut();
        match event {
            Event::Begin { file, size, have } if self.kind == Kind::Bar => {
                *bar = Some(begin_bar(file, size, have));
            }
            Event::Begin { size: Some(size), .. } if size < LARGE => {}
            Event::Begin { file, size, have } => {
                let size = size.map_or_else(String::new, |size| format!(" ({})", DecimalBytes(size)));
                let from = match have {
                    0 => String::new(),
                    _ => format!(", continued at {}", DecimalBytes(have)),
                };
                error_line(&format!("downloading {file}{size}{from}"));
            }
            Event::Received { have } => {
                if let Some(bar) = &*bar {
                    bar.set_position(have);
                }
            }
            Event::Verify => {
                if let Some(bar) = &*bar {
                    bar.set_style(ProgressStyle::with_template("{msg}: checking").expect("a valid template"));
                    bar.tick();
                }
            }
            Event::Done => {
                if let Some(bar) = bar.take() {
                    bar.finish_and_clear();
                }
            }
            Event::Retry { file, reason, pause } => {
                let pause = pause.as_secs_f32();
                line(bar.as_ref(), &format!("{file}: {reason}; trying again in {pause:.0} s"));
            }
            Event::Waiting { file } => line(bar.as_ref(), &format!("{file}: {WAITING}")),
        }
    }

    /// Tells a program.
    fn tell(&self, event: Event<'_>) {
        let mut arriving = self.arriving.borrow_mut();
        match (event, &mut *arriving) {
            (Event::Begin { file, size, have }, arriving) => {
                let (file, told) = (file.to_owned(), Instant::now());
                arriving.insert(Arriving { file, size, received: have, told }).line();
            }
            (Event::Received { have }, Some(arriving)) => {
                arriving.received = have;
                if arriving.told.elapsed() >= INTERVAL {
                    arriving.told = Instant::now();
                    arriving.line();
                }
            }
            (Event::Done, Some(arriving)) => arriving.line(),
            (Event::Received { .. } | Event::Verify | Event::Done, _) => {}
            (Event::Retry { file, reason, pause }, _) => {
                let pause = pause.as_secs_f32();
                Voice::Json.say_of("warning", file, &format!("{reason}; trying again in {pause:.0} s"));
            }
            (Event::Waiting { file }, _) => Voice::Json.say_of("warning", file, WAITING),
        }
    }
}

impl Arriving {
    fn line(&self) {
        let facts = json!({ "file": self.file, "received": self.received, "size": self.size });
        error_line(&json!({ "download": facts }).to_string());
    }
}

const WAITING: &str = "another process is fetching it; waiting";

impl Drop for Downloads {
    /// A bar that an error has stopped is wiped, so that the message stands alone.
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn begin_bar(file: &str, size: Option<u64>, have: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(size, ProgressDrawTarget::stderr());
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

fn line(bar: Option<&ProgressBar>, text: &str) {
    match bar {
        Some(bar) => bar.suspend(|| error_line(text)),
        None => error_line(text),
    }
}
