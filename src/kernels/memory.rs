//! Memory for packed operands and for results.

use std::{
    alloc::{Layout, alloc, dealloc, handle_alloc_error},
    cell::RefCell,
    fmt,
    mem::MaybeUninit,
    ops::{Deref, DerefMut},
    ptr::NonNull,
    slice,
};

use memmap2::MmapMut;

/// f32 values whose first lies at a multiple of 64 bytes, so that no vector of them straddles two cache lines.
pub(super) struct Aligned {
    len: usize,
    /// None only while it is dropped.
    piece: Option<Piece>,
    /// Whether the thread that drops it keeps the piece for what it fills next.
    kept: bool,
}

impl Aligned {
    /// `len` values, filled by `fill`.
    ///
    /// # Safety
    /// `fill` writes every value.
    pub(super) unsafe fn filled(len: usize, fill: impl FnOnce(&mut [MaybeUninit<f32>])) -> Self {
        let piece = Piece::kept(len).unwrap_or_else(|| Piece::new(len));
        let memory = Self { len, piece: Some(piece), kept: true };
        // SAFETY: it is valid for `len` values, and nobody else has it yet.
        fill(unsafe { slice::from_raw_parts_mut(memory.start().as_ptr().cast(), len) });
        memory
    }

    /// `len` zeros, which take no more memory than they need: weights are kept for long.
    pub(super) fn zeros(len: usize) -> Self {
        let piece = Piece::new(len);
        if piece.pages.is_none() {
            // SAFETY: it is valid for `len` values. The system's own pages are zero already.
            unsafe { piece.start.as_ptr().write_bytes(0, len) };
        }
        Self { len, piece: Some(piece), kept: false }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn start(&self) -> NonNull<f32> {
        self.piece.as_ref().expect("it is not dropped yet").start
    }

    pub(super) fn as_ptr(&self) -> *const f32 {
        self.start().as_ptr()
    }

    pub(super) fn as_slice(&self) -> &[f32] {
        // SAFETY: `start` is valid for `len` values, all written since `filled` or zero.
        unsafe { slice::from_raw_parts(self.start().as_ptr(), self.len) }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as above.
        unsafe { slice::from_raw_parts_mut(self.start().as_ptr(), self.len) }
    }
}

impl fmt::Debug for Aligned {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "[{} values]", self.len)
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        if let Some(piece) = self.piece.take().filter(|_| self.kept) {
            piece.keep();
        }
    }
}

/// Memory for `capacity` values, of undefined value.
struct Piece {
    start: NonNull<f32>,
    capacity: usize,
    /// Pages of the system's own; they are given back when they are dropped. What is smaller is the allocator's.
    pages: Option<MmapMut>,
}

// SAFETY: it owns plain memory.
unsafe impl Send for Piece {}
// SAFETY: shared references only read.
unsafe impl Sync for Piece {}

const ALIGN: usize = 64;

/// Values from which on memory is the system's own pages, huge ones where it has such. The weights are read once in every
/// forward pass, and a product writes to a page of 4 KB for each row of a tile: the processor would look up most of
/// those addresses anew each time.
const LARGE: usize = (1 << 20) / size_of::<f32>();

/// How many pieces a thread keeps: what one half of a block has at a time.
const KEPT: usize = 4;
/// Values from which on a piece is worth that.
const WORTH_KEEPING: usize = (64 << 10) / size_of::<f32>();

thread_local! {
    /// What lay between two products, for the next two. Allocators give megabytes back to the system, which would
    /// clear them for the next layer again; that costs one percent of a forward pass.
    static FREE: RefCell<Vec<Piece>> = const { RefCell::new(Vec::new()) };
}

impl Piece {
    fn new(capacity: usize) -> Self {
        let layout = Self::layout(capacity);
        if capacity < LARGE {
            // SAFETY: the layout is not empty.
            return match NonNull::new(unsafe { alloc(layout) }.cast()) {
                Some(start) => Self { start, capacity, pages: None },
                None => handle_alloc_error(layout),
            };
        }
        let Ok(mut pages) = MmapMut::map_anon(layout.size()) else { handle_alloc_error(layout) };
        // Where there are none, small pages do.
        #[cfg(target_os = "linux")]
        let _ = pages.advise(memmap2::Advice::HugePage);
        let start = NonNull::new(pages.as_mut_ptr().cast()).expect("pages have an address");
        Self { start, capacity, pages: Some(pages) }
    }

    /// Of what this thread has kept the smallest piece for `len` values, unless that is far too large.
    fn kept(len: usize) -> Option<Self> {
        let find = |free: &mut Vec<Self>| {
            let suits = |(_, piece): &(usize, &Self)| (len..=4 * len).contains(&piece.capacity);
            let found = free.iter().enumerate().filter(suits).min_by_key(|(_, piece)| piece.capacity);
            found.map(|(index, _)| index).map(|index| free.remove(index))
        };
        FREE.try_with(|free| find(&mut free.borrow_mut())).ok()?
    }

