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

    /// Room for `len` sums, of undefined value.
    pub(super) fn sums(&mut self, len: usize) -> &mut [f32] {
        grow(&mut self.sums, len)
    }

    /// Room for a packed operand and for sums, and whether the operand that `key` names is still to be packed:
    /// tasks of one call on one thread often share an operand, which is then packed once.
    pub(super) fn operand_and_sums(
        &mut self,
        key: (u64, usize),
        operand: usize,
        sums: usize,
    ) -> (&mut [f32], &mut [f32], bool) {
        let stale = self.holds.replace(key) != Some(key);
        (grow(&mut self.packed, operand), grow(&mut self.sums, sums), stale)
    }
}

fn grow(memory: &mut Aligned, len: usize) -> &mut [f32] {
    if memory.as_mut_slice().len() < len {
        *memory = Aligned::zeros(len);
    }
    &mut memory.as_mut_slice()[..len]
}

/// A number that no other call has, for the key of [`Scratch::operand_and_sums`].
pub(super) fn new_call() -> u64 {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    CALLS.fetch_add(1, Ordering::Relaxed)
}
