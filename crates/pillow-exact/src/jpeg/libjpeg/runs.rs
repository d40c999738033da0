//! The inverse DCT of blocks that lie side by side, which huffman.c hands over together.

use std::ffi::c_uint;

use mozjpeg_sys::{jpeg_component_info, jpeg_decompress_struct};

#[cfg(target_arch = "x86_64")]
use super::idct::Avx2;
#[cfg(target_arch = "aarch64")]
use super::idct::Neon;
use super::idct::{Block, Kernel, Plain, table_of};
#[cfg(target_arch = "x86_64")]
use super::idct_avx512;
use super::planes::BLOCK;
use super::shared::wanted;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::simd::Isa;

/// Blocks of one component, as huffman.h describes them.
#[repr(C)]
pub(super) struct Run {
    blocks: *const Block<i16>,
    last: *const u8,
    across: c_uint,
    mcu: c_uint,
    count: c_uint,
    column: c_uint,
    component: *const jpeg_component_info,
    rows: *const *mut u8,
}

impl Run {
    /// A block's coefficients, and where in zigzag order they end.
    ///
    /// # Safety
    /// There is such a block.
    #[inline(always)]
    unsafe fn block(&self, index: c_uint) -> (&Block<i16>, u8) {
        let place = (index / self.across * self.mcu + index % self.across) as usize;
        // SAFETY: the caller's promise; both are of all blocks of some MCUs.
        unsafe { (&*self.blocks.add(place), *self.last.add(place)) }
    }

    /// Puts rows of samples, each a row of some blocks, where the block at `index` is in the picture.
    ///
    /// # Safety
    /// The rows reach as far.
    #[inline(always)]
    unsafe fn write<Samples: Copy>(&self, index: c_uint, samples: &[Samples; BLOCK]) {
        let column = (self.column + index) as usize * BLOCK;
        for (row, samples) in samples.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { (*self.rows.add(row)).add(column).cast::<Samples>().write_unaligned(*samples) };
        }
    }
}

/// Makes the samples of those blocks of a run that anybody wants.
///
/// # Safety
/// huffman.c calls this, for a decompressor that a session made, with blocks for whose samples the rows have the room.
pub(super) unsafe extern "C" fn inverse_dct(cinfo: *mut jpeg_decompress_struct, run: *const Run) {
    // SAFETY: the caller's promise.
    let (run, wanted) = unsafe { (&*run, wanted(cinfo)) };
    // SAFETY: the component is libjpeg's.
    let (index, table) = unsafe { ((*run.component).component_index as usize, table_of(run.component)) };
    let blocks = wanted.blocks(index);
    let inside = |column: u32| column.clamp(run.column, run.column + run.count) - run.column;
    let (first, end) = (inside(blocks.start), inside(blocks.end));
    #[cfg(target_arch = "x86_64")]
    {
        let isa = Isa::best();
        if isa.has_avx512() {
            // SAFETY: the blocks are there, and the CPU has AVX-512.
            return unsafe { in_pairs(run, first, end, table) };
        }
        if isa.has_avx2() {
            // SAFETY: the blocks are there, and the CPU has AVX2.
            return unsafe { one_by_one_avx2(run, first, end, table) };
        }
    }
    #[cfg(target_arch = "aarch64")]
    if Isa::best().has_neon() {
        // SAFETY: the blocks are there, and the CPU has NEON, which all code for such CPUs is compiled with.
        return unsafe { one_by_one::<Neon>(run, first, end, table) };
    }
    // SAFETY: the blocks are there.
    unsafe { one_by_one::<Plain>(run, first, end, table) }
}

/// # Safety
/// There are the blocks from `first` to before `end`, and the CPU can do what the kernel is made of.
#[inline(always)]
unsafe fn one_by_one<K: Kernel>(run: &Run, first: c_uint, end: c_uint, table: &Block<u16>) {
    for index in first..end {
        // SAFETY: the caller's promise.
        unsafe { run.write(index, &K::inverse_dct(run.block(index).0, table)) };
    }
}

/// # Safety
/// There are the blocks.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn one_by_one_avx2(run: &Run, first: c_uint, end: c_uint, table: &Block<u16>) {
    // SAFETY: the caller's promise.
    unsafe { one_by_one::<Avx2>(run, first, end, table) }
}

/// # Safety
/// There are the blocks.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512bw,avx512vl")]
unsafe fn in_pairs(run: &Run, first: c_uint, end: c_uint, table: &Block<u16>) {
    for index in (first..end).step_by(2) {
        // SAFETY: the caller's promise.
        unsafe {
            if index + 1 == end {
                return one_by_one::<Avx2>(run, index, end, table);
            }
            let (left, right) = (run.block(index), run.block(index + 1));
            let samples = idct_avx512::inverse_dct([left.0, right.0], left.1.max(right.1), table);
            run.write(index, &samples);
        }
    }
}
