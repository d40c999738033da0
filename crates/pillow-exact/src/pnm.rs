//! PBM, PGM, PPM (plain and raw), PFM of one channel, and Pillow's own kin of them.

use crate::error::DecodeError;
use crate::format::PNM as FORMAT;
use crate::limits::Limits;
use crate::raster::{Pixels, Raster};
use crate::reader::Reader;

/// The pieces in which Pillow reads plain files: all of a piece is checked, even past the last pixel.
const BLOCK: usize = 1024 * 1024;
/// The longest token that is taken.
const MAX_TOKEN: usize = 10;

pub(crate) fn matches(bytes: &[u8]) -> bool {
    matches!(bytes, [b'P', b'0'..=b'6' | b'f' | b'y', ..])
}

/// Whether a file is surely a PNM: many a text begins with the same two letters.
pub(crate) fn is_certain(start: &[u8]) -> bool {
    matches(start) && start.get(2).is_some_and(u8::is_ascii_whitespace)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Bilevel,
    Grey,
    Rgb,
    Rgba,
    Cmyk,
    Indexed,
    Float,
}

impl Mode {
    fn channels(self) -> usize {
        match self {
            Self::Rgb => 3,
            Self::Rgba | Self::Cmyk => 4,
            _ => 1,
        }
    }
}

pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster, DecodeError> {
    let mut reader = Reader::new(bytes, FORMAT);
    let (mode, plain) = match magic(&mut reader).as_slice() {
        b"P1" => (Mode::Bilevel, true),
        b"P2" => (Mode::Grey, true),
        b"P3" => (Mode::Rgb, true),
        b"P4" => (Mode::Bilevel, false),
        b"P5" => (Mode::Grey, false),
        b"P6" => (Mode::Rgb, false),
        b"Pf" => (Mode::Float, false),
        b"P0CMYK" | b"PyCMYK" => (Mode::Cmyk, false),
        b"PyP" => (Mode::Indexed, false),
        b"PyRGBA" => (Mode::Rgba, false),
        _ => return Err(DecodeError::invalid(FORMAT, "unknown kind")),
    };
    let (width, height) = (positive(&mut reader)?, positive(&mut reader)?);
    limits.check(width, height)?;
    let count = (width * height) as usize * mode.channels();

    let pixels = match mode {
        Mode::Bilevel if plain => Pixels::Grey(plain_bits(&reader, count)?),
        Mode::Bilevel => Pixels::Grey(raw_bits(&mut reader, width as usize, height as usize)?),
        Mode::Float => Pixels::Grey(floats(&mut reader, width as usize, height as usize)?),
        _ => {
            let maximum = positive(&mut reader)?;
            if maximum > 65_535 {
                return Err(DecodeError::invalid(FORMAT, format!("maximum value {maximum}")));
            }
            samples(&mut reader, mode, plain, maximum as u32, count)?
        }
    };
    Ok(Raster::new(width as u32, height as u32, pixels))
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// The letters before the first white space, six at most.
fn magic(reader: &mut Reader) -> Vec<u8> {
    let mut magic = Vec::new();
    while magic.len() < 6 {
        match reader.up_to(1) {
            [byte] if !is_space(*byte) => magic.push(*byte),
            _ => break,
        }
    }
    magic
}

/// The next word of the header. A comment runs to the end of its line and does not end a word.
fn token(reader: &mut Reader) -> Result<Vec<u8>, DecodeError> {
    let mut token = Vec::new();
    while token.len() <= MAX_TOKEN {
        match reader.up_to(1) {
            [] => break,
            [byte] if is_space(*byte) => {
                if !token.is_empty() {
                    break;
                }
            }
            b"#" => while !matches!(reader.up_to(1), [] | b"\r" | b"\n") {},
            [byte, ..] => token.push(*byte),
        }
    }
    match token.len() {
        0 => Err(DecodeError::Truncated { format: FORMAT }),
        1..=MAX_TOKEN => Ok(token),
        _ => Err(DecodeError::invalid(FORMAT, "a number of more than 10 characters")),
    }
}

/// A whole number as Python's `int` reads it: a sign, digits, single underscores between them.
fn integer(token: &[u8]) -> Option<i64> {
    let (sign, digits) = match token {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] => (1, digits),
        digits => (1, digits),
    };
    let mut value = 0i64;
    for part in digits.split(|&byte| byte == b'_') {
        if part.is_empty() || !part.iter().all(u8::is_ascii_digit) {
            return None;
        }
        for digit in part {
            value = value.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
        }
    }
    Some(sign * value)
}

