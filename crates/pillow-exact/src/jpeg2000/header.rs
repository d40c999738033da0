//! What Pillow reads before it asks OpenJPEG: size, mode and palette (`_parse_codestream`, `_parse_jp2_header`).

use crate::error::DecodeError;
use crate::format::JPEG_2000 as FORMAT;
use crate::raster::Palette;
use crate::reader::Reader;

use super::{BOXES, CODESTREAM, broken, unsupported};

/// Pillow's modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Grey,
    Grey16,
    GreyAlpha,
    Rgb,
    Rgba,
    Cmyk,
    Indexed,
    IndexedAlpha,
}

impl Mode {
    pub(super) fn bands(self) -> usize {
        match self {
            Self::Grey | Self::Grey16 | Self::Indexed => 1,
            Self::GreyAlpha | Self::IndexedAlpha => 2,
            Self::Rgb => 3,
            Self::Rgba | Self::Cmyk => 4,
        }
    }

    fn of(components: u16, is_deep: bool) -> Option<Self> {
        match components {
            1 if is_deep => Some(Self::Grey16),
            1 => Some(Self::Grey),
            2 => Some(Self::GreyAlpha),
            3 => Some(Self::Rgb),
            4 => Some(Self::Rgba),
            _ => None,
        }
    }
}

pub(super) struct Header {
    pub(super) size: (u32, u32),
    pub(super) mode: Mode,
    pub(super) palette: Option<Box<Palette>>,
}

impl Header {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes, FORMAT);
        if bytes.starts_with(CODESTREAM) {
            reader.seek(CODESTREAM.len());
            let header = in_codestream(&mut reader)?;
            pass_to_comment(&mut reader)?;
            return Ok(header);
        }
        reader.seek(BOXES.len());
        let header = in_boxes(contents_of_header(&mut reader)?)?;
        // Only a codestream that follows at once is looked at.
        if reader.up_to(12).ends_with(b"jp2c\xff\x4f\xff\x51") {
            in_codestream(&mut reader)?;
            pass_to_comment(&mut reader)?;
        }
        Ok(header)
    }
}

/// The size and the mode of a SIZ segment, whose marker has been read.
fn in_codestream(reader: &mut Reader) -> Result<Header, DecodeError> {
    let length = reader.u16_be()?;
    if length < 38 {
        return Err(broken("a SIZ segment below 38 bytes"));
    }
    let mut segment = Reader::new(reader.up_to(usize::from(length) - 2), FORMAT);
    segment.seek(2);
    let [right, bottom, left, top] =
        [segment.u32_be()?, segment.u32_be()?, segment.u32_be()?, segment.u32_be()?];
    segment.take(16)?;
    let components = segment.u16_be()?;
    let is_deep = components == 1 && (segment.byte()? & 0x7f) + 1 > 8;
    let mode = Mode::of(components, is_deep).ok_or_else(|| unsupported("other than 1 to 4 components"))?;
    let size = (right.saturating_sub(left), bottom.saturating_sub(top));
    Ok(Header { size, mode, palette: None })
}

/// Goes over the segments before the first tile to a comment: `_parse_comment`, which refuses what it cannot follow.
fn pass_to_comment(reader: &mut Reader) -> Result<(), DecodeError> {
    const TILE: u8 = 0x90;
    const END: u8 = 0xd9;
    const COMMENT: u8 = 0x64;
    while !reader.rest().is_empty() {
        let kind = reader.take(2)?[1];
        if matches!(kind, TILE | END) {
            break;
        }
        let length = usize::from(reader.u16_be()?);
        if length < 2 {
            return Err(broken("a segment without its length"));
        }
        if kind == COMMENT {
            break;
        }
        reader.seek(reader.position() + length - 2);
    }
    Ok(())
}

/// A box's kind, and the length of its contents.
fn next_box(reader: &mut Reader) -> Result<([u8; 4], usize), DecodeError> {
    let length = u64::from(reader.u32_be()?);
    let kind = reader.array()?;
    let (length, head) = if length == 1 { (u64::from_be_bytes(reader.array()?), 16) } else { (length, 8) };
    let contents = length.checked_sub(head).and_then(|length| usize::try_from(length).ok());
    Ok((kind, contents.ok_or_else(|| broken("a box of no length"))?))
}

