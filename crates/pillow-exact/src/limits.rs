//! The bound on a picture's size.

use std::cell::RefCell;
use std::sync::Arc;

use crate::budget::{Budget, Share};
use crate::error::DecodeError;

/// Bytes that a pixel takes at the most while it is decoded: four channels of 16 bits, what they become, and what both are made of.
const PIXEL: u64 = 12;

/// Bounds that every decoder checks before it reserves memory for pixels.
pub(crate) struct Limits {
    max_pixels: u64,
    budget: Option<Arc<Budget>>,
    /// What the picture has of the budget.
    share: RefCell<Option<Share>>,
}

impl Limits {
    pub(crate) const fn new(max_pixels: u64, budget: Option<Arc<Budget>>) -> Self {
        Self { max_pixels, budget, share: RefCell::new(None) }
    }

    pub(crate) fn max_pixels(&self) -> u64 {
        self.max_pixels
    }

    /// The share, which lasts as long as the pixels do.
    pub(crate) fn into_share(self) -> Option<Share> {
        self.share.into_inner()
    }

    /// Refuses a picture that is too large; one that is not waits for its share of memory.
    pub(crate) fn check(&self, width: u64, height: u64) -> Result<(), DecodeError> {
        self.check_with(width, height, PIXEL)
    }

    /// The same for a picture whose decoder takes so many bytes for a pixel.
    pub(crate) fn check_with(&self, width: u64, height: u64, pixel: u64) -> Result<(), DecodeError> {
        if width == 0 || height == 0 {
            return Err(DecodeError::invalid("image", format!("{width}x{height} has no pixels")));
        }
        match width.checked_mul(height) {
            Some(pixels) if pixels <= self.max_pixels && width.max(height) <= i32::MAX as u64 => {
                if let Some(budget) = &self.budget {
                    // A second size is that of the picture in its frame; nobody waits with a share in the hand.
                    let before = self.share.take().map_or(0, |share| share.bytes());
                    self.share.replace(Some(budget.take((pixels * pixel).max(before))));
                }
                Ok(())
            }
            _ => Err(DecodeError::TooManyPixels { width, height, limit: self.max_pixels }),
        }
    }
}