    /// Keeps it for [`Piece::kept`], in the place of the one that waits longest if there are enough: the sizes that
    /// are needed change with the batch. A thread that ends keeps none.
    fn keep(self) {
        if self.capacity < WORTH_KEEPING {
            return;
        }
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            free.push(self);
            if free.len() > KEPT {
                free.remove(0);
            }
        });
    }

    fn layout(capacity: usize) -> Layout {
        let layout = Layout::array::<f32>(capacity.max(1)).and_then(|layout| layout.align_to(ALIGN));
        layout.expect("fewer bytes than the address space has")
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if self.pages.is_none() {
            // SAFETY: allocated with this layout.
            unsafe { dealloc(self.start.as_ptr().cast(), Self::layout(self.capacity)) }
        }
    }
}

/// How many values a result of these sizes has.
///
/// # Panics
/// More than can be counted: a product that wraps would give room for fewer than are written.
pub(super) fn count<const N: usize>(sizes: [usize; N]) -> usize {
    let count = sizes.into_iter().try_fold(1, usize::checked_mul);
    count.expect("sizes whose product can be counted")
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

/// A result: values in a vector, which is aligned for one of them only. They begin at the first multiple of 64 bytes in it: stores
/// that straddle two cache lines, of which the second may not be near, cost the products that write them 2 percent.
#[derive(Debug)]
pub struct Values {
    memory: Vec<f32>,
    start: usize,
}

impl Values {
    /// The vector, and where in it the values begin; they end with it.
    pub fn into_parts(self) -> (Vec<f32>, usize) {
        (self.memory, self.start)
    }
}

impl From<Vec<f32>> for Values {
    fn from(memory: Vec<f32>) -> Self {
        Self { memory, start: 0 }
    }
}

impl Deref for Values {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.memory[self.start..]
    }
}

impl DerefMut for Values {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory[self.start..]
    }
}

/// `len` values that `write` puts there, without clearing the memory first.
///
/// # Safety
/// `write` writes every value.
pub(super) unsafe fn written(len: usize, write: impl FnOnce(SharedOut)) -> Values {
    const SPARE: usize = ALIGN / size_of::<f32>() - 1;
    let capacity = len.checked_add(SPARE).expect("a result that fits in memory");
    let mut memory: Vec<f32> = Vec::with_capacity(capacity);
    let start = memory.as_ptr().align_offset(ALIGN).min(SPARE);
    memory.resize(start, 0.0);
    write(SharedOut(memory.as_mut_ptr().wrapping_add(start)));
    // SAFETY: the capacity is there and every value is written, by contract.
    unsafe { memory.set_len(start + len) };
    Values { memory, start }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_zero_whatever_it_held_before() {
        for len in [0, 1, WORTH_KEEPING, WORTH_KEEPING + 1, LARGE, LARGE + 1] {
            for _ in 0..2 * KEPT {
                let mut memory = Aligned::zeros(len);
                assert_eq!((memory.len(), memory.as_ptr() as usize % ALIGN), (len, 0));
                assert!(memory.as_slice().iter().all(|&value| value == 0.0));
                memory.as_mut_slice().fill(1.0);
            }
        }
    }

    #[test]
    fn results_begin_with_a_cache_line() {
        for len in [0, 1, 15, 16, 1000, LARGE] {
            // SAFETY: every value is written.
            let values = unsafe { written(len, |y| (0..len).for_each(|i| *y.as_ptr().add(i) = i as f32)) };
            assert_eq!((values.as_ptr() as usize % ALIGN, values.len()), (0, len));
            assert!(values.iter().enumerate().all(|(i, &value)| value == i as f32));
            let (memory, start) = values.into_parts();
            assert_eq!(memory.len(), start + len);
        }
    }

    #[test]
    fn a_thread_keeps_the_last_few_pieces() {
        // SAFETY: every value is written.
        let filled = |len| unsafe { Aligned::filled(len, |memory| memory.fill(MaybeUninit::new(1.0))) };
        let pieces: Vec<_> = (0..2 * KEPT).map(|i| filled(WORTH_KEEPING + i)).collect();
        drop(pieces);
        FREE.with_borrow(|free| {
            assert_eq!(free.len(), KEPT);
            assert!(free.iter().all(|piece| piece.capacity >= WORTH_KEEPING + KEPT));
        });
        let again = filled(WORTH_KEEPING);
        FREE.with_borrow(|free| assert_eq!(free.len(), KEPT - 1));
        drop(again);
        assert!(Piece::kept(WORTH_KEEPING / 5).is_none(), "a piece is not wasted on a few values");
    }
}
