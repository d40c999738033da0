//! Panics of decoders become errors, and stay silent.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use crate::error::DecodeError;

thread_local! {
    /// Set while this thread runs a decoder.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`; a panic in it is an error and prints nothing. Other threads' panics keep the hook that was there before.
pub(crate) fn guarded<T>(
    name: &'static str,
    work: impl FnOnce() -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                previous(info);
            }
        }));
    });
    let outer = GUARDED.replace(true);
    let result = caught(name, work);
    GUARDED.set(outer);
    result
}

/// Runs `work`; a panic in it is an error, of which the process's hook is told as of any other.
pub(crate) fn caught<T>(
    name: &'static str,
    work: impl FnOnce() -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    // The decoder's state is dropped with the panic, so nothing half-done is seen afterwards.
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(DecodeError::Panicked { format: name, reason: panic_reason(panic.as_ref()) })
    })
}

/// The message of a caught panic.
pub(crate) fn panic_reason(panic: &(dyn Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("panic without a message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_message() {
        let error = guarded::<()>("PNG", || panic!("index {} out of range", 7)).expect_err("panicked");
        assert_eq!(error.to_string(), "the PNG decoder failed: index 7 out of range");
        assert!(guarded("PNG", || Ok(1)).is_ok());
    }
    /// Hooks are the process's, so this looks at what a process of its own writes.
    #[test]
    fn only_panics_of_decoders_are_silent() {
        let output = std::process::Command::new(std::env::current_exe().expect("this test's binary"))
            .args(["--exact", "guard::tests::panics_in_and_beside_a_decoder", "--ignored", "--nocapture"])
            .output()
            .expect("ran");
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{printed}");
        assert!(printed.contains("beside the decoder") && printed.contains("after the decoder"), "{printed}");
        assert!(!printed.contains("in the decoder"), "{printed}");
    }

    #[test]
    #[ignore = "run by the test above"]
    fn panics_in_and_beside_a_decoder() {
        let error = guarded::<()>("PNG", || {
            let beside = std::thread::spawn(|| panic!("beside the decoder")).join();
            assert!(beside.is_err());
            panic!("in the decoder")
        });
        assert!(matches!(error, Err(DecodeError::Panicked { .. })));
        assert!(std::panic::catch_unwind(|| panic!("after the decoder")).is_err());
    }
}
