//! QOI, as Pillow's `QoiDecoder` reads it: the table of seen pixels takes in every pixel that is not part of a run.

use crate::error::DecodeError;
use crate::format::QOI as FORMAT;
use crate::limits::Limits;
use crate::raster::{Pixels, Raster};
use crate::reader::Reader;

const HEADER: usize = 14;

pub(crate) fn matches(bytes: &[u8]) -> bool {
    bytes.starts_with(b"qoif")
}

pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster, DecodeError> {
    let mut reader = Reader::new(bytes, FORMAT);
    reader.seek(4);
    let (width, height) = (reader.u32_be()?, reader.u32_be()?);
    let channels = if reader.byte()? == 3 { 3 } else { 4 };
    reader.seek(HEADER);
    limits.check(width.into(), height.into())?;
    let wanted = width as usize * height as usize * channels;
    // A byte of the file makes 62 pixels at most.
    if wanted / channels > reader.rest().len().saturating_mul(62) {
        return Err(DecodeError::Truncated { format: FORMAT });
    }

    let mut samples = Vec::with_capacity(wanted);
    let mut seen = [[0u8; 4]; 64];
    let mut pixel = [0, 0, 0, 255];
    while samples.len() < wanted {
        let byte = reader.byte()?;
        let mut run = 1;
        match (byte, byte >> 6) {
            (0xfe, _) => pixel[..3].copy_from_slice(reader.take(3)?),
            (0xff, _) => pixel = reader.array()?,
            (_, 0) => pixel = seen[usize::from(byte)],
            (_, 1) => {
                for (value, shift) in pixel.iter_mut().zip([4, 2, 0]) {
                    *value = value.wrapping_add(byte >> shift & 3).wrapping_sub(2);
                }
            }
            (_, 2) => {
                let (green, rest) = ((byte & 0x3f).wrapping_sub(32), reader.byte()?);
                let differences = [(rest >> 4).wrapping_sub(8), 0, (rest & 0xf).wrapping_sub(8)];
                for (value, difference) in pixel.iter_mut().zip(differences) {
                    *value = value.wrapping_add(green).wrapping_add(difference);
                }
            }
            _ => run = usize::from(byte & 0x3f) + 1,
        }
        if byte >> 6 != 3 || byte >= 0xfe {
            seen[hash(pixel)] = pixel;
        }
        for _ in 0..run.min((wanted - samples.len()) / channels) {
            samples.extend_from_slice(&pixel[..channels]);
        }
    }
    let pixels = if channels == 3 { Pixels::Rgb(samples) } else { Pixels::Rgba(samples) };
    Ok(Raster::new(width, height, pixels))
}

fn hash(pixel: [u8; 4]) -> usize {
    let sum: usize =
        pixel.iter().zip([3, 5, 7, 11]).map(|(&value, weight)| usize::from(value) * weight).sum();
    sum % 64
}
