//! What libjpeg's callbacks find through `client_data`.

use std::ffi::{c_int, c_long, c_void};
use std::ops::Range;
use std::ptr::null_mut;

use mozjpeg_sys::jpeg_decompress_struct;

use super::planes::BLOCK;
use super::runs::{self, Run};
use super::source;

/// The most components that a picture of the formats that are read has.
const COMPONENTS: usize = 4;

/// The first fields are those of huffman.h.
#[repr(C)]
pub(super) struct Shared {
    /// C's, while it runs, as `huffman` is.
    way_out: *mut c_void,
    next_block: unsafe extern "C" fn(&mut jpeg_decompress_struct) -> c_int,
    skip: unsafe extern "C" fn(&mut jpeg_decompress_struct, c_long) -> c_int,
    inverse_dct: unsafe extern "C" fn(*mut jpeg_decompress_struct, *const Run),
    huffman: *mut c_void,
    /// Whether coefficients are decoded by tables, as they are outside of tests; else by libjpeg.
    pub(super) by_tables: c_int,
    has_bmi2: c_int,
    pub(super) wanted: Wanted,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            way_out: null_mut(),
            next_block: source::next_block,
            skip: source::skip,
            inverse_dct: runs::inverse_dct,
            huffman: null_mut(),
            by_tables: 1,
            #[cfg(target_arch = "x86_64")]
            has_bmi2: std::arch::is_x86_feature_detected!("bmi2").into(),
            #[cfg(not(target_arch = "x86_64"))]
            has_bmi2: 0,
            wanted: Wanted { rows: true, columns: std::array::from_fn(|_| 0..u32::MAX) },
        }
    }
}

/// Which samples anybody reads: the inverse DCT of the others is left out.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Whether any of the rows that libjpeg makes now is.
    pub(super) rows: bool,
    /// The columns of each component.
    pub(super) columns: [Range<u32>; COMPONENTS],
}

impl Wanted {
    /// Whether some sample of the block at `column` is wanted.
    pub(super) fn has(&self, component: usize, column: u32) -> bool {
        let columns = self.columns.get(component);
        self.rows && columns.is_none_or(|columns| column < columns.end && columns.start < column + 8)
    }

    /// The blocks side by side of which some sample is wanted.
    pub(super) fn blocks(&self, component: usize) -> Range<u32> {
        match self.columns.get(component) {
            _ if !self.rows => 0..0,
            Some(columns) => columns.start / BLOCK as u32..columns.end.div_ceil(BLOCK as u32),
            None => 0..u32::MAX,
        }
    }
}

/// What is wanted of a decompressor's picture.
///
/// # Safety
/// A session made the decompressor, and does not change what is wanted as long as the reference lives.
pub(super) unsafe fn wanted<'s>(cinfo: *mut jpeg_decompress_struct) -> &'s Wanted {
    // SAFETY: the caller's promise; `client_data` was set to a `Shared` that lives as long as the session.
    unsafe { &(*(*cinfo).common.client_data.cast::<Shared>()).wanted }
}
