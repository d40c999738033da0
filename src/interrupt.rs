//! Ctrl-C and SIGTERM: the first ends the run after the batch in flight, the second at once.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crossbeam_channel::{Receiver, Sender, bounded};
#[cfg(unix)]
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::cli::{Exit, say};

/// Whether, and since when, the run is to end.
pub(crate) struct Interrupt {
    channel: Receiver<()>,
    happened: Arc<AtomicBool>,
    /// Keeps the channel open where nothing else does.
    _sender: Sender<()>,
}

impl Interrupt {
    /// Takes over the two signals for the rest of the process. Where there are none, Ctrl-C ends the process at once,
    /// which costs the images in flight and tears no output.
    pub(crate) fn listen() -> Self {
        let (sender, channel) = bounded(1);
        let happened = Arc::new(AtomicBool::new(false));
        #[cfg(unix)]
        if let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) {
            let (sender, happened) = (sender.clone(), happened.clone());
            std::thread::spawn(move || {
                for _ in signals.forever() {
                    if happened.swap(true, Ordering::SeqCst) {
                        std::process::exit(Exit::Interrupted.code().into());
                    }
                    say("interrupted", "finishing the images in flight; once more to end at once");
                    let _ = sender.try_send(());
                }
            });
        }
        Self { channel, happened, _sender: sender }
    }

    /// Gets a message when the run is to end.
    pub(crate) fn channel(&self) -> &Receiver<()> {
        &self.channel
    }

    /// Whether a signal has come.
    pub(crate) fn happened(&self) -> bool {
        self.happened.load(Ordering::SeqCst)
    }
}
