//! Ctrl-C and SIGTERM: the first ends the run after the batch in flight, the second at once.

use super::print::Voice;
use crate::job::Stop;

/// Takes over the two signals for the rest of the process.
#[cfg(unix)]
pub(super) fn listen(stop: &Stop, voice: Voice) {
    use signal_hook::{
        consts::{SIGINT, SIGTERM},
        iterator::Signals,
    };

    use super::exit::Exit;

    if let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) {
        let stop = stop.clone();
        std::thread::spawn(move || {
            for _ in signals.forever() {
                if stop.is_asked() {
                    std::process::exit(Exit::Interrupted.code().into());
                }
                voice.say("interrupted", "finishing the images in flight; once more to end at once");
                stop.stop();
            }
        });
    }
}

/// Where there are no signals, Ctrl-C ends the process at once, which costs the images in flight and tears no output.
#[cfg(not(unix))]
pub(super) fn listen(_: &Stop, _: Voice) {}
