//! From rows of bytes to pixels of Pillow's modes (`Unpack.c`).

use super::directory::Directory;
use super::layout::{Layout, Mode, tag};
use super::pieces::Plane;
use crate::error::DecodeError;
use crate::format::TIFF as FORMAT;
use crate::raster::{Palette, Pixels};

/// Where the high byte of a number is, and how its bits lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    /// Numbers of the modes that name no order of their own.
    pub(super) is_little: bool,
    /// The order that the mode names, in which libtiff's numbers are read too (`I;16BS` and its kin).
    pub(super) mode_is_little: bool,
    /// The lowest bit of a byte is the first.
    pub(super) reversed: bool,
}

pub(super) fn pixels(
    planes: Vec<Plane>,
    directory: &Directory,
    layout: &Layout,
    numbers: Numbers,
) -> Result<Pixels, DecodeError> {
    let mut planes = planes;
    if numbers.reversed {
        planes.iter_mut().flat_map(|plane| &mut plane.bytes).for_each(|byte| *byte = byte.reverse_bits());
    }
    let [first, others @ ..] = planes.as_slice() else {
        return Err(DecodeError::invalid(FORMAT, "no planes"));
    };
    let width = layout.width as usize;
    let bands = layout.mode.bands();
    match layout.mode {
        Mode::Grey { inverted } if layout.bits < 8 => {
            let most = (1u8 << layout.bits) - 1;
            let grey = few_bits(first, layout.bits, width).map(|value| value * (255 / most));
            return Ok(Pixels::Grey(grey.map(|value| if inverted { 255 - value } else { value }).collect()));
        }
        Mode::Indexed if layout.bits < 8 => {
            let indices = few_bits(first, layout.bits, width).collect();
            return Ok(Pixels::Indexed(indices, palette(directory)?));
        }
        Mode::Grey16 if layout.bits == 12 => {
            let rows = first.bytes.chunks_exact(first.row);
            return Ok(Pixels::Grey16(
                rows.flat_map(|row| (0..width).map(|x| twelve_bits(row, x))).collect(),
            ));
        }
        Mode::Grey16 => {
            let number = |pair: &[u8]| {
                let pair = [pair[0], pair[1]];
                if numbers.is_little { u16::from_le_bytes(pair) } else { u16::from_be_bytes(pair) }
            };
            return Ok(Pixels::Grey16(first.bytes.chunks_exact(2).map(number).collect()));
        }
        Mode::Integer { signed } => return Ok(Pixels::Grey(integers(first, layout.bits, signed, numbers))),
        Mode::Float => {
            let float = |bytes: &[u8]| {
                let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
                let order = if numbers.mode_is_little { f32::from_le_bytes } else { f32::from_be_bytes };
                // Rounded down, as `f2l` does.
                order(bytes) as u8
            };
            return Ok(Pixels::Grey(first.bytes.chunks_exact(4).map(float).collect()));
        }
        _ => {}
    }

    // One byte a sample, of those with two the high one.
    let size = layout.bits / 8;
    let high = if size == 2 && numbers.is_little { 1 } else { 0 };
    let stored = layout.pixel_bits() / 8;
    let mut samples: Vec<u8> = if others.is_empty() {
        if (stored, size) == (bands, 1) {
            planes.remove(0).bytes
        } else {
            let pixels = first.bytes.chunks_exact(stored);
            pixels.flat_map(|pixel| pixel.chunks_exact(size).take(bands).map(|sample| sample[high])).collect()
        }
    } else {
        let mut samples = vec![0; first.bytes.len() / size * bands];
        for (band, plane) in planes.iter().enumerate().take(bands) {
            let values = plane.bytes.chunks_exact(size).map(|sample| sample[high]);
            samples[band..].iter_mut().step_by(bands).zip(values).for_each(|(to, value)| *to = value);
        }
        samples
    };
    Ok(match layout.mode {
        Mode::Grey { inverted } => {
            if inverted {
                samples.iter_mut().for_each(|value| *value = 255 - *value);
            }
            Pixels::Grey(samples)
        }
        Mode::GreyAlpha => Pixels::GreyAlpha(samples),
        Mode::Indexed => Pixels::Indexed(samples, palette(directory)?),
        Mode::IndexedAlpha => Pixels::IndexedAlpha(samples, palette(directory)?),
        Mode::Rgb => Pixels::Rgb(samples),
        Mode::Rgba => Pixels::Rgba(samples),
        Mode::Premultiplied => {
            samples.chunks_exact_mut(4).for_each(divide);
            Pixels::Rgba(samples)
        }
        Mode::Cmyk => Pixels::Cmyk(samples),
        // JPEG's are colours by now; others are not read here, but for plain ones.
        _ if layout.compression == 7 => Pixels::Rgb(samples),
        _ => return Err(DecodeError::unsupported(FORMAT, "plain YCbCr")),
    })
}

fn few_bits(plane: &Plane, bits: usize, width: usize) -> impl Iterator<Item = u8> {
    let most = (1u8 << bits) - 1;
    let rows = plane.bytes.chunks_exact(plane.row);
    rows.flat_map(move |row| (0..width).map(move |x| row[x * bits / 8] >> (8 - bits - x * bits % 8) & most))
}

/// Two numbers in three bytes (`unpackI12_I16`).
fn twelve_bits(row: &[u8], x: usize) -> u16 {
    let at = x / 2 * 3;
    let middle = u16::from(row[at + 1]);
    if x.is_multiple_of(2) {
        u16::from(row[at]) << 4 | middle >> 4
    } else {
        (middle & 0xf) << 8 | u16::from(row[at + 2])
    }
}

/// Whole numbers, which become grey by being clamped.
fn integers(plane: &Plane, bits: usize, signed: bool, numbers: Numbers) -> Vec<u8> {
    let clamped = |bytes: &[u8]| {
        let fold = |sum: u32, &byte: &u8| sum << 8 | u32::from(byte);
        let number = if numbers.mode_is_little {
            bytes.iter().rev().fold(0, fold)
        } else {
            bytes.iter().fold(0, fold)
        };
        // Pillow's own numbers have a sign, whatever the file's have.
        let number = match (bits, signed) {
            (16, true) => i32::from(number as u16 as i16),
            _ => number as i32,
        };
        number.clamp(0, 255) as u8
    };
    plane.bytes.chunks_exact(bits / 8).map(clamped).collect()
}

/// Colours that were stored times alpha (`unpackRGBa`).
fn divide(pixel: &mut [u8]) {
    let [colours @ .., alpha] = pixel else { return };
    for value in colours {
        *value = match *alpha {
            0 => 0,
            alpha => (u32::from(*value) * 255 / u32::from(alpha)).min(255) as u8,
        };
    }
}

/// Reds, greens and blues of 16 bits, of which the high byte counts. What is missing is black.
fn palette(directory: &Directory) -> Result<Box<Palette>, DecodeError> {
    let colours =
        directory.numbers(tag::COLOURS)?.ok_or_else(|| DecodeError::invalid(FORMAT, "no palette"))?;
    let count = colours.len() / 3;
    if colours.len() % 3 != 0 || count > 256 || colours.iter().any(|&value| value > 0xffff) {
        return Err(DecodeError::unsupported(FORMAT, format!("a palette of {} numbers", colours.len())));
    }
    let mut palette = Box::new([[0; 3]; 256]);
    for (index, colour) in palette.iter_mut().enumerate().take(count) {
        *colour = [0, 1, 2].map(|channel| (colours[channel * count + index] >> 8) as u8);
    }
    Ok(palette)
}
