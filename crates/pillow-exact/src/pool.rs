//! Memory for pixels that a thread keeps from one picture to the next: fresh memory costs a page fault for every four kilobytes.

use std::cell::RefCell;

/// A thread keeps no more bytes than this, a picture of some 20 megapixels.
const MOST: usize = 64 << 20;

thread_local! {
    static KEPT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What was kept, with any bytes in it.
pub(crate) fn take() -> Vec<u8> {
    KEPT.try_with(RefCell::take).unwrap_or_default()
}

/// Keeps a buffer, if it is the larger one.
pub(crate) fn give(buffer: Vec<u8>) {
    // Where the thread ends, nothing is kept.
    let _ = KEPT.try_with(|kept| {
        let mut kept = kept.borrow_mut();
        if buffer.capacity() <= MOST && buffer.capacity() > kept.capacity() {
            *kept = buffer;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_buffer_is_kept_but_none_too_large() {
        give(vec![1; 100]);
        give(vec![2; 10]);
        assert_eq!(take(), [1; 100]);
        assert_eq!(take().capacity(), 0);
        give(Vec::with_capacity(MOST + 1));
        assert_eq!(take().capacity(), 0);
    }
}
