//! SGI's format, verbatim and in run lengths, of one or two bytes a sample (`SgiImagePlugin`).

use crate::error::DecodeError;
use crate::format::SGI as FORMAT;
use crate::limits::Limits;
use crate::raster::{Pixels, Raster};
use crate::reader::Reader;

const HEADER: usize = 512;

pub(crate) fn matches(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x01, 0xda])
}

/// Whether a file is surely one of these: two bytes alone say little.
pub(crate) fn is_certain(start: &[u8]) -> bool {
    matches(start) && matches!(start.get(2..6), Some([0 | 1, 1 | 2, 0, 1..=3]))
}

/// Shape of a picture and of its samples.
#[derive(Clone, Copy, Debug)]
struct Layout {
    width: usize,
    height: usize,
    bands: usize,
    /// Bytes a sample, of which only the first counts.
    bytes: usize,
}

pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster, DecodeError> {
    let mut reader = Reader::new(bytes, FORMAT);
    reader.seek(2);
    let (compression, sample) = (reader.byte()?, reader.byte()?);
    let dimension = reader.u16_be()?;
    let (width, height, bands) = (reader.u16_be()?, reader.u16_be()?, reader.u16_be()?);
    if !matches!((sample, dimension, bands), (1 | 2, 1 | 2, 1) | (1 | 2, 3, 3 | 4)) {
        let what = format!("{bands} bands of {sample} bytes in {dimension} dimensions");
        return Err(DecodeError::unsupported(FORMAT, what));
    }
    limits.check(width.into(), height.into())?;
    let layout =
        Layout { width: width.into(), height: height.into(), bands: bands.into(), bytes: sample.into() };
    let samples = match compression {
        0 => verbatim(&mut reader, layout)?,
        1 => run_lengths(bytes, layout)?,
        other => return Err(DecodeError::unsupported(FORMAT, format!("compression {other}"))),
    };
    let pixels = match bands {
        1 => Pixels::Grey(samples),
        3 => Pixels::Rgb(samples),
        _ => Pixels::Rgba(samples),
    };
    Ok(Raster::new(width.into(), height.into(), pixels))
}

/// Band after band, from the last row to the first.
fn verbatim(reader: &mut Reader, layout: Layout) -> Result<Vec<u8>, DecodeError> {
    let Layout { width, height, bands, bytes } = layout;
    reader.seek(HEADER);
    let data = reader.take(width * height * bands * bytes)?;
    let mut samples = vec![0; width * height * bands];
    for (band, plane) in data.chunks_exact(width * height * bytes).enumerate() {
        for (from, row) in
            plane.chunks_exact(width * bytes).rev().zip(samples.chunks_exact_mut(width * bands))
        {
            for (value, sample) in row[band..].iter_mut().step_by(bands).zip(from.chunks_exact(bytes)) {
                *value = sample[0];
            }
        }
    }
    Ok(samples)
}

/// Why a row's run lengths end.
enum End {
    Row,
    /// `expandrow` says so where the length that is stated ends in the middle: the rest of the picture stays black, and is no error.
    Picture,
}

/// Each row of each band stands where a table says (`ImagingSgiRleDecode`).
fn run_lengths(bytes: &[u8], layout: Layout) -> Result<Vec<u8>, DecodeError> {
    let Layout { width, height, bands, bytes: size } = layout;
    let count = bands * height;
    let data = bytes.get(HEADER..).unwrap_or_default();
    let (starts, rest) = data.split_at_checked(count * 4).ok_or(DecodeError::Truncated { format: FORMAT })?;
    let lengths = rest.get(..count * 4).ok_or(DecodeError::Truncated { format: FORMAT })?;
    let number = |table: &[u8], index: usize| {
        let entry = &table[index * 4..index * 4 + 4];
        u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]])
    };
    let mut samples = vec![0; width * height * bands];
    // What a row leaves out is what the one before it had there.
    let mut line = vec![0; width * bands];
    'rows: for row in 0..height {
        for band in 0..bands {
            let index = row + band * height;
            let start = (number(starts, index) as usize).checked_sub(HEADER);
            let start = start.ok_or_else(|| DecodeError::invalid(FORMAT, "a row inside the header"))?;
            let data = data.get(start..).unwrap_or_default();
            let values = line[band..].iter_mut().step_by(bands);
            match expand(data, number(lengths, index) as i32, values, width, size)? {
                End::Row => {}
                End::Picture => break 'rows,
            }
        }
        let place = (height - 1 - row) * width * bands;
        samples[place..place + width * bands].copy_from_slice(&line);
    }
    Ok(samples)
}

/// Spreads the runs of one row over its values; `length` is taken for a number of runs. Literal values need a byte behind them (`expandrow`,
/// `expandrow2`).
fn expand<'a>(
    mut data: &[u8],
    length: i32,
    mut values: impl Iterator<Item = &'a mut u8>,
    width: usize,
    size: usize,
) -> Result<End, DecodeError> {
    let broken = || DecodeError::invalid(FORMAT, "run lengths beyond the row or the file");
    let mut x = 0;
    for left in (1..=length).rev() {
        let (head, rest) = data.split_at_checked(size).ok_or_else(broken)?;
        let head = head[size - 1];
        if left == 1 && head != 0 {
            return Ok(End::Picture);
        }
        let count = usize::from(head & 0x7f);
        if count == 0 {
            return Ok(End::Row);
        }
        x += count;
        if x > width {
            return Err(broken());
        }
        data = rest;
        if head & 0x80 != 0 {
            if data.len() <= count * size {
                return Err(broken());
            }
            let literal;
            (literal, data) = data.split_at(count * size);
            values
                .by_ref()
                .zip(literal.chunks_exact(size))
                .take(count)
                .for_each(|(value, from)| *value = from[0]);
        } else {
            // Of two bytes, one more must follow.
            if data.len() < if size == 1 { 1 } else { 3 } {
                return Err(broken());
            }
            values.by_ref().take(count).for_each(|value| *value = data[0]);
            data = &data[size..];
        }
    }
    Ok(End::Row)
}