fn positive(reader: &mut Reader) -> Result<u64, DecodeError> {
    let token = token(reader)?;
    match integer(&token) {
        Some(value @ 1..) => Ok(value as u64),
        _ => {
            Err(DecodeError::invalid(FORMAT, format!("{:?} in the header", String::from_utf8_lossy(&token))))
        }
    }
}

/// Takes comments out of plain data, line ends included, so that what they part is joined.
fn without_comments(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    let mut rest = data;
    while let Some(start) = rest.iter().position(|&byte| byte == b'#') {
        out.extend_from_slice(&rest[..start]);
        let end = rest[start..].iter().position(|&byte| matches!(byte, b'\r' | b'\n'));
        rest = end.map_or(&[], |end| &rest[start + end + 1..]);
    }
    out.extend_from_slice(rest);
    out
}

fn plain_bits(reader: &Reader, count: usize) -> Result<Vec<u8>, DecodeError> {
    let mut bits = Vec::new();
    for block in without_comments(reader.rest()).chunks(BLOCK) {
        if bits.len() == count {
            break;
        }
        for &byte in block.iter().filter(|&&byte| !is_space(byte)) {
            match byte {
                b'0' => bits.push(255),
                b'1' => bits.push(0),
                _ => return Err(DecodeError::invalid(FORMAT, "a bit other than 0 and 1")),
            }
        }
        bits.truncate(count);
    }
    if bits.len() < count { Err(DecodeError::Truncated { format: FORMAT }) } else { Ok(bits) }
}

fn raw_bits(reader: &mut Reader, width: usize, height: usize) -> Result<Vec<u8>, DecodeError> {
    let stride = width.div_ceil(8);
    let data = reader.take(stride * height)?;
    let row = |row: &[u8]| {
        (0..width).map(|x| if row[x / 8] >> (7 - x % 8) & 1 == 0 { 255 } else { 0 }).collect::<Vec<u8>>()
    };
    Ok(data.chunks_exact(stride).flat_map(row).collect())
}

/// One-channel floats, bottom row first, cut to 0..=255 as Pillow's conversion does.
fn floats(reader: &mut Reader, width: usize, height: usize) -> Result<Vec<u8>, DecodeError> {
    let token = token(reader)?;
    let scale = std::str::from_utf8(&token).ok().and_then(|text| text.parse::<f64>().ok());
    let little_endian = match scale {
        Some(scale) if scale.is_finite() && scale != 0.0 => scale < 0.0,
        _ => return Err(DecodeError::invalid(FORMAT, "scale of a float map")),
    };
    let data = reader.take(width * height * 4)?;
    let value = |bytes: &[u8]| {
        let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
        (if little_endian { f32::from_le_bytes(bytes) } else { f32::from_be_bytes(bytes) }) as u8
    };
    Ok(data.chunks_exact(width * 4).rev().flat_map(|row| row.chunks_exact(4)).map(value).collect())
}

/// All kinds whose samples have a maximum.
fn samples(
    reader: &mut Reader,
    mode: Mode,
    plain: bool,
    maximum: u32,
    count: usize,
) -> Result<Pixels, DecodeError> {
    let wide = mode == Mode::Grey && maximum > 255;
    let out_maximum = if wide { 65_535.0 } else { 255.0 };
    // Python's division and its rounding, halves to even.
    let scaled = |value: u32| {
        (f64::from(value) / f64::from(maximum) * out_maximum).round_ties_even().min(out_maximum) as u16
    };
    let values: Vec<u16> = if plain {
        plain_samples(reader, maximum, count)?.into_iter().map(scaled).collect()
    } else if maximum < 256 {
        let data = reader.take(count)?;
        if maximum == 255 {
            return Ok(pixels(mode, data.to_vec()));
        }
        data.iter().map(|&value| scaled(value.into())).collect()
    } else {
        let data = reader.take(count * 2)?;
        data.chunks_exact(2).map(|pair| scaled(u16::from_be_bytes([pair[0], pair[1]]).into())).collect()
    };
    if wide {
        return Ok(Pixels::Grey16(values));
    }
    Ok(pixels(mode, values.into_iter().map(|value| value as u8).collect()))
}

fn pixels(mode: Mode, values: Vec<u8>) -> Pixels {
    match mode {
        Mode::Rgb => Pixels::Rgb(values),
        Mode::Rgba => Pixels::Rgba(values),
        Mode::Cmyk => Pixels::Cmyk(values),
        // Such a file has no palette, so all its colours are black.
        Mode::Indexed => Pixels::Indexed(values, Box::new([[0; 3]; 256])),
        _ => Pixels::Grey(values),
    }
}

