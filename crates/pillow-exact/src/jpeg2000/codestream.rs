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
/// A packet takes at least a byte, and behind the end of a file OpenJPEG goes on reading empty ones. It has a place for as many as there were
/// if all tiles and resolutions were as large as the largest, so there may be more of these than bytes, and in a small file quite a few.
const PLACES_A_BYTE: u64 = 8;
const PLACES_OF_ANY: u64 = 1 << 18;
/// Bytes of such a place.
const PLACE: u64 = 2;

/// The bytes that a pixel takes at the most. An error where tiles, precincts or packets would take more than the pixels.
pub(super) fn bytes_per_pixel(bytes: &[u8]) -> Result<u64, DecodeError> {
    let mut reader = Reader::new(bytes, FORMAT);
    reader.seek(start(bytes)? + 2);
    let (mut size, mut components) = (None, 1);
    let (mut smallest_block, mut layers, mut precincts) = (64 * 64, 1, 1);
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
                let found = Size::read(&mut segment)?;
                if found.components > 4 {
                    return Err(unsupported("more than 4 components"));
                }
                if found.tiles() > bytes.len() as u64 / TILE {
                    return Err(broken("more tiles than the file can hold"));
                }
                components = found.components;
                size = Some(found);
            }
            marker::TILE => {
                segment.take(2)?;
                let length = segment.u32_be()? as usize;
                end_of_part = (length != 0).then_some(at - 2 + length);
            }
            marker::CODING | marker::COMPONENT_CODING => {
                let (Some(size), is_default) = (&size, kind == marker::CODING) else { continue };
                let Ok(coding) = Coding::read(&mut segment, is_default, size.largest_tile()) else {
                    continue;
                };
                if coding.smallest_precincts.saturating_mul(size.tiles()) > MOST_PRECINCTS {
                    return Err(unsupported("so many precincts"));
                }
                smallest_block = smallest_block.min(coding.block);
                layers = layers.max(coding.layers);
                precincts = precincts.max(coding.precincts);
            }
            _ => {}
        }
    }
    let (pixels, tiles) = size.map_or((1, 1), |size| (size.pixels(), size.tiles()));
    let places = layers * components * precincts;
    if places.saturating_mul(tiles) > PLACES_OF_ANY.max(PLACES_A_BYTE * bytes.len() as u64) {
        return Err(broken("more packets than the file can hold"));
    }
    Ok(PIXEL + components * BLOCK.div_ceil(smallest_block) + (PLACE * places).div_ceil(pixels.max(1)))
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

    /// Width and height that no tile exceeds.
    fn largest_tile(&self) -> [u64; 2] {
        let edge = |end: u32, start: u32, tile: u32| u64::from(end.saturating_sub(start).min(tile));
        [edge(self.end.0, self.start.0, self.tile.0), edge(self.end.1, self.start.1, self.tile.1)]
    }

    fn tiles(&self) -> u64 {
        let count =
            |end: u32, start: u32, tile: u32| u64::from(end.saturating_sub(start).div_ceil(tile.max(1)));
        count(self.end.0, self.tile_start.0, self.tile.0) * count(self.end.1, self.tile_start.1, self.tile.1)
    }
}

/// How a component of a tile is cut up.
struct Coding {
    /// Pixels of a code-block.
    block: u64,
    /// Of all components; none of a segment that does not say it.
    layers: u64,
    /// As many as there were if all resolutions had those of the one with the most.
    precincts: u64,
    /// As many as there were if all were as narrow as the narrowest, and as low as the lowest: OpenJPEG looks for them at every such place.
    smallest_precincts: u64,
}

