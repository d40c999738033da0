//! What a codestream promises, looked at before OpenJPEG reserves memory for it.

use crate::error::DecodeError;
use crate::format::JPEG_2000 as FORMAT;
use crate::reader::Reader;

use super::{BOXES, CODESTREAM, broken, unsupported};

mod marker {
    pub(super) const SIZE: u16 = 0xff51;
    pub(super) const CODING: u16 = 0xff52;
    pub(super) const COMPONENT_CODING: u16 = 0xff53;
    pub(super) const TILE: u16 = 0xff90;
    pub(super) const DATA: u16 = 0xff93;
}

/// A tile in the file takes at least a header of 12 bytes and the marker behind it.
const TILE: u64 = 14;
/// What a pixel takes besides code-blocks: four components of 32 bits, and of up to 16 in a tile's buffer, then bands and RGB.
const PIXEL: u64 = 4 * 4 + 4 * 2 + 4 + 3;
/// What OpenJPEG keeps of a code-block.
const BLOCK: u64 = 256;
/// Of a component. Precincts of 32 x 32 pixels, the smallest that are met, are fewer in the largest picture that Pillow opens.
const MOST_PRECINCTS: u64 = 1 << 18;

/// The bytes that a pixel takes at the most. An error where tiles or precincts would take more than the pixels.
pub(super) fn bytes_per_pixel(bytes: &[u8]) -> Result<u64, DecodeError> {
    let mut reader = Reader::new(bytes, FORMAT);
    reader.seek(start(bytes)? + 2);
    let mut pixels = 0;
    let mut components = 1;
    let mut smallest_block = 64 * 64;
    let mut end_of_part = None;
    // What breaks off is refused by OpenJPEG.
    while let Ok(kind) = reader.u16_be() {
        let at = reader.position();
        if kind == marker::DATA {
            match end_of_part {
                Some(end) if end > at => reader.seek(end),
                _ => break,
            }
            continue;
        }
        let Ok(length) = reader.u16_be() else { break };
        let mut segment = Reader::new(reader.up_to(usize::from(length).saturating_sub(2)), FORMAT);
        match kind {
            marker::SIZE => {
                let size = Size::read(&mut segment)?;
                if size.components > 4 {
                    return Err(unsupported("more than 4 components"));
                }
                if size.tiles() > bytes.len() as u64 / TILE {
                    return Err(broken("more tiles than the file can hold"));
                }
                (pixels, components) = (size.pixels(), size.components);
            }
            marker::TILE => {
                segment.take(2)?;
                let length = segment.u32_be()? as usize;
                end_of_part = (length != 0).then_some(at - 2 + length);
            }
            marker::CODING | marker::COMPONENT_CODING => {
                let is_default = kind == marker::CODING;
                let Ok(coding) = Coding::read(&mut segment, is_default, pixels) else { continue };
                if coding.precincts > MOST_PRECINCTS {
                    return Err(unsupported("so many precincts"));
                }
                smallest_block = smallest_block.min(coding.block);
            }
            _ => {}
        }
    }
    Ok(PIXEL + components * BLOCK.div_ceil(smallest_block))
}

/// Where the codestream starts.
fn start(bytes: &[u8]) -> Result<usize, DecodeError> {
    if bytes.starts_with(CODESTREAM) {
        return Ok(0);
    }
    let mut reader = Reader::new(bytes, FORMAT);
    reader.seek(BOXES.len());
    loop {
        let at = reader.position() as u64;
        let length = u64::from(reader.u32_be()?);
        let kind: [u8; 4] = reader.array()?;
        let length = if length == 1 { u64::from_be_bytes(reader.array()?) } else { length };
        if &kind == b"jp2c" {
            return Ok(reader.position());
        }
        let next = at.saturating_add(length);
        if next < reader.position() as u64 {
            return Err(broken("a box of no length"));
        }
        reader.seek(usize::try_from(next).unwrap_or(usize::MAX));
    }
}

/// A SIZ segment.
struct Size {
    end: (u32, u32),
    start: (u32, u32),
    tile: (u32, u32),
    tile_start: (u32, u32),
    components: u64,
}

impl Size {
    fn read(segment: &mut Reader) -> Result<Self, DecodeError> {
        segment.take(2)?;
        let mut pair = || Ok::<_, DecodeError>((segment.u32_be()?, segment.u32_be()?));
        let (end, start, tile, tile_start) = (pair()?, pair()?, pair()?, pair()?);
        Ok(Self { end, start, tile, tile_start, components: segment.u16_be()?.into() })
    }

    fn pixels(&self) -> u64 {
        let edge = |end: u32, start: u32| u64::from(end.saturating_sub(start));
        edge(self.end.0, self.start.0) * edge(self.end.1, self.start.1)
    }

    fn tiles(&self) -> u64 {
        let count =
            |end: u32, start: u32, tile: u32| u64::from(end.saturating_sub(start).div_ceil(tile.max(1)));
        count(self.end.0, self.tile_start.0, self.tile.0) * count(self.end.1, self.tile_start.1, self.tile.1)
    }
}

/// How a component is cut up.
struct Coding {
    /// Pixels of a code-block.
    block: u64,
    precincts: u64,
}

impl Coding {
    /// Of a COD segment, or of a COC segment, whose component is in one byte where there are so few.
    fn read(segment: &mut Reader, is_default: bool, pixels: u64) -> Result<Self, DecodeError> {
        let style = if is_default {
            let style = segment.byte()?;
            segment.take(4)?;
            style
        } else {
            segment.take(1)?;
            segment.byte()?
        };
        let levels = segment.byte()?;
        let (width, height) = (segment.byte()? & 15, segment.byte()? & 15);
        segment.take(2)?;
        let block = 1 << (width + height + 4);
        if style & 1 == 0 {
            return Ok(Self { block, precincts: 1 });
        }
        // The highest resolution comes last, and each before it has a quarter of its pixels.
        let sizes = segment.up_to(usize::from(levels) + 1).iter().rev();
        let of = |(below, size): (usize, &u8)| pixels >> (2 * below).min(63) >> (size >> 4) >> (size & 15);
        Ok(Self { block, precincts: sizes.enumerate().map(of).sum() })
    }
}
