//! DirectDraw surfaces: of their pictures the first, uncompressed or in blocks of 4 x 4 pixels (`DdsImagePlugin`).

mod bc1;
mod bc6;
mod bc6_modes;
mod bc7;
mod masks;
mod subsets;

use crate::error::DecodeError;
use crate::format::DDS as FORMAT;
use crate::limits::Limits;
use crate::raster::{Palette, Pixels, Raster};
use crate::reader::Reader;

/// Where the pixels of most begin.
const HEADER: usize = 128;
/// What a header with a newer list of formats has beside it.
const EXTENSION: usize = 20;

/// Flags of a pixel format.
const ALPHA_PIXELS: u32 = 0x1;
const FOUR_CC: u32 = 0x4;
const PALETTE: u32 = 0x20;
const RGB: u32 = 0x40;
const LUMINANCE: u32 = 0x20000;

pub(crate) fn matches(bytes: &[u8]) -> bool {
    bytes.starts_with(b"DDS ")
}

/// A kind of block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    Bc1,
    Bc2,
    Bc3,
    Bc4,
    Bc5 { signed: bool },
    Bc6 { signed: bool },
    Bc7,
}

impl Block {
    fn size(self) -> usize {
        if matches!(self, Self::Bc1 | Self::Bc4) { 8 } else { 16 }
    }

    /// Samples of a pixel in Pillow's mode.
    fn samples(self) -> usize {
        match self {
            Self::Bc4 => 1,
            Self::Bc5 { .. } | Self::Bc6 { .. } => 3,
            _ => 4,
        }
    }

    fn decode(self, data: &[u8]) -> [[u8; 4]; 16] {
        let half =
            |start: usize| data[start..].first_chunk::<8>().expect("a block has eight bytes, or sixteen");
        let whole = || data.first_chunk::<16>().expect("a block has sixteen bytes");
        match self {
            Self::Bc1 => bc1::colours(half(0), false),
            Self::Bc2 => bc1::with_plain_alpha(half(0), half(8)),
            Self::Bc3 => {
                let mut pixels = bc1::colours(half(8), true);
                bc1::ramp(half(0), false, |at, value| pixels[at][3] = value);
                pixels
            }
            Self::Bc4 => {
                let mut pixels = [[0; 4]; 16];
                bc1::ramp(half(0), false, |at, value| pixels[at][0] = value);
                pixels
            }
            Self::Bc5 { signed } => {
                // Blue is nothing, which of signed ones is the middle.
                let mut pixels = [[if signed { 128 } else { 0 }; 4]; 16];
                bc1::ramp(half(0), signed, |at, value| pixels[at][0] = value);
                bc1::ramp(half(8), signed, |at, value| pixels[at][1] = value);
                pixels
            }
            Self::Bc6 { signed } => bc6::pixels(whole(), signed),
            Self::Bc7 => bc7::pixels(whole()),
        }
    }
}

pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster, DecodeError> {
    let mut reader = Reader::new(bytes, FORMAT);
    reader.seek(4);
    let size = reader.u32_le()?;
    if size != 124 {
        return Err(DecodeError::invalid(FORMAT, format!("a header of {size} bytes")));
    }
    let header = reader.take(HEADER - 8)?;
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let (height, width) = (word(4), word(8));
    limits.check(width.into(), height.into())?;
    let (flags, four_cc, bits) = (word(72), word(76), word(80));
    let raw = |reader: &mut Reader, samples: usize| {
        // Behind the header, and so is a palette.
        reader.take(width as usize * height as usize * samples).map(<[u8]>::to_vec)
    };
    let pixels = if flags & RGB != 0 {
        let masks = [word(84), word(88), word(92), word(96)];
        let masks = if flags & ALPHA_PIXELS != 0 { &masks[..] } else { &masks[..3] };
        masks::pixels(&mut reader, bits, masks, width as usize * height as usize)?
    } else if flags & LUMINANCE != 0 {
        match bits {
            8 => Pixels::Grey(raw(&mut reader, 1)?),
            16 if flags & ALPHA_PIXELS != 0 => Pixels::GreyAlpha(raw(&mut reader, 2)?),
            _ => return Err(DecodeError::unsupported(FORMAT, format!("luminance of {bits} bits"))),
        }
    } else if flags & PALETTE != 0 {
        let palette = palette(reader.up_to(1024));
        Pixels::Indexed(raw(&mut reader, 1)?, palette)
    } else if flags & FOUR_CC != 0 {
        match block(four_cc, &mut reader)? {
            Some(kind) => {
                let size = (width as usize, height as usize);
                match kind.samples() {
                    1 => Pixels::Grey(blocks::<1>(&mut reader, kind, size)?),
                    3 => Pixels::Rgb(blocks::<3>(&mut reader, kind, size)?),
                    _ => Pixels::Rgba(blocks::<4>(&mut reader, kind, size)?),
                }
            }
            None => Pixels::Rgba(raw(&mut reader, 4)?),
        }
    } else {
        return Err(DecodeError::unsupported(FORMAT, format!("pixel format flags {flags:#x}")));
    };
    Ok(Raster::new(width, height, pixels))
}

/// The kind of block, or none where the pixels are plain RGBA.
fn block(four_cc: u32, reader: &mut Reader) -> Result<Option<Block>, DecodeError> {
    Ok(Some(match &four_cc.to_le_bytes() {
        b"DXT1" => Block::Bc1,
        b"DXT3" => Block::Bc2,
        b"DXT5" => Block::Bc3,
        b"BC4U" | b"ATI1" => Block::Bc4,
        b"BC5S" => Block::Bc5 { signed: true },
        b"BC5U" | b"ATI2" => Block::Bc5 { signed: false },
        b"DX10" => {
            let format = reader.u32_le()?;
            reader.seek(HEADER + EXTENSION);
            match format {
                70 | 71 => Block::Bc1,
                73 | 74 => Block::Bc2,
                76 | 77 => Block::Bc3,
                79 | 80 => Block::Bc4,
                82 | 83 => Block::Bc5 { signed: false },
                84 => Block::Bc5 { signed: true },
                95 => Block::Bc6 { signed: false },
                96 => Block::Bc6 { signed: true },
                97..=99 => Block::Bc7,
                27..=29 => return Ok(None),
                _ => return Err(DecodeError::unsupported(FORMAT, format!("DXGI format {format}"))),
            }
        }
        other => {
            let what = format!("pixel format {:?}", String::from_utf8_lossy(other));
            return Err(DecodeError::unsupported(FORMAT, what));
        }
    }))
}

/// The first samples of pixels in blocks. Where edges are no multiples of 4, the last blocks' rest is beside the picture.
fn blocks<const SAMPLES: usize>(
    reader: &mut Reader,
    kind: Block,
    (width, height): (usize, usize),
) -> Result<Vec<u8>, DecodeError> {
    let across = width.div_ceil(4);
    let data = reader.take(across * height.div_ceil(4) * kind.size())?;
    let mut out = vec![[0; SAMPLES]; width * height];
    for (blocks, lines) in data.chunks_exact(across * kind.size()).zip(out.chunks_mut(width * 4)) {
        for (column, block) in blocks.chunks_exact(kind.size()).enumerate() {
            let pixels = kind.decode(block);
            for (line, from) in lines.chunks_exact_mut(width).zip(pixels.as_chunks::<4>().0) {
                let to = line[column * 4..].iter_mut();
                to.zip(from).for_each(|(to, from)| to.copy_from_slice(&from[..SAMPLES]));
            }
        }
    }
    Ok(out.into_flattened())
}

fn palette(data: &[u8]) -> Box<Palette> {
    let mut palette = Box::new([[0; 3]; 256]);
    for (colour, rgba) in palette.iter_mut().zip(data.chunks_exact(4)) {
        *colour = [rgba[0], rgba[1], rgba[2]];
    }
    palette
}
