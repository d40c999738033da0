//! Icons: of their pictures the one that Pillow shows first, the largest. It is a PNG, or a bitmap above a mask (`IcoImagePlugin`).

use std::cmp::Reverse;

use crate::bmp::{Bitmap, Fourth};
use crate::error::DecodeError;
use crate::format::ICO as FORMAT;
use crate::limits::Limits;
use crate::png;
use crate::raster::{Pixels, Raster};
use crate::reader::Reader;

pub(crate) fn matches(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0\0\x01\0")
}

/// Whether a file is surely an icon: the first picture's entry makes sense.
pub(crate) fn is_certain(start: &[u8]) -> bool {
    matches(start) && start.get(4..6) != Some(&[0, 0]) && matches!(start.get(9..12), Some([0, 0 | 1, 0]))
}

/// Where a picture is, and what the directory says of it.
struct Entry {
    width: u32,
    height: u32,
    colours: u8,
    bits: u16,
    size: u32,
    offset: u32,
}

impl Entry {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let edge = |byte: u8| if byte == 0 { 256 } else { u32::from(byte) };
        let [width, height, colours, _reserved, _planes, _] = reader.array()?;
        Ok(Self {
            width: edge(width),
            height: edge(height),
            colours,
            bits: reader.u16_le()?,
            size: reader.u32_le()?,
            offset: reader.u32_le()?,
        })
    }

    /// The bits of a pixel, guessed from the colours where they are not stated.
    fn depth(&self) -> u32 {
        let guess = if self.colours == 0 { 0 } else { 8 - (self.colours - 1).leading_zeros() };
        [u32::from(self.bits), guess].into_iter().find(|&depth| depth != 0).unwrap_or(256)
    }
}

pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster, DecodeError> {
    let mut reader = Reader::new(bytes, FORMAT);
    reader.seek(4);
    let count = reader.u16_le()?;
    let entries: Vec<Entry> = (0..count).map(|_| Entry::read(&mut reader)).collect::<Result<_, _>>()?;
    // The largest; of those the one with the least bits, of those the first.
    let entry = entries.iter().min_by_key(|entry| (Reverse(entry.width * entry.height), entry.depth()));
    let entry = entry.ok_or_else(|| DecodeError::invalid(FORMAT, "no pictures"))?;
    reader.seek(entry.offset as usize);
    if png::matches(reader.rest()) {
        // Pillow keeps the pixels alone: neither a transparent colour nor an orientation.
        let Raster { width, height, pixels, .. } = png::decode(reader.rest(), limits)?;
        return Ok(Raster::new(width, height, pixels));
    }
    let bitmap = Bitmap::read(&mut reader, 0, Fourth::Unused)?;
    limits.check_frame(bitmap.width().into(), bitmap.height().into())?;
    // Half of the rows are the mask's.
    let (width, height) = (bitmap.width(), bitmap.height() / 2);
    limits.check(width.into(), height.into())?;
    let pixels = bitmap.pixels(&reader, height)?;
    let (width_, height_) = (width as usize, height as usize);
    let pixels = if entry.bits == 32 {
        reader.seek(bitmap.start());
        fourth_bytes(pixels, reader.take(width_ * height_ * 4)?, width_)
    } else {
        // A mask of one bit stands at the end, whatever the bitmap's size.
        let stride = width_.next_multiple_of(32) / 8;
        let end = u64::from(entry.offset) + u64::from(entry.size);
        let start = end.checked_sub((stride * height_) as u64);
        let start = start.ok_or_else(|| DecodeError::invalid(FORMAT, "a mask larger than the file"))?;
        reader.seek(usize::try_from(start).unwrap_or(usize::MAX));
        let mask = reader.take(stride * (height_ - 1) + width_.div_ceil(8))?;
        masked(pixels, mask, stride, width_)
    };
    Ok(Raster::new(width, height, pixels))
}

/// Alpha is every fourth byte, from the last row to the first.
fn fourth_bytes(pixels: Pixels, data: &[u8], width: usize) -> Pixels {
    let rows = data.chunks_exact(width * 4).rev();
    pixels.with_alpha(rows.flat_map(|row| row.iter().skip(3).step_by(4).copied()))
}

/// Where a bit is set, nothing is seen.
fn masked(pixels: Pixels, mask: &[u8], stride: usize, width: usize) -> Pixels {
    let alpha = |row: &[u8], x: usize| if row[x / 8] >> (7 - x % 8) & 1 == 0 { 255 } else { 0 };
    pixels.with_alpha(mask.chunks(stride).rev().flat_map(|row| (0..width).map(move |x| alpha(row, x))))
}
