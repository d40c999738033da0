//! JPEG 2000, as Pillow opens it (`Jpeg2KImagePlugin`): a codestream alone or in the boxes of JP2, decoded by a port of OpenJPEG.

mod codestream;
mod cut;
mod header;
mod openjpeg;
mod unpack;

use crate::error::DecodeError;
use crate::format::JPEG_2000 as FORMAT;
use crate::limits::Limits;
use crate::raster::{Pixels, Raster};
use header::{Header, Mode};
use openjpeg::{ColourSpace, Decoder};
use unpack::Canvas;

const CODESTREAM: &[u8] = b"\xff\x4f\xff\x51";
const BOXES: &[u8] = b"\0\0\0\x0cjP  \r\n\x87\n";

pub(crate) fn matches(bytes: &[u8]) -> bool {
    bytes.starts_with(CODESTREAM) || bytes.starts_with(BOXES)
}

pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster, DecodeError> {
    let header = Header::read(bytes)?;
    let (width, height) = header.size;
    let pixel = codestream::bytes_per_pixel(bytes)?;
    limits.check_with(width.into(), height.into(), pixel)?;

    let mut decoder = Decoder::open(bytes).ok_or_else(|| broken("a header that OpenJPEG refuses"))?;
    if decoder.width > width || decoder.height > height {
        return Err(broken("a codestream of another size than is stated"));
    }
    let is_converted = is_converted(header.mode, &decoder)?;
    let mut canvas = Canvas::new(width as usize, height as usize, header.mode);
    while let Some(tile) = decoder.next_tile().ok_or_else(|| broken("a tile that cannot be decoded"))? {
        canvas.put(&tile, &decoder.components);
        if is_converted {
            canvas.convert(&tile);
        }
    }
    if !decoder.is_complete() {
        return Err(broken("an end that OpenJPEG refuses"));
    }
    Ok(Raster::new(width, height, pixels(canvas, header)))
}

fn broken(reason: &str) -> DecodeError {
    DecodeError::invalid(FORMAT, reason)
}

fn unsupported(feature: &str) -> DecodeError {
    DecodeError::unsupported(FORMAT, feature)
}

/// Whether the samples are YCbCr; an error if they are none that Pillow has a way for in this mode (`j2k_unpackers`).
fn is_converted(mode: Mode, decoder: &Decoder) -> Result<bool, DecodeError> {
    let components = &decoder.components;
    let subsampled = components.iter().position(|component| component.dx != 1 || component.dy != 1);
    let space = match (decoder.colour_space, components.len()) {
        (ColourSpace::Unspecified, 1 | 2) => ColourSpace::Grey,
        (ColourSpace::Unspecified, _) if matches!(subsampled, Some(1 | 2)) => ColourSpace::YCbCr,
        (ColourSpace::Unspecified, _) => ColourSpace::Rgb,
        (space, _) => space,
    };
    if components.len() != mode.bands() {
        return Err(unsupported("another number of components than is stated"));
    }
    use ColourSpace::{Cmyk, Grey, Rgb, YCbCr};
    let is_known = match mode {
        Mode::Grey | Mode::Grey16 | Mode::GreyAlpha => space == Grey,
        Mode::Indexed => matches!(space, Rgb | Cmyk),
        Mode::IndexedAlpha => space == Rgb,
        Mode::Rgb => matches!(space, Rgb | YCbCr),
        Mode::Rgba => matches!(space, Grey | Rgb | YCbCr),
        Mode::Cmyk => space == Cmyk,
    };
    if !is_known {
        return Err(unsupported(&format!("{mode:?} whose colours are {space:?}")));
    }
    if subsampled.is_some() && mode.bands() < 3 {
        return Err(unsupported("subsampled grey"));
    }
    Ok(space == YCbCr)
}

fn pixels(canvas: Canvas, header: Header) -> Pixels {
    let palette = header.palette.unwrap_or_else(|| Box::new([[0; 3]; 256]));
    let samples = canvas.samples;
    match header.mode {
        Mode::Grey => Pixels::Grey(samples),
        Mode::Grey16 => Pixels::Grey16(canvas.wide),
        Mode::GreyAlpha => Pixels::GreyAlpha(samples),
        Mode::Rgb => Pixels::Rgb(samples),
        Mode::Rgba => Pixels::Rgba(samples),
        Mode::Cmyk => Pixels::Cmyk(samples),
        Mode::Indexed => Pixels::Indexed(samples, palette),
        Mode::IndexedAlpha => Pixels::IndexedAlpha(samples, palette),
    }
}
