//! Cursors: the bitmap of the largest, as `CurImagePlugin` reads it. Of those in colours the mask does not count.

use crate::bmp::{Bitmap, Fourth};
use crate::error::DecodeError;
use crate::format::CUR as FORMAT;
use crate::limits::Limits;
use crate::raster::{Pixels, Raster};
use crate::reader::Reader;

/// Where a bitmap is that follows a directory of one entry: there alone Pillow takes the fourth byte for alpha.
const AFTER_ONE_ENTRY: u32 = 22;
const ENTRY: usize = 16;
const MAGIC: &[u8] = b"\0\0\x02\0";

/// Many a TGA begins like a cursor. Pillow takes a file for one if it has entries, and a bitmap's header where the largest points.
pub(crate) fn matches(bytes: &[u8]) -> bool {
    let Some(offset) = largest(bytes) else { return false };
    offset.is_none_or(|offset| bytes.len() >= header(offset, bytes) + 4)
}

/// Whether a file may be a cursor, which the rest of it tells.
pub(crate) fn begins(start: &[u8]) -> bool {
    start.starts_with(MAGIC)
}

/// Whether a file is surely a cursor: the first picture's entry makes sense.
pub(crate) fn is_certain(start: &[u8]) -> bool {
    let is_small = |at: usize| start.get(at..at + 2).is_some_and(|word| word[1] == 0);
    begins(start) && start.get(4..6) != Some(&[0, 0]) && is_small(10) && is_small(12)
}

/// The offset of the largest picture's bitmap: none where there are no entries, an empty one where the last entry is cut off.
fn largest(bytes: &[u8]) -> Option<Option<u32>> {
    let entries = bytes.strip_prefix(MAGIC)?;
    let (count, entries) = entries.split_first_chunk::<2>()?;
    let count = usize::from(u16::from_le_bytes(*count));
    if count == 0 || entries.len().div_ceil(ENTRY) < count {
        return None;
    }
    let Some(entries) = entries.get(..count * ENTRY) else { return Some(None) };
    let (first, others) = entries.split_at(ENTRY);
    let largest = others.chunks_exact(ENTRY).fold(first, |largest, entry| {
        if entry[0] > largest[0] && entry[1] > largest[1] { entry } else { largest }
    });
    Some(Some(u32::from_le_bytes([largest[12], largest[13], largest[14], largest[15]])))
}

/// Where the bitmap's header is: an offset of 0 is none, and reading goes on behind the entries.
fn header(offset: u32, bytes: &[u8]) -> usize {
    match offset {
        0 => 6 + ENTRY * usize::from(u16::from_le_bytes([bytes[4], bytes[5]])),
        offset => offset as usize,
    }
}

pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster, DecodeError> {
    let offset = largest(bytes).flatten().ok_or(DecodeError::Truncated { format: FORMAT })?;
    let mut reader = Reader::new(bytes, FORMAT);
    reader.seek(header(offset, bytes));
    let fourth = if offset == AFTER_ONE_ENTRY { Fourth::Alpha } else { Fourth::Unused };
    let bitmap = Bitmap::read(&mut reader, 0, fourth)?;
    let (width, height) = (bitmap.width(), bitmap.height() / 2);
    limits.check_frame(bitmap.width().into(), bitmap.height().into())?;
    limits.check(width.into(), height.into())?;
    if !bitmap.is_grey() {
        return Ok(Raster::new(width, height, bitmap.pixels(&reader, height)?));
    }
    if bitmap.height() % 2 != 0 {
        return Err(DecodeError::invalid(FORMAT, "an odd number of rows"));
    }
    // Of grey ones the upper half is read as a mask, of which the inverse covers transparent black.
    let Pixels::Grey(both) = bitmap.pixels(&reader, bitmap.height())? else {
        return Err(DecodeError::unsupported(FORMAT, "these colours"));
    };
    let (mask, grey) = both.split_at(both.len() / 2);
    let pairs = grey.iter().zip(mask).flat_map(|(&grey, &mask)| [covered(grey, 255 - mask), 255 - mask]);
    Ok(Raster::new(width, height, Pixels::GreyAlpha(pairs.collect())))
}

/// A value pasted on 0 under a mask (`BLEND` of `ImagingUtils.h`).
fn covered(value: u8, mask: u8) -> u8 {
    let product = u32::from(value) * u32::from(mask) + 128;
    (((product >> 8) + product) >> 8) as u8
}
