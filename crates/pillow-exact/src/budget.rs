//! A bound on the memory of all pictures that are decoded at once.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// So many bytes may be in use by pictures that are being decoded. A picture waits for its share, and one that needs more than all of it
/// runs alone.
#[derive(Debug)]
pub struct Budget {
    bytes: u64,
    state: Mutex<State>,
    freed: Condvar,
}

/// One is equal to itself alone.
impl PartialEq for Budget {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Budget {}

#[derive(Debug, Default)]
struct State {
    /// Bytes in use.
    taken: u64,
    /// The next ticket that is given, and the one whose turn it is: who came first is served first, so that a large picture is not kept
    /// waiting by small ones for ever.
    next: u64,
    turn: u64,
}

impl Budget {
    /// A bound of so many bytes.
    pub fn new(bytes: u64) -> Arc<Self> {
        Arc::new(Self { bytes, state: Mutex::default(), freed: Condvar::new() })
    }

    /// Waits until so many bytes are free, or all if there are fewer.
    pub(crate) fn take(self: &Arc<Self>, bytes: u64) -> Share {
        let bytes = bytes.min(self.bytes);
        let mut state = self.state();
        let ticket = state.next;
        state.next += 1;
        while state.turn != ticket || state.taken + bytes > self.bytes {
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.turn += 1;
        state.taken += bytes;
        drop(state);
        self.freed.notify_all();
        Share { budget: self.clone(), bytes }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A picture's part of a budget, which is free again when it is dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Share {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.state().taken -= self.bytes;
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn what_is_taken_at_once_stays_within_it() {
        let budget = Budget::new(100);
        let (now, most) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (budget, now, most) = (&budget, &now, &most);
                scope.spawn(move || {
                    for round in 0..200 {
                        // Some ask for more than there is, and get all of it.
                        let bytes = [1, 30, 60, 1000][(thread + round) % 4];
                        let share = budget.take(bytes);
                        let taken = now.fetch_add(share.bytes, Ordering::SeqCst) + share.bytes;
                        most.fetch_max(taken, Ordering::SeqCst);
                        now.fetch_sub(share.bytes, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!((60..=100).contains(&most.into_inner()));
        assert_eq!(budget.state().taken, 0);
    }
}
