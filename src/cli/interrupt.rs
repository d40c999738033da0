//! Ctrl-C, SIGTERM and a terminal that closes: the first ends the run after the batch in flight, the second at once. And SIGXFSZ, which
//! ends none.

use super::print::Voice;
use crate::job::{JobError, Stop};

/// Takes over the signals for the rest of the process.
///
/// # Errors
/// There is no thread to listen on.
#[cfg(unix)]
pub(super) fn listen(stop: &Stop, voice: Voice) -> Result<(), JobError> {
    use signal_hook::{
        consts::{SIGHUP, SIGINT, SIGTERM},
        iterator::Signals,
    };

    use super::exit::Exit;

    let wanted = [SIGINT, SIGTERM].into_iter().chain((!ignores(SIGHUP)).then_some(SIGHUP));
    if let Ok(mut signals) = Signals::new(wanted) {
        let stop = stop.clone();
        let listen = move || {
            for signal in signals.forever() {
                if !stop.is_asked() {
                    voice.say(
                        "interrupted",
                        None,
                        "finishing the images in flight; once more to end at once",
                    );
                    stop.stop();
                } else if signal != SIGHUP {
                    // Of one terminal that closes both the system and the shell may speak.
                    std::process::exit(Exit::Interrupted.code().into());
                }
            }
        };
        std::thread::Builder::new().spawn(listen).map_err(JobError::Thread)?;
    }
    Ok(())
}

/// Lets a write beyond the limit on a file's size fail, as one on a full disk does, rather than end the process without a word.
#[cfg(unix)]
pub(super) fn outlive_size_limit() {
    // That it came is told by the write.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, std::sync::Arc::default());
}

/// Where there are no signals, a write fails in any case.
#[cfg(not(unix))]
pub(super) fn outlive_size_limit() {}

/// Whether a signal was ignored when the process began, as nohup sees to, or that cannot be told: to listen to it would undo that.
#[cfg(unix)]
fn ignores(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_none_or(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Where there are no signals, Ctrl-C ends the process at once, which costs the images in flight and tears no output.
#[cfg(not(unix))]
pub(super) fn listen(_: &Stop, _: Voice) -> Result<(), JobError> {
    Ok(())
}
