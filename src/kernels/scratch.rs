//! Each worker thread's reusable memory.

use std::{
    cell::RefCell,
    sync::atomic::{AtomicU64, Ordering},
};

use super::memory::Aligned;

/// Memory of one worker thread. It grows to what the largest call needs and is kept: giving megabytes back to the
/// system after each call, to fault them in again for the next, would cost more than many a call.
pub(super) struct Scratch {
    packed: Aligned,
    /// What `packed` holds: the number of a call and a part of its operand.
    holds: Option<(u64, usize)>,
    sums: Aligned,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> =
        RefCell::new(Scratch { packed: Aligned::zeros(0), holds: None, sums: Aligned::zeros(0) });
}

impl Scratch {
    /// The calling thread's.
    pub(super) fn with<R>(f: impl FnOnce(&mut Self) -> R) -> R {
        SCRATCH.with(|scratch| f(&mut scratch.borrow_mut()))
    }

    /// Room for a packed operand and for sums, and whether the operand that `key` names is still to be packed:
    /// tasks of one call on one thread often share an operand, which is then packed once.
    pub(super) fn prepare(
        &mut self,
        key: (u64, usize),
        packed: usize,
        sums: usize,
    ) -> (&mut [f32], &mut [f32], bool) {
        if self.packed.as_mut_slice().len() < packed {
            self.packed = Aligned::zeros(packed);
            self.holds = None;
        }
        if self.sums.as_mut_slice().len() < sums {
            self.sums = Aligned::zeros(sums);
        }
        let stale = self.holds.replace(key) != Some(key);
        (&mut self.packed.as_mut_slice()[..packed], &mut self.sums.as_mut_slice()[..sums], stale)
    }
}

/// A number that no other call has, for the key of [`Scratch::prepare`].
pub(super) fn new_call() -> u64 {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    CALLS.fetch_add(1, Ordering::Relaxed)
}
