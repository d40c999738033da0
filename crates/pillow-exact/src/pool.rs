//! Memory for pixels that a thread keeps from one picture to the next: fresh memory costs a page fault for every four kilobytes.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// All threads together keep no more bytes than this, beside what pictures that are being decoded may take.
const MOST: usize = 64 << 20;

/// What they keep.
static ALL: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static KEPT: RefCell<Kept> = const { RefCell::new(Kept(Vec::new())) };
}

/// A buffer that is counted, also where its thread ends.
struct Kept(Vec<u8>);

impl Kept {
    /// Takes a buffer's place, if all threads keep little enough then.
    fn replace(&mut self, buffer: Vec<u8>) {
        let (before, after) = (self.0.capacity(), buffer.capacity());
        let counted = ALL.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |all| {
            Some(all - before + after).filter(|&all| all <= MOST || after == 0)
        });
        if counted.is_ok() {
            self.0 = buffer;
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.replace(Vec::new());
    }
}

/// What was kept, with any bytes in it.
pub(crate) fn take() -> Vec<u8> {
    let taken = KEPT.try_with(|kept| {
        let mut kept = kept.borrow_mut();
        ALL.fetch_sub(kept.0.capacity(), Ordering::Relaxed);
        std::mem::take(&mut kept.0)
    });
    taken.unwrap_or_default()
}

/// Keeps a buffer, if it is the larger one.
pub(crate) fn give(buffer: Vec<u8>) {
    // Where the thread ends, nothing is kept.
    let _ = KEPT.try_with(|kept| {
        let mut kept = kept.borrow_mut();
        if buffer.capacity() > kept.0.capacity() {
            kept.replace(buffer);
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

    #[test]
    fn threads_share_a_bound_and_give_it_back_when_they_end() {
        // Nothing is written to these, so they are addresses alone.
        let large = || Vec::with_capacity(MOST / 2 - (8 << 20));
        for _ in 0..3 {
            let barrier = std::sync::Barrier::new(3);
            let kept = std::thread::scope(|scope| {
                let threads = [(); 3].map(|()| {
                    scope.spawn(|| {
                        give(large());
                        barrier.wait();
                        // What is kept by a thread that ends is free again.
                        KEPT.with(|kept| kept.borrow().0.capacity() > 0)
                    })
                });
                threads
                    .map(|thread| thread.join().expect("no panic"))
                    .into_iter()
                    .filter(|&is_kept| is_kept)
                    .count()
            });
            assert!((1..=2).contains(&kept), "{kept}");
        }
    }
}