/// What is in the header box, behind which the reader is left.
fn contents_of_header<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    loop {
        let (kind, length) = next_box(reader)?;
        match &kind {
            b"jp2h" => return reader.take(length),
            b"ftyp" if length < 4 => return Err(broken("a short file type")),
            _ => reader.seek(reader.position().saturating_add(length)),
        }
    }
}

fn in_boxes(contents: &[u8]) -> Result<Header, DecodeError> {
    /// Palettes are left alone where the colours are said to be bilevel or grey.
    #[derive(PartialEq)]
    enum Colours {
        Other,
        Grey,
        Cmyk,
    }
    let mut reader = Reader::new(contents, FORMAT);
    let (mut size, mut mode, mut palette) = (None, None, None);
    let mut colours = Colours::Other;
    let mut components = 0;
    while !reader.rest().is_empty() {
        let (kind, length) = next_box(&mut reader)?;
        let mut inside = Reader::new(reader.take(length)?, FORMAT);
        match (&kind, mode) {
            (b"ihdr", _) => {
                let (height, width) = (inside.u32_be()?, inside.u32_be()?);
                size = Some((width, height));
                components = inside.u16_be()?;
                // A depth of 9 bits is stated by 8, which Pillow takes for 8 bits.
                let is_deep = inside.byte()? & 0x7f > 8;
                mode = Mode::of(components, is_deep).or(mode);
            }
            (b"colr", _) => {
                let method = inside.array::<3>()?[0];
                match (method, inside.u32_be()?) {
                    (1, 0 | 15 | 17) => colours = Colours::Grey,
                    (1, 12) => {
                        colours = Colours::Cmyk;
                        if components == 4 {
                            mode = Some(Mode::Cmyk);
                        }
                    }
                    _ => {}
                }
            }
            (b"pclr", Some(known @ (Mode::Grey | Mode::GreyAlpha))) if colours != Colours::Grey => {
                let (entries, bands) = (inside.u16_be()?, inside.byte()?);
                let depths = inside.take(bands.into())?;
                if depths.iter().all(|&depth| depth <= 8) {
                    if colours == Colours::Cmyk {
                        return Err(unsupported("a palette of inks"));
                    }
                    palette = Some(read_palette(&mut inside, entries, bands)?);
                    mode = Some(if known == Mode::Grey { Mode::Indexed } else { Mode::IndexedAlpha });
                }
            }
            (b"res ", _) => pass_over_resolution(inside)?,
            _ => {}
        }
    }
    let (size, mode) = size.zip(mode).ok_or_else(|| broken("a header without size or components"))?;
    Ok(Header { size, mode, palette })
}

/// Colours in the order in which each appears first: `ImagePalette.getcolor` gives none a second place. A fourth band is alpha, which
/// tells them apart and is dropped with the palette.
fn read_palette(inside: &mut Reader, entries: u16, bands: u8) -> Result<Box<Palette>, DecodeError> {
    if !matches!(bands, 3 | 4) {
        return Err(unsupported("a palette of other than 3 or 4 bands"));
    }
    let mut seen: Vec<&[u8]> = Vec::new();
    for _ in 0..entries {
        let colour = inside.take(bands.into())?;
        if !seen.contains(&colour) {
            seen.push(colour);
        }
    }
    if seen.len() > 256 {
        return Err(broken("a palette of more than 256 colours"));
    }
    let mut palette = Box::new([[0; 3]; 256]);
    for (entry, colour) in palette.iter_mut().zip(&seen) {
        *entry = [colour[0], colour[1], colour[2]];
    }
    Ok(palette)
}

/// Refuses what Pillow cannot follow to a resolution.
fn pass_over_resolution(mut reader: Reader) -> Result<(), DecodeError> {
    while !reader.rest().is_empty() {
        let (kind, length) = next_box(&mut reader)?;
        let contents = reader.take(length)?;
        if &kind == b"resc" {
            return if contents.len() < 10 { Err(broken("a short resolution")) } else { Ok(()) };
        }
    }
    Ok(())
}
