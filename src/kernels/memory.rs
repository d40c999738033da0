//! Memory for packed operands and for results.

use std::{
    alloc::{Layout, alloc, dealloc, handle_alloc_error},
    fmt,
    mem::MaybeUninit,
    ptr::NonNull,
    slice,
};

/// f32 values whose first lies at a multiple of 64 bytes, so that no vector of them straddles two cache lines.
pub(super) struct Aligned {
    start: NonNull<f32>,
    len: usize,
}

// SAFETY: it owns plain memory.
unsafe impl Send for Aligned {}
// SAFETY: shared references only read.
unsafe impl Sync for Aligned {}

const ALIGN: usize = 64;

impl Aligned {
    /// `len` values, filled by `fill`.
    ///
    /// # Safety
    /// `fill` writes every value.
    pub(super) unsafe fn filled(len: usize, fill: impl FnOnce(&mut [MaybeUninit<f32>])) -> Self {
        let layout = Self::layout(len);
        // SAFETY: the layout is not empty.
        let Some(start) = NonNull::new(unsafe { alloc(layout) }.cast::<f32>()) else {
            handle_alloc_error(layout)
        };
        let memory = Self { start, len };
        // SAFETY: `start` is valid for `len` values, and nobody else has it yet.
        fill(unsafe { slice::from_raw_parts_mut(start.as_ptr().cast(), len) });
        memory
    }

    pub(super) fn zeros(len: usize) -> Self {
        // SAFETY: every value is written.
        unsafe { Self::filled(len, |memory| memory.fill(MaybeUninit::new(0.0))) }
    }

    pub(super) fn as_ptr(&self) -> *const f32 {
        self.start.as_ptr()
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: `start` is valid for `len` values, all written since `filled`.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    fn layout(len: usize) -> Layout {
        let layout = Layout::array::<f32>(len.max(1)).and_then(|layout| layout.align_to(ALIGN));
        layout.expect("fewer bytes than the address space has")
    }
}

impl fmt::Debug for Aligned {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "[{} values]", self.len)
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.start.as_ptr().cast(), Self::layout(self.len)) }
    }
}

/// Where tasks write a result together, each its own part.
#[derive(Clone, Copy)]
pub(super) struct SharedOut(*mut f32);

// SAFETY: a pointer alone does nothing; those who write through it answer for it.
unsafe impl Send for SharedOut {}
// SAFETY: as above.
unsafe impl Sync for SharedOut {}

impl SharedOut {
    pub(super) fn new(start: *mut f32) -> Self {
        Self(start)
    }

    pub(super) fn as_ptr(self) -> *mut f32 {
        self.0
    }
}

/// `len` values that `write` puts there, without clearing the memory first.
///
/// # Safety
/// `write` writes every value.
pub(super) unsafe fn written(len: usize, write: impl FnOnce(SharedOut)) -> Vec<f32> {
    let mut values = Vec::with_capacity(len);
    write(SharedOut(values.as_mut_ptr()));
    // SAFETY: the capacity is there and every value is written, by contract.
    unsafe { values.set_len(len) };
    values
}
