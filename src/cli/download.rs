//! A download, as a terminal shows it.

use std::{cell::RefCell, io::IsTerminal};

use indicatif::{DecimalBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::hub::Event;

/// Shows events on stderr.
#[derive(Debug)]
pub(super) struct Downloads {
    kind: Kind,
    bar: RefCell<Option<ProgressBar>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bar,
    Lines,
    Silent,
}

/// Smaller files come at once; a line about them says nothing.
const LARGE: u64 = 1 << 20;

impl Downloads {
    /// A bar with size, speed and ETA where stderr is a terminal; elsewhere a line for each large file. Failures
    /// that are tried again show in either form.
    /// Nothing shows unless `is_shown`.
    pub(super) fn new(is_shown: bool) -> Self {
        let kind = match is_shown {
            false => Kind::Silent,
            true if std::io::stderr().is_terminal() => Kind::Bar,
            true => Kind::Lines,
        };
        Self { kind, bar: RefCell::new(None) }
    }

    /// Shows an event.
    pub(super) fn report(&self, event: Event<'_>) {
        if self.kind == Kind::Silent {
            return;
        }
        let mut bar = self.bar.borrow_mut();
        match event {
            Event::Begin { file, size, have } if self.kind == Kind::Bar => {
                *bar = Some(begin_bar(file, size, have));
            }
            Event::Begin { size: Some(size), .. } if size < LARGE => {}
            Event::Begin { file, size, have } => {
                let size = size.map_or_else(String::new, |size| format!(" ({})", DecimalBytes(size)));
                match have {
                    0 => eprintln!("downloading {file}{size}"),
                    _ => eprintln!("downloading {file}{size}, continued at {}", DecimalBytes(have)),
                }
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
            Event::Waiting { file } => {
                line(bar.as_ref(), &format!("{file}: another process is fetching it; waiting"));
            }
        }
    }
}

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
        Some(_) => "{msg} {wide_bar} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} eta {eta}",
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
        Some(bar) => bar.suspend(|| eprintln!("{text}")),
        None => eprintln!("{text}"),
    }
}
