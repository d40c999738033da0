//! Text and profiles in PNG chunks, within Pillow's limits: EXIF and XMP may hide there.

use flate2::{Decompress, FlushDecompress, Status};

use crate::error::DecodeError;
use crate::format::PNG as FORMAT;
use crate::raster::Metadata;

/// Pillow's cap on the text of one compressed chunk.
const MAX_TEXT_CHUNK: usize = 1024 * 1024;
/// Pillow's cap on all text together.
const MAX_TEXT_MEMORY: usize = 64 * MAX_TEXT_CHUNK;

/// What the texts that were read say, and how long they are together.
#[derive(Default)]
pub(super) struct Texts {
    pub(super) metadata: Metadata,
    memory: usize,
}

impl Texts {
    /// A tEXt chunk.
    pub(super) fn plain(&mut self, data: &[u8]) -> Result<(), DecodeError> {
        let (key, value) = split(data).unwrap_or((data, &[]));
        self.add(key, value)
    }

    /// A zTXt chunk.
    pub(super) fn compressed(&mut self, data: &[u8]) -> Result<(), DecodeError> {
        match split(data).unwrap_or((data, &[])) {
            (key, []) => self.add(key, &[]),
            (key, [0, compressed @ ..]) => self.add(key, &inflate(compressed)?.unwrap_or_default()),
            _ => Err(DecodeError::invalid(FORMAT, "unknown compression in zTXt chunk")),
        }
    }

    /// An iTXt chunk.
    pub(super) fn international(&mut self, data: &[u8]) -> Result<(), DecodeError> {
        let Some((key, [compressed, method, rest @ ..])) = split(data) else { return Ok(()) };
        let Some((_, rest)) = split(rest) else { return Ok(()) };
        let Some((_, value)) = split(rest) else { return Ok(()) };
        match (compressed, method) {
            (0, _) => self.add(key, value),
            (_, 0) => match inflate(value)? {
                Some(value) => self.add(key, &value),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), DecodeError> {
        match key {
            b"" => return Ok(()),
            b"exif" => self.metadata.exif = Some(value.to_vec()),
            b"Raw profile type exif" if self.metadata.exif.is_none() => {
                self.metadata.exif = raw_profile(value);
            }
            b"xmp" | b"XML:com.adobe.xmp" => self.metadata.xmp = Some(value.to_vec()),
            _ => {}
        }
        self.memory += value.len();
        if self.memory > MAX_TEXT_MEMORY {
            return Err(DecodeError::invalid(FORMAT, "too much text"));
        }
        Ok(())
    }
}

/// Splits at the first zero byte.
fn split(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let zero = data.iter().position(|&byte| byte == 0)?;
    Some((&data[..zero], &data[zero + 1..]))
}

/// Checks an iCCP chunk, whose profile nothing here uses.
pub(super) fn colour_profile(data: &[u8]) -> Result<(), DecodeError> {
    // Without a terminated name Pillow looks for the method in the first byte.
    let rest = split(data).map_or(data, |(_, rest)| rest);
    match rest {
        [0, compressed @ ..] => inflate(compressed).map(|_| ()),
        _ => Err(DecodeError::invalid(FORMAT, "unknown compression in iCCP chunk")),
    }
}

/// Decompresses a text; none if the stream is broken, an error if the text is larger than Pillow takes.
fn inflate(compressed: &[u8]) -> Result<Option<Vec<u8>>, DecodeError> {
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
