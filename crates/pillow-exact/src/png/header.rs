//! What a PNG's chunks say beside its pixels.

use super::text::{Texts, colour_profile};
use crate::error::DecodeError;
use crate::format::PNG as FORMAT;
use crate::raster::Transparency;
use crate::reader::Reader;

/// Colour type and bit depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ColourType {
    pub(super) depth: u8,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Grey,
    Rgb,
    Indexed,
    GreyAlpha,
    Rgba,
}

impl ColourType {
    fn new(depth: u8, colour: u8) -> Option<Self> {
        let kind = match (depth, colour) {
            (1 | 2 | 4 | 8 | 16, 0) => Kind::Grey,
            (8 | 16, 2) => Kind::Rgb,
            (1 | 2 | 4 | 8, 3) => Kind::Indexed,
            (8 | 16, 4) => Kind::GreyAlpha,
            (8 | 16, 6) => Kind::Rgba,
            _ => return None,
        };
        Some(Self { depth, kind })
    }

    pub(super) fn bits_per_pixel(self) -> usize {
        let channels = match self.kind {
            Kind::Grey | Kind::Indexed => 1,
            Kind::GreyAlpha => 2,
            Kind::Rgb => 3,
            Kind::Rgba => 4,
        };
        channels * usize::from(self.depth)
    }
}

/// What the chunks before the pixels say.
#[derive(Default)]
pub(super) struct Header {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) colour: Option<ColourType>,
    pub(super) interlaced: bool,
    pub(super) palette: Option<Vec<u8>>,
    pub(super) transparency: Option<Transparency>,
    pub(super) texts: Texts,
    /// The first animation frame's rectangle (left, top, width, height), where it is the default image too.
    pub(super) frame: Option<[u32; 4]>,
    sequence: Option<u32>,
    pub(super) frames: Option<u32>,
}

impl Header {
    /// Takes in one chunk.
    pub(super) fn chunk(&mut self, id: &[u8; 4], data: &[u8]) -> Result<(), DecodeError> {
        let short = |least: usize| {
            if data.len() < least {
                Err(DecodeError::invalid(FORMAT, format!("short {} chunk", String::from_utf8_lossy(id))))
            } else {
                Ok(())
            }
        };
        match id {
            b"IHDR" => {
                short(13)?;
                self.header(data)
            }
            b"PLTE" => {
                if self.colour.is_some_and(|colour| colour.kind == Kind::Indexed) {
                    self.palette = Some(data.to_vec());
                }
                Ok(())
            }
            b"tRNS" => self.transparency(data),
            b"gAMA" => short(4),
            b"cHRM" => short(32),
            b"sRGB" => short(1),
            b"pHYs" => short(9),
            b"acTL" => {
                short(8)?;
                let frames = u32::from_be_bytes([data[0], data[1], data[2], data[3]]);
                self.frames = match self.frames {
                    Some(_) => None,
                    None => (1..=0x8000_0000).contains(&frames).then_some(frames),
                };
                Ok(())
            }
            b"fdAT" => {
                short(4)?;
                if self.sequence.is_none() {
                    return Err(DecodeError::invalid(FORMAT, "animation data without a frame"));
                }
                self.next_in_sequence(u32::from_be_bytes([data[0], data[1], data[2], data[3]]))
            }
            b"fcTL" => {
                short(26)?;
                self.frame_control(data)
            }
            b"iCCP" => colour_profile(data),
            b"tEXt" => self.texts.plain(data),
            b"zTXt" => self.texts.compressed(data),
            b"iTXt" => self.texts.international(data),
            b"eXIf" => {
                self.texts.metadata.exif = Some(data.to_vec());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn header(&mut self, data: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new(data, FORMAT);
        (self.width, self.height) = (reader.u32_be()?, reader.u32_be()?);
        self.colour = ColourType::new(data[8], data[9]).or(self.colour);
        self.interlaced |= data[12] != 0;
        if data[11] != 0 {
            return Err(DecodeError::invalid(FORMAT, "unknown filter method"));
        }
        Ok(())
    }

    fn transparency(&mut self, data: &[u8]) -> Result<(), DecodeError> {
        let Some(colour) = self.colour else { return Ok(()) };
        let low_byte = |index: usize| data[index * 2 + 1];
        let short = || DecodeError::invalid(FORMAT, "short tRNS chunk");
        match colour.kind {
            Kind::Indexed if data.len() > 256 => {
                return Err(DecodeError::invalid(FORMAT, "transparency of more than 256 colours"));
            }
            Kind::Indexed => {
                // One transparent entry among opaque ones is an index; opaque ones alone are nothing.
                let mut clear = data.iter().enumerate().filter(|(_, alpha)| **alpha != 255);
                match (clear.next(), clear.next()) {
                    (None, _) => {}
                    (Some((index, 0)), None) => self.transparency = Some(Transparency::Index(index)),
                    _ => self.transparency = Some(Transparency::Alphas(data.to_vec())),
                }
            }
            Kind::Grey if data.len() < 2 => return Err(short()),
            Kind::Grey if colour.depth == 1 => {
                let value = if data[..2] == [0, 0] { 0 } else { 255 };
                self.transparency = Some(Transparency::Colour([value; 3]));
            }
            // The value is compared with samples already widened to 8 bits, or narrowed: wrong, but so in the reference.
            Kind::Grey => self.transparency = Some(Transparency::Colour([low_byte(0); 3])),
            Kind::Rgb if data.len() < 6 => return Err(short()),
            Kind::Rgb => {
                self.transparency = Some(Transparency::Colour([low_byte(0), low_byte(1), low_byte(2)]));
            }
            Kind::GreyAlpha | Kind::Rgba => {}
        }
        Ok(())
    }

    fn next_in_sequence(&mut self, sequence: u32) -> Result<(), DecodeError> {
        if self.sequence.map_or(Some(0), |last| last.checked_add(1)) != Some(sequence) {
            return Err(DecodeError::invalid(FORMAT, "animation frames out of order"));
        }
        self.sequence = Some(sequence);
        Ok(())
    }

    fn frame_control(&mut self, data: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new(data, FORMAT);
        self.next_in_sequence(reader.u32_be()?)?;
        let (width, height, left, top) =
            (reader.u32_be()?, reader.u32_be()?, reader.u32_be()?, reader.u32_be()?);
        let inside =
            |start: u32, length: u32, whole: u32| u64::from(start) + u64::from(length) <= u64::from(whole);
        if !inside(left, width, self.width) || !inside(top, height, self.height) || width == 0 || height == 0
        {
            return Err(DecodeError::invalid(FORMAT, "animation frame outside of the picture"));
        }
        self.frame = Some([left, top, width, height]);
        Ok(())
    }
}
