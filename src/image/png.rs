//! PNG, chunk by chunk as Pillow reads it: checksums of the chunks before the pixels are minded, those after are not; a stream that
//! ends too early is an error, one whose rows are complete is not.

use flate2::{Decompress, FlushDecompress, Status};

use super::Limits;
use super::error::DecodeError;
use super::png_rows::{Layout, Rows};
use super::raster::{Metadata, Palette, Pixels, Raster, Transparency};
use super::reader::Reader;

pub(super) const FORMAT: &str = "PNG";
const MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Pillow's cap on the text of one compressed chunk.
const MAX_TEXT_CHUNK: usize = 1024 * 1024;
/// Pillow's cap on all text together.
const MAX_TEXT_MEMORY: usize = 64 * MAX_TEXT_CHUNK;
/// The most bytes that Pillow hands to the decompressor at once.
const BLOCK: usize = 65_536;

pub(super) fn matches(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

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
struct Header {
    width: u32,
    height: u32,
    colour: Option<ColourType>,
    interlaced: bool,
    palette: Option<Vec<u8>>,
    transparency: Option<Transparency>,
    metadata: Metadata,
    text_memory: usize,
    /// The first animation frame's rectangle (left, top, width, height), where it is the default image too.
    frame: Option<[u32; 4]>,
    sequence: Option<u32>,
    frames: Option<u32>,
}

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster, DecodeError> {
    let mut reader = Reader::new(bytes, FORMAT);
    reader.seek(MAGIC.len());
    let mut header = Header::default();
    let data_length = loop {
        let (id, length) = next_chunk(&mut reader)?;
        match &id {
            b"IDAT" => break length,
            b"fdAT" => return Err(DecodeError::unsupported(FORMAT, "animation data before the picture")),
            b"IEND" => return Err(DecodeError::invalid(FORMAT, "no picture data")),
            _ => {}
        }
        let data = reader.take(length)?;
        header.chunk(&id, data)?;
        let mut crc = flate2::Crc::new();
        crc.update(&id);
        crc.update(data);
        if reader.u32_be()? != crc.sum() {
            return Err(DecodeError::invalid(
                FORMAT,
                format!("wrong checksum in {}", String::from_utf8_lossy(&id)),
            ));
        }
    };

    let colour =
        header.colour.ok_or_else(|| DecodeError::invalid(FORMAT, "unknown colour type or bit depth"))?;
    let (width, height) = (header.width, header.height);
    limits.check(width.into(), height.into())?;
    let layout = Layout {
        width,
        height,
        frame: header.frame.unwrap_or([0, 0, width, height]),
        interlaced: header.interlaced,
        colour,
    };
    let palette = header.palette.take().map(|data| palette(&data)).transpose()?;
    // A default image that is no frame of the animation counts beside the frames.
    let animated = header.frames.is_some_and(|frames| frames > 1 || header.frame.is_none());
    let pixels = inflate(&mut reader, data_length, layout)?;
    finish(&mut reader, &mut header, animated)?;

    let pixels = match (pixels, palette) {
        (Pixels::Indexed(indices, _), Some(palette)) => Pixels::Indexed(indices, palette),
        (pixels, _) => pixels,
    };
    Ok(Raster {
        transparency: header.transparency,
        metadata: header.metadata,
        ..Raster::new(width, height, pixels)
    })
}

/// Name and length of the next chunk.
fn next_chunk(reader: &mut Reader) -> Result<([u8; 4], usize), DecodeError> {
    let length = reader.u32_be()? as usize;
    let id: [u8; 4] = reader.array()?;
    if !id.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(DecodeError::invalid(
            FORMAT,
            format!("broken chunk name {:?}", String::from_utf8_lossy(&id)),
        ));
    }
    Ok((id, length))
}

fn palette(data: &[u8]) -> Result<Box<Palette>, DecodeError> {
    if data.len() / 3 > 256 {
        return Err(DecodeError::invalid(FORMAT, "palette of more than 256 colours"));
    }
    let mut palette = Box::new([[0; 3]; 256]);
    for (entry, colour) in palette.iter_mut().zip(data.chunks_exact(3)) {
        entry.copy_from_slice(colour);
    }
    Ok(palette)
}

/// Decompresses the picture data, chunk after chunk, into rows.
fn inflate(reader: &mut Reader, mut left: usize, layout: Layout) -> Result<Pixels, DecodeError> {
    let mut zlib = Decompress::new(true);
    let mut rows = Rows::new(layout)?;
    let mut filled = 0;
    loop {
        while left == 0 {
            reader.up_to(4); // its checksum, which nobody minds
            let (id, length) = next_chunk(reader)?;
            if ![b"IDAT", b"DDAT"].contains(&&id) {
                return Err(DecodeError::Truncated { format: FORMAT });
            }
            left = length;
        }
        let mut input = reader.up_to(left.min(BLOCK));
        if input.is_empty() {
            return Err(DecodeError::Truncated { format: FORMAT });
        }
        left -= left.min(BLOCK);
        // A row is asked for at a time, so that an error in the stream counts only where Pillow would meet it.
        while !input.is_empty() {
            let row = rows.buffer();
            let (consumed, produced) = (zlib.total_in(), zlib.total_out());
            let status = zlib
                .decompress(input, &mut row[filled..], FlushDecompress::None)
                .map_err(|error| DecodeError::invalid(FORMAT, error.to_string()))?;
            input = &input[(zlib.total_in() - consumed) as usize..];
            filled += (zlib.total_out() - produced) as usize;
            if filled < row.len() {
                if status == Status::StreamEnd || zlib.total_in() == consumed {
                    break; // the rest of this block is not part of the stream
                }
                continue;
            }
            filled = 0;
            if rows.finish_row()? || status == Status::StreamEnd {
                reader.up_to(left);
                return Ok(rows.into_pixels());
            }
        }
    }
}

