//! GIF: the first frame, laid on its screen as Pillow does.

mod lzw;

use crate::error::DecodeError;
use crate::format::GIF as FORMAT;
use crate::limits::Limits;
use crate::raster::{Palette, Pixels, Raster, Transparency};
use crate::reader::Reader;
use lzw::Frame;

pub(crate) fn matches(bytes: &[u8]) -> bool {
    bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a")
}

pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster, DecodeError> {
    let mut reader = Reader::new(bytes, FORMAT);
    reader.seek(6);
    let (mut width, mut height) = (u32::from(reader.u16_le()?), u32::from(reader.u16_le()?));
    let [flags, _background, _aspect] = reader.array()?;
    let global = if flags & 0x80 != 0 { palette(&mut reader, flags)? } else { None };

    let mut transparent = None;
    let frame = loop {
        match reader.up_to(1) {
            [] | b";" => return Err(DecodeError::invalid(FORMAT, "no picture")),
            b"!" => extension(&mut reader, &mut transparent)?,
            b"," => break descriptor(&mut reader)?,
            // Anything else between blocks is passed over.
            _ => {}
        }
    };
    let local = if frame.flags & 0x80 != 0 { Some(palette(&mut reader, frame.flags)?) } else { None };
    let minimum_code_size = reader.byte()?;

    // A frame that reaches past the screen makes the picture larger.
    width = width.max(frame.left + frame.width);
    height = height.max(frame.top + frame.height);
    limits.check(width.into(), height.into())?;
    if frame.width == 0 || frame.height == 0 {
        return Err(DecodeError::invalid(FORMAT, "empty frame"));
    }

    let mut screen = vec![transparent.unwrap_or(0); width as usize * height as usize];
    let area = Frame {
        start: frame.top as usize * width as usize + frame.left as usize,
        stride: width as usize,
        width: frame.width as usize,
        height: frame.height as usize,
        interlaced: frame.flags & 0x40 != 0,
    };
    lzw::decode(reader.rest(), minimum_code_size, &area, &mut screen)?;

    // A local palette counts even where it is the plain grey ramp, which Pillow treats as no palette at all.
    let mut raster = match local.unwrap_or(global) {
        Some(palette) => Raster::new(width, height, Pixels::Indexed(screen, palette)),
        None => Raster::new(width, height, Pixels::Grey(screen)),
    };
    raster.transparency = transparent.map(|index| match raster.pixels {
        Pixels::Indexed(..) => Transparency::Index(usize::from(index)),
        _ => Transparency::Colour([index; 3]),
    });
    Ok(raster)
}

/// A colour table; none if it is the grey ramp, whose indices are the pixels' values.
fn palette(reader: &mut Reader, flags: u8) -> Result<Option<Box<Palette>>, DecodeError> {
    let data = reader.up_to(3 << ((flags & 7) + 1));
    if !data.len().is_multiple_of(3) {
        return Err(DecodeError::Truncated { format: FORMAT });
    }
    let colours = data.chunks_exact(3);
    if colours
        .clone()
        .enumerate()
        .all(|(index, colour)| colour.iter().all(|&value| usize::from(value) == index))
    {
        return Ok(None);
    }
    let mut palette = Box::new([[0; 3]; 256]);
    for (entry, colour) in palette.iter_mut().zip(colours) {
        entry.copy_from_slice(colour);
    }
    Ok(Some(palette))
}

/// A length-prefixed block; none at the terminator or the end.
fn sub_block<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    match reader.up_to(1) {
        [] | [0] => None,
        [length, ..] => Some(reader.up_to(usize::from(*length))),
    }
}

fn extension(reader: &mut Reader, transparent: &mut Option<u8>) -> Result<(), DecodeError> {
    let label = reader.byte()?;
    let block = sub_block(reader);
    if let (0xf9, Some(block)) = (label, block) {
        let [flags, _, _, rest @ ..] = block else {
            return Err(DecodeError::invalid(FORMAT, "short graphic control extension"));
        };
        if flags & 1 != 0 {
            let index = rest
                .first()
                .ok_or_else(|| DecodeError::invalid(FORMAT, "short graphic control extension"))?;
            *transparent = Some(*index);
        }
    }
    if label == 0xfe && block.is_none() {
        return Ok(());
    }
    while sub_block(reader).is_some() {}
    Ok(())
}

/// Place, size and flags of a frame.
struct Descriptor {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
    flags: u8,
}

fn descriptor(reader: &mut Reader) -> Result<Descriptor, DecodeError> {
    let mut next = || reader.u16_le().map(u32::from);
    let (left, top, width, height) = (next()?, next()?, next()?, next()?);
    Ok(Descriptor { left, top, width, height, flags: reader.byte()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Alpha;

    /// Two colours: neither is the grey ramp's.
    const COLOURS: [u8; 6] = [10, 20, 30, 40, 50, 60];

    /// A screen of 3 × 1 with a palette of two colours.
    fn head() -> Vec<u8> {
        [&b"GIF89a\x03\0\x01\0\x80\0\0"[..], &COLOURS].concat()
    }

    /// A frame of 2 × 1 at `left`: indices 1, 0. Codes of 3 bits: clear, 1, 0, end.
    fn frame(left: u8) -> Vec<u8> {
        vec![b',', left, 0, 0, 0, 2, 0, 1, 0, 0, 2, 2, 0b0000_1100, 0b0000_1010, 0]
    }

    fn rgb(file: &[u8], alpha: Alpha) -> Vec<u8> {
        decode(file, &Limits::new(1 << 20, None)).expect("a picture").into_rgb(alpha).expect("RGB").into_raw()
    }

    #[test]
    fn a_frame_lies_on_its_screen() {
        let file = |left| [head(), frame(left), b";".to_vec()].concat();
        assert_eq!(rgb(&file(0), Alpha::White), [40, 50, 60, 10, 20, 30, 10, 20, 30]);
        assert_eq!(rgb(&file(1), Alpha::White), [10, 20, 30, 40, 50, 60, 10, 20, 30]);
        // Beyond the screen, which grows.
        assert_eq!(rgb(&file(2), Alpha::White).len(), 4 * 3);
    }

    #[test]
    fn a_transparent_index_fills_the_screen_and_is_white_or_its_colour() {
        let control = b"!\xf9\x04\x01\0\0\x01\0";
        let file = [&head()[..], control, &frame(1)].concat();
        assert_eq!(rgb(&file, Alpha::White), [255, 255, 255, 255, 255, 255, 10, 20, 30]);
        assert_eq!(rgb(&file, Alpha::Drop), [40, 50, 60, 40, 50, 60, 10, 20, 30]);
    }

    #[test]
    fn what_is_no_picture_is_an_error() {
        let error =
            |file: &[u8]| decode(file, &Limits::new(1 << 20, None)).expect_err("no picture").to_string();
        let file = [head(), frame(0)].concat();
        for length in [7, 12, head().len() + 4, file.len() - 4] {
            assert_eq!(error(&file[..length]), "GIF is truncated", "at {length}");
        }
        assert_eq!(error(&[head(), b";".to_vec()].concat()), "broken GIF: no picture");
        assert_eq!(
            error(&[&head()[..], b"!\xf9\x02\0\0\0"].concat()),
            "broken GIF: short graphic control extension"
        );
    }
}
