//! Panics of decoders become errors, and stay silent.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use super::error::DecodeError;

thread_local! {
    /// Set while this thread runs a decoder.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`; a panic in it is an error and prints nothing. Other threads' panics keep the hook that was there before.
pub(super) fn guarded<T>(
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
    // The decoder's state is dropped with the panic, so nothing half-done is seen afterwards.
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    result.unwrap_or_else(|panic| {
        Err(DecodeError::Panicked { format: name, reason: panic_reason(panic.as_ref()) })
    })
}

/// The message of a caught panic.
pub(super) fn panic_reason(panic: &(dyn Any + Send)) -> String {
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
}
