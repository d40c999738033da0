//! The bound on a picture's size.

use std::cell::RefCell;
use std::sync::Arc;

use crate::budget::{Budget, Share};
use crate::error::DecodeError;

/// Bytes that a pixel takes at the most while it is decoded: four channels of 16 bits, what they become, and what both are made of.
const PIXEL: u64 = 12;

/// Bounds that every decoder checks before it reserves memory for pixels.
pub(crate) struct Limits<'a> {
    max_pixels: u64,
    /// Whether a picture of this width and height is wanted at all.
    accepts: Option<&'a dyn Fn(u32, u32) -> bool>,
    budget: Option<Arc<Budget>>,
    /// What the picture has of the budget.
    share: RefCell<Option<Share>>,
}

impl<'a> Limits<'a> {
    pub(crate) const fn new(max_pixels: u64, budget: Option<Arc<Budget>>) -> Self {
        Self { max_pixels, accepts: None, budget, share: RefCell::new(None) }
    }

    /// The same for pictures of which a caller refuses some by their shape.
    pub(crate) fn accepting(self, accepts: &'a dyn Fn(u32, u32) -> bool) -> Self {
        Self { accepts: Some(accepts), ..self }
    }

    pub(crate) fn max_pixels(&self) -> u64 {
        self.max_pixels
    }

    /// The share, which lasts as long as the pixels do.
    pub(crate) fn into_share(self) -> Option<Share> {
        self.share.into_inner()
    }

    /// Refuses a picture that is too large, or of a shape that nobody wants; one that is not waits for its share of memory.
    pub(crate) fn check(&self, width: u64, height: u64) -> Result<(), DecodeError> {
        self.check_with(width, height, PIXEL)
    }

    /// The same for a picture whose decoder takes so many bytes for a pixel.
    pub(crate) fn check_with(&self, width: u64, height: u64, pixel: u64) -> Result<(), DecodeError> {
        let shape = (u32::try_from(width), u32::try_from(height));
        if let (Some(accepts), (Ok(columns), Ok(rows))) = (self.accepts, shape)
            && self.has_size(width, height)
            && !accepts(columns, rows)
        {
            return Err(DecodeError::Shape { width: columns, height: rows });
        }
        self.take(width, height, pixel)
    }

    /// The same of what is not the picture yet.
    pub(crate) fn check_frame(&self, width: u64, height: u64) -> Result<(), DecodeError> {
        self.take(width, height, PIXEL)
    }

    fn has_size(&self, width: u64, height: u64) -> bool {
        let pixels = width.checked_mul(height);
        width.max(height) <= i32::MAX as u64
            && pixels.is_some_and(|pixels| (1..=self.max_pixels).contains(&pixels))
    }

    fn take(&self, width: u64, height: u64, pixel: u64) -> Result<(), DecodeError> {
        if width == 0 || height == 0 {
            return Err(DecodeError::invalid("image", format!("{width}x{height} has no pixels")));
        }
        if !self.has_size(width, height) {
            return Err(DecodeError::TooManyPixels { width, height, limit: self.max_pixels });
        }
        if let Some(budget) = &self.budget {
            // A second size is that of the picture in its frame; nobody waits with a share in the hand.
            let before = self.share.take().map_or(0, |share| share.bytes());
            self.share.replace(Some(budget.take((width * height * pixel).max(before))));
        }
        Ok(())
    }
}