/// Reads the chunks after the pixels, as Pillow does when it has loaded the picture: their metadata count, their checksums do not.
fn finish(reader: &mut Reader, header: &mut Header, animated: bool) -> Result<(), DecodeError> {
    loop {
        reader.up_to(4);
        let Ok((id, length)) = next_chunk(reader) else { return Ok(()) };
        match &id {
            b"IEND" => return Ok(()),
            // The next animation frame.
            b"fcTL" if animated => return Ok(()),
            _ => header.chunk(&id, reader.take(length)?)?,
        }
    }
}

impl Header {
    fn chunk(&mut self, id: &[u8; 4], data: &[u8]) -> Result<(), DecodeError> {
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
            b"tEXt" => {
                let (key, value) = split(data).unwrap_or((data, &[]));
                self.text(key, value)
            }
            b"zTXt" => compressed_text(data).and_then(|(key, value)| self.text(key, &value)),
            b"iTXt" => self.international_text(data),
            b"eXIf" => {
                self.metadata.exif = Some(data.to_vec());
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
                self.transparency = Some(Transparency::Colour([low_byte(0), low_byte(1), low_byte(2)]))
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

    fn text(&mut self, key: &[u8], value: &[u8]) -> Result<(), DecodeError> {
        match key {
            b"" => return Ok(()),
            b"exif" => self.metadata.exif = Some(value.to_vec()),
            b"Raw profile type exif" => {
                if self.metadata.exif.is_none() {
                    self.metadata.exif = raw_profile(value);
                }
            }
            b"xmp" | b"XML:com.adobe.xmp" => self.metadata.xmp = Some(value.to_vec()),
            _ => {}
        }
        self.text_memory += value.len();
        if self.text_memory > MAX_TEXT_MEMORY {
            return Err(DecodeError::invalid(FORMAT, "too much text"));
        }
        Ok(())
    }

    fn international_text(&mut self, data: &[u8]) -> Result<(), DecodeError> {
        let Some((key, [compressed, method, rest @ ..])) = split(data) else { return Ok(()) };
        let Some((_, rest)) = split(rest) else { return Ok(()) };
        let Some((_, value)) = split(rest) else { return Ok(()) };
        match (compressed, method) {
            (0, _) => self.text(key, value),
            (_, 0) => match inflate_text(value)? {
                Some(value) => self.text(key, &value),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

/// Splits at the first zero byte.
fn split(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let zero = data.iter().position(|&byte| byte == 0)?;
    Some((&data[..zero], &data[zero + 1..]))
}

fn colour_profile(data: &[u8]) -> Result<(), DecodeError> {
    // Without a terminated name Pillow looks for the method in the first byte.
    let rest = split(data).map_or(data, |(_, rest)| rest);
    match rest {
        [0, compressed @ ..] => inflate_text(compressed).map(|_| ()),
        _ => Err(DecodeError::invalid(FORMAT, "unknown compression in iCCP chunk")),
    }
}

fn compressed_text(data: &[u8]) -> Result<(&[u8], Vec<u8>), DecodeError> {
    match split(data).unwrap_or((data, &[])) {
        (key, []) => Ok((key, Vec::new())),
        (key, [0, compressed @ ..]) => Ok((key, inflate_text(compressed)?.unwrap_or_default())),
        _ => Err(DecodeError::invalid(FORMAT, "unknown compression in zTXt chunk")),
    }
}

/// Decompresses a text; none if the stream is broken, an error if the text is larger than Pillow takes.
fn inflate_text(compressed: &[u8]) -> Result<Option<Vec<u8>>, DecodeError> {
    let mut zlib = Decompress::new(true);
    let mut text = vec![0; MAX_TEXT_CHUNK];
    let Ok(status) = zlib.decompress(compressed, &mut text, FlushDecompress::None) else { return Ok(None) };
    let whole = status == Status::StreamEnd || zlib.total_in() as usize == compressed.len();
    if zlib.total_out() as usize == MAX_TEXT_CHUNK && !whole {
        return Err(DecodeError::invalid(FORMAT, "a compressed chunk that expands to more than 1 MiB"));
    }
    text.truncate(zlib.total_out() as usize);
    Ok(Some(text))
}

/// ImageMagick's EXIF in text: three lines of heading, then hexadecimal digits.
fn raw_profile(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let digits: Vec<u32> = text
        .split('\n')
        .skip(3)
        .flat_map(str::chars)
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16))
        .collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    pairs.remainder().is_empty().then(|| pairs.map(|pair| (pair[0] * 16 + pair[1]) as u8).collect())
}