impl Coding {
    /// Of a COD segment, or of a COC segment, whose component is in one byte where there are so few.
    fn read(segment: &mut Reader, is_default: bool, tile: [u64; 2]) -> Result<Self, DecodeError> {
        /// More levels than this are refused.
        const MOST_LEVELS: u8 = 32;
        let (style, layers) = if is_default {
            let style = segment.byte()?;
            segment.take(1)?;
            let layers = segment.u16_be()?;
            segment.take(1)?;
            (style, layers)
        } else {
            segment.take(1)?;
            (segment.byte()?, 0)
        };
        let levels = segment.byte()?.min(MOST_LEVELS);
        let (width, height) = (segment.byte()? & 15, segment.byte()? & 15);
        segment.take(2)?;
        // The lowest resolution comes first, and each has half of the next one's edges. Of what is not said they are 2^15.
        let sizes = if style & 1 == 1 { segment.up_to(usize::from(levels) + 1) } else { &[] };
        let edges = (0..=levels).map(|level| {
            let size = sizes.get(usize::from(level)).copied().unwrap_or(0xff);
            [size & 15, size >> 4].map(|exponent| exponent + levels - level)
        });
        let count = |edges: [u8; 2]| tile[0].div_ceil(1 << edges[0]) * tile[1].div_ceil(1 << edges[1]);
        let least =
            edges.clone().fold([u8::MAX; 2], |least, edges| [0, 1].map(|axis| least[axis].min(edges[axis])));
        Ok(Self {
            block: 1 << (width + height + 4),
            layers: layers.into(),
            precincts: edges.map(count).max().unwrap_or(0) * (u64::from(levels) + 1),
            smallest_precincts: count(least),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of three components in tiles, and bytes behind it; precincts have these exponents at every resolution, of which there are six.
    fn headed(edge: u32, tile: u32, layers: u16, precincts: u8, length: usize) -> Vec<u8> {
        let mut bytes = CODESTREAM.to_vec();
        bytes.extend([0, 47, 0, 0]);
        bytes.extend([edge, edge, 0, 0, tile, tile, 0, 0].map(u32::to_be_bytes).as_flattened());
        bytes.extend([0, 3, 7, 1, 1, 7, 1, 1, 7, 1, 1]);
        bytes.extend(marker::CODING.to_be_bytes());
        bytes.extend([0, 18, 1, 0]);
        bytes.extend(layers.to_be_bytes());
        bytes.extend([1, 5, 4, 4, 0, 1]);
        bytes.extend([precincts; 6]);
        bytes.extend(marker::DATA.to_be_bytes());
        bytes.resize(bytes.len().max(length), 0);
        bytes
    }

    #[test]
    fn what_a_codestream_cannot_hold_is_refused_before_memory_is_taken() {
        let reason = |bytes: Vec<u8>| bytes_per_pixel(&bytes).map_err(|error| error.to_string());
        let is_refused = |bytes, why| reason(bytes).is_err_and(|reason| reason.contains(why));
        // 4 blocks, and for each of three components in six resolutions a place of two bytes, which is less than a byte a pixel.
        assert_eq!(reason(headed(128, 128, 1, 0x77, 0)), Ok(PIXEL + 3 + 1));
        // Some kilobytes for each layer; in a small file there may be a few of them.
        assert_eq!(reason(headed(128, 128, 14_000, 0x77, 0)), Ok(PIXEL + 3 + 31));
        assert!(is_refused(headed(128, 128, u16::MAX, 0x77, 0), "more packets than the file can hold"));
        assert!(reason(headed(128, 128, u16::MAX, 0x77, 150_000)).is_ok());
        // What tiles there are, each has.
        assert!(is_refused(headed(128, 16, 300, 0x77, 1_000), "more packets than the file can hold"));
        assert!(is_refused(headed(128, 1, 1, 0x77, 1_000), "more tiles than the file can hold"));
        // Of precincts of one pixel there are as many as pixels, also where only one edge of each is so small.
        assert!(is_refused(headed(1 << 13, 1 << 13, 1, 0x00, 0), "so many precincts"));
        assert!(reason(headed(1 << 13, 1 << 13, 1, 0xf0, 1 << 20)).is_ok());
    }
}
