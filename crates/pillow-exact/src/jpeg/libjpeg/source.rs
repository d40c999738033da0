//! Where libjpeg's bytes come from: a slice, in the blocks in which Pillow hands out a file.

use std::ffi::{c_int, c_long};

use mozjpeg_sys::{jpeg_decompress_struct, jpeg_source_mgr};

/// Pillow reads a file in blocks of this many bytes.
const BLOCK: usize = 65_536;

/// Follows the last block once the picture is complete. It holds no marker, and the longest header of which
/// libjpeg wants all before it looks at any.
const PADDING: &[u8] = &[0; 16];

/// Bytes with an end: libjpeg asking for more there is a failure, as it is in Pillow. libjpeg's own sources would
/// invent an end marker, and grey pixels before it.
// libjpeg has a pointer to the first field, from which the callbacks make one to the whole.
#[repr(C)]
pub(super) struct Source<'a> {
    manager: jpeg_source_mgr,
    /// What libjpeg has not been given yet.
    rest: &'a [u8],
}

impl<'a> Source<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        // The functions are C's, and set there.
        let manager = jpeg_source_mgr {
            next_input_byte: bytes.as_ptr(),
            bytes_in_buffer: 0,
            init_source: None,
            fill_input_buffer: None,
            skip_input_data: None,
            resync_to_restart: None,
            term_source: None,
        };
        Self { manager, rest: bytes }
    }

    /// Gives libjpeg nothing but padding after the block that it has: Pillow reads on to there when the picture is
    /// complete.
    pub(super) fn end_here(&mut self) {
        self.rest = PADDING;
    }

    /// Whether libjpeg has been given all there is.
    pub(super) fn is_exhausted(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next block; none at the end.
    fn next_block(&mut self) -> Option<()> {
        let (block, rest) = self.rest.split_at(self.rest.len().min(BLOCK));
        self.rest = rest;
        self.manager.next_input_byte = block.as_ptr();
        self.manager.bytes_in_buffer = block.len();
        (!block.is_empty()).then_some(())
    }

    /// Passes over `count` bytes of this block and the following ones.
    fn skip(&mut self, mut count: usize) -> Option<()> {
        while count > self.manager.bytes_in_buffer {
            count -= self.manager.bytes_in_buffer;
            self.next_block()?;
        }
        self.manager.next_input_byte = self.manager.next_input_byte.wrapping_add(count);
        self.manager.bytes_in_buffer -= count;
        Some(())
    }
}

/// The source of a decompressor whose `src` is a [`Source`].
///
/// # Safety
/// It is, and nothing else uses it as long as what is returned.
unsafe fn source<'s>(cinfo: &jpeg_decompress_struct) -> &'s mut Source<'s> {
    // SAFETY: the caller's promise; `src` was made from a pointer to the whole, whose first field it is.
    unsafe { &mut *cinfo.src.cast::<Source<'s>>() }
}

/// Hands libjpeg the next block: 0 where there is none.
///
/// # Safety
/// libjpeg calls this for the decompressor that a session made, and touches the source only afterwards.
pub(super) unsafe extern "C" fn next_block(cinfo: &mut jpeg_decompress_struct) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { source(cinfo) }.next_block().is_some().into()
}

/// Passes over bytes: 0 where there are fewer.
///
/// # Safety
/// As for [`next_block`].
pub(super) unsafe extern "C" fn skip(cinfo: &mut jpeg_decompress_struct, count: c_long) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { source(cinfo) }.skip(usize::try_from(count).unwrap_or(0)).is_some().into()
}
