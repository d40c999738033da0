//! PCX: bits in one to four planes, bytes with a palette behind them, and three planes of bytes (`PcxImagePlugin`).

use crate::error::DecodeError;
use crate::format::PCX as FORMAT;
use crate::limits::Limits;
use crate::raster::{Palette, Pixels, Raster};
use crate::reader::Reader;

/// Where the rows begin.
const HEADER: usize = 128;
/// A palette of 256 colours at the end of the file, behind its mark.
const PALETTE: usize = 769;
const PALETTE_MARK: u8 = 12;

pub(crate) fn matches(bytes: &[u8]) -> bool {
    matches!(bytes, [10, 0 | 2 | 3 | 5, ..])
}

/// Whether a file is surely a PCX: two bytes alone say little.
pub(crate) fn is_certain(start: &[u8]) -> bool {
    matches(start) && matches!(start.get(2..4), Some([0 | 1, 1 | 2 | 4 | 8]))
}

/// How the planes of a row make pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Bilevel,
    /// So many planes of bits, each with half the weight of the next.
    Bits(usize),
    Bytes,
    Rgb,
}

pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster, DecodeError> {
    let mut reader = Reader::new(bytes, FORMAT);
    let header = reader.take(68)?;
    let word = |at: usize| u32::from(u16::from_le_bytes([header[at], header[at + 1]]));
    let (left, top, right, bottom) = (word(4), word(6), word(8) + 1, word(10) + 1);
    if right <= left || bottom <= top {
        return Err(DecodeError::invalid(FORMAT, "a size below 1"));
    }
    let (width, height) = (right - left, bottom - top);
    limits.check(width.into(), height.into())?;
    let (version, bits, planes) = (header[1], header[3], header[65]);
    let (layout, planes) = match (version, bits, planes) {
        (_, 1, 1) => (Layout::Bilevel, 1),
        (_, 1, 2 | 4) => (Layout::Bits(planes.into()), usize::from(planes)),
        (5, 8, 1) => (Layout::Bytes, 1),
        (5, 8, 3) => (Layout::Rgb, 3),
        _ => {
            let what = format!("{planes} planes of {bits} bits in version {version}");
            return Err(DecodeError::unsupported(FORMAT, what));
        }
    };
    let palette = match layout {
        Layout::Bits(_) => Some(colours(&header[16..64])),
        Layout::Bytes => last_palette(bytes)?,
        _ => None,
    };

    // The stride that the header states is only believed where it is the least one; else rows are even.
    let (width, height) = (width as usize, height as usize);
    let least = (width * usize::from(bits)).div_ceil(8);
    let stride = if word(66) as usize == least { least } else { least.next_multiple_of(2) };
    reader.seek(HEADER);
    let rows = unpack(reader.rest(), stride * planes, height)?;
    let pixels = match layout {
        Layout::Bilevel => {
            let bit = |row: &[u8], x: usize| (row[x / 8] >> (7 - x % 8) & 1) * 255;
            Pixels::Grey(
                rows.chunks_exact(stride).flat_map(|row| (0..width).map(move |x| bit(row, x))).collect(),
            )
        }
        Layout::Bits(planes) => {
            let pixel = |row: &[u8], x: usize| {
                let bit = |plane: usize| (row[plane * stride + x / 8] >> (7 - x % 8) & 1) << plane;
                (0..planes).map(bit).sum()
            };
            let rows = rows.chunks_exact(stride * planes);
            let indices = rows.flat_map(|row| (0..width).map(move |x| pixel(row, x))).collect();
            Pixels::Indexed(indices, palette.unwrap_or_else(|| Box::new([[0; 3]; 256])))
        }
        Layout::Bytes => {
            let bytes = rows.chunks_exact(stride).map(|row| &row[..width]).collect::<Vec<_>>().concat();
            match palette {
                Some(palette) => Pixels::Indexed(bytes, palette),
                None => Pixels::Grey(bytes),
            }
        }
        Layout::Rgb => {
            let mut pixels = vec![[0; 3]; width * height];
            for (row, pixels) in rows.chunks_exact(stride * 3).zip(pixels.chunks_exact_mut(width)) {
                let (red, rest) = row.split_at(stride);
                let (green, blue) = rest.split_at(stride);
                let colours = red.iter().zip(green).zip(blue);
                pixels.iter_mut().zip(colours).for_each(|(to, ((&r, &g), &b))| *to = [r, g, b]);
            }
            Pixels::Rgb(pixels.into_flattened())
        }
    };
    Ok(Raster::new(width as u32, height as u32, pixels))
}

fn colours(data: &[u8]) -> Box<Palette> {
    let mut palette = Box::new([[0; 3]; 256]);
    for (colour, rgb) in palette.iter_mut().zip(data.chunks_exact(3)) {
        *colour = [rgb[0], rgb[1], rgb[2]];
    }
    palette
}

/// The palette at the end of the file, unless it is missing or a grey ramp, where Pillow takes the bytes for grey.
fn last_palette(bytes: &[u8]) -> Result<Option<Box<Palette>>, DecodeError> {
    let start = bytes.len().checked_sub(PALETTE).ok_or(DecodeError::Truncated { format: FORMAT })?;
    let palette = colours(&bytes[start + 1..]);
    let is_ramp = (0..=255).zip(palette.iter()).all(|(value, colour)| *colour == [value; 3]);
    Ok((bytes[start] == PALETTE_MARK && !is_ramp).then_some(palette))
}

/// Undoes the run lengths (`ImagingPcxDecode`): a run ends with its row.
fn unpack(mut data: &[u8], row: usize, height: usize) -> Result<Vec<u8>, DecodeError> {
    let wanted = row * height;
    // Two bytes give 63 at most.
    let mut rows = Vec::with_capacity(wanted.min(data.len().saturating_mul(32)));
    while rows.len() < wanted {
        match data {
            [head @ 0xc0..=0xff, value, rest @ ..] => {
                let count = usize::from(head & 0x3f);
                if rows.len() % row + count > row {
                    return Err(DecodeError::invalid(FORMAT, "a run beyond its row"));
                }
                rows.extend(std::iter::repeat_n(*value, count));
                data = rest;
            }
            [value @ 0..=0xbf, rest @ ..] => {
                rows.push(*value);
                data = rest;
            }
            _ => return Err(DecodeError::Truncated { format: FORMAT }),
        }
    }
    Ok(rows)
}
