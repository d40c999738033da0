//! Uncompressed pixels, whose bits are told by masks (`DdsRgbDecoder`).

use crate::error::DecodeError;
use crate::format::DDS as FORMAT;
use crate::raster::Pixels;
use crate::reader::Reader;

/// A sample is what is under its mask, as a part of the most that fits there, times 255 and rounded down, all in doubles.
pub(super) fn pixels(
    reader: &mut Reader,
    bits: u32,
    masks: &[u32],
    count: usize,
) -> Result<Pixels, DecodeError> {
    let size = bits as usize / 8;
    if size == 0 {
        return Err(DecodeError::invalid(FORMAT, format!("pixels of {bits} bits")));
    }
    let data = reader.take(count.saturating_mul(size))?;
    let sample = |value: u32, mask: u32| match mask.trailing_zeros() {
        32 => 0,
        shift => (f64::from((value & mask) >> shift) / f64::from(mask >> shift) * 255.0) as u8,
    };
    let mut samples = Vec::with_capacity(count * masks.len());
    for pixel in data.chunks_exact(size) {
        // Masks have 32 bits, so that further ones count for nothing.
        let value = pixel.iter().take(4).rev().fold(0, |value, &byte| value << 8 | u32::from(byte));
        samples.extend(masks.iter().map(|&mask| sample(value, mask)));
    }
    Ok(if masks.len() == 3 { Pixels::Rgb(samples) } else { Pixels::Rgba(samples) })
}
