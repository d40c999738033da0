//! The bound on a picture's size.

use crate::error::DecodeError;

/// Bounds that every decoder checks before it reserves memory for pixels.
pub(crate) struct Limits {
    pub(crate) max_pixels: u64,
}

impl Limits {
    pub(crate) fn check(&self, width: u64, height: u64) -> Result<(), DecodeError> {
        if width == 0 || height == 0 {
            return Err(DecodeError::invalid("image", format!("{width}x{height} has no pixels")));
        }
        match width.checked_mul(height) {
            Some(pixels) if pixels <= self.max_pixels && width.max(height) <= i32::MAX as u64 => Ok(()),
            _ => Err(DecodeError::TooManyPixels { width, height, limit: self.max_pixels }),
        }
    }
}