fn plain_samples(reader: &Reader, maximum: u32, count: usize) -> Result<Vec<u32>, DecodeError> {
    let data = without_comments(reader.rest());
    let mut values = Vec::new();
    for token in data.split(|&byte| is_space(byte)).filter(|token| !token.is_empty()).take(count) {
        let value = if token.len() > MAX_TOKEN { None } else { integer(token) };
        match value.map(u32::try_from) {
            Some(Ok(value)) if value <= maximum => values.push(value),
            _ => {
                let shown = String::from_utf8_lossy(&token[..token.len().min(MAX_TOKEN)]).into_owned();
                return Err(DecodeError::invalid(FORMAT, format!("sample {shown:?} with maximum {maximum}")));
            }
        }
    }
    if values.len() < count { Err(DecodeError::Truncated { format: FORMAT }) } else { Ok(values) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels(file: &[u8]) -> Result<Pixels, DecodeError> {
        decode(file, &Limits::new(1 << 20, None)).map(|raster| raster.pixels)
    }

    fn grey(file: &[u8]) -> Vec<u8> {
        match pixels(file) {
            Ok(Pixels::Grey(values)) => values,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn plain_and_raw_say_the_same() {
        assert_eq!(grey(b"P1 3 1 1 0 1"), [0, 255, 0]);
        assert_eq!(grey(b"P1 3 1 101"), [0, 255, 0]);
        assert_eq!(grey(b"P4 3 1\n\xa0"), [0, 255, 0]);
        assert_eq!(grey(b"P2 2 1 255 7 200"), [7, 200]);
        assert_eq!(grey(b"P5 2 1 255\n\x07\xc8"), [7, 200]);
        assert!(matches!(pixels(b"P3 1 1 255 1 2 3"), Ok(Pixels::Rgb(rgb)) if rgb == [1, 2, 3]));
        assert!(matches!(pixels(b"P6 1 1 255\n\x01\x02\x03"), Ok(Pixels::Rgb(rgb)) if rgb == [1, 2, 3]));
    }

    #[test]
    fn comments_end_with_their_line_and_join_what_they_part() {
        assert_eq!(grey(b"P2 # a comment\n2 1 255 7 # another\n 200"), [7, 200]);
        assert_eq!(grey(b"P2 2 1 255 7 2#\n00"), [7, 200]);
    }

    #[test]
    fn other_maxima_are_scaled_with_halves_to_even() {
        assert_eq!(grey(b"P2 3 1 6 1 2 3"), [42, 85, 128]);
        assert_eq!(grey(b"P5 2 1 15\n\x0f\x01"), [255, 17]);
        // More than 8 bits of grey stay so; of colours they do not.
        assert!(matches!(pixels(b"P5 1 1 65535\n\x01\x02"), Ok(Pixels::Grey16(grey)) if grey == [258]));
        let wide = pixels(b"P6 1 1 65535\n\x01\x01\x80\x80\xff\xff");
        assert!(matches!(wide, Ok(Pixels::Rgb(rgb)) if rgb == [1, 128, 255]));
    }

    #[test]
    fn floats_are_bottom_up_and_cut() {
        let file = |scale: &str, values: [[u8; 4]; 2]| {
            [format!("Pf 1 2 {scale}\n").as_bytes(), &values.concat()].concat()
        };
        assert_eq!(grey(&file("-1.0", [7.9f32.to_le_bytes(), 300f32.to_le_bytes()])), [255, 7]);
        assert_eq!(grey(&file("1.0", [(-3f32).to_be_bytes(), 8f32.to_be_bytes()])), [8, 0]);
    }

    #[test]
    fn what_is_missing_or_wrong_is_an_error() {
        for (file, message) in [
            (&b"P5 2 1 255\n\x07"[..], "PNM is truncated"),
            (b"P2 2 1 255 7", "PNM is truncated"),
            (b"P5 2", "PNM is truncated"),
            (b"P5 2 -1 255\n", "broken PNM: \"-1\" in the header"),
            (b"P5 1 1 65536\n\0\0", "broken PNM: maximum value 65536"),
            (b"P2 1 1 255 256", "broken PNM: sample \"256\" with maximum 255"),
            (b"P1 1 1 2", "broken PNM: a bit other than 0 and 1"),
            (b"P7 1 1 255\n\0", "broken PNM: unknown kind"),
            (b"Pf 1 1 0\n\0\0\0\0", "broken PNM: scale of a float map"),
        ] {
            assert_eq!(pixels(file).expect_err("no picture").to_string(), message);
        }
    }
}
