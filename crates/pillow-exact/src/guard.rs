//! Panics of decoders become errors.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};

use crate::error::DecodeError;

/// Runs `work`; a panic in it is an error, of which the process's hook is told as of any other.
pub(crate) fn guarded<T>(
    name: &'static str,
    work: impl FnOnce() -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    // The decoder's state is dropped with the panic, so nothing half-done is seen afterwards.
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(DecodeError::Panicked { format: name, reason: panic_reason(panic.as_ref()) })
    })
}

/// The message of a caught panic.
fn panic_reason(panic: &(dyn Any + Send)) -> String {
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
