//! WebP: the first frame on its canvas. The bitstreams are image-webp's work; the container is read here, so that transparency and
//! animations mean what they mean to libwebp.

use std::io::{Cursor, ErrorKind};

use ::image::codecs::webp::WebPDecoder;
use ::image::{ImageDecoder, ImageError};

use crate::error::DecodeError;
use crate::format::WEBP as FORMAT;
use crate::limits::Limits;
use crate::raster::{Metadata, Pixels, Raster, converted};
use crate::reader::Reader;

/// Flags of an extended header.
const ANIMATION: u8 = 0x02;
const ALPHA: u8 = 0x10;
/// With metadata's and profiles'; libwebp refuses the other three bits (ALL_VALID_FLAGS).
const KNOWN_FLAGS: u8 = 0x3e;

pub(crate) fn matches(bytes: &[u8]) -> bool {
    bytes.starts_with(b"RIFF")
        && bytes.get(8..12) == Some(b"WEBP")
        && matches!(bytes.get(12..16), Some(b"VP8 " | b"VP8L" | b"VP8X"))
}

/// A frame's chunks.
#[derive(Clone, Copy, Debug, Default)]
struct Frame<'a> {
    alpha: Option<&'a [u8]>,
    image: Option<([u8; 4], &'a [u8])>,
    left: u32,
    top: u32,
}

pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster, DecodeError> {
    let mut reader = Reader::new(bytes, FORMAT);
    reader.seek(4);
    let size = reader.u32_le()? as usize;
    // The size in the header counts from after itself; what follows it is not part of the picture.
    let end = size.saturating_add(8).min(bytes.len());
    if size.saturating_add(8) > bytes.len() {
        return Err(DecodeError::Truncated { format: FORMAT });
    }
    let mut reader = Reader::new(&bytes[..end], FORMAT);
    reader.seek(12);

    let mut metadata = Metadata::default();
    let mut canvas = None;
    let mut flags = 0;
    let mut frame = Frame::default();
    let (mut complete, mut animated) = (false, false);
    while !reader.rest().is_empty() {
        let (id, data) = chunk(&mut reader)?;
        if canvas.is_none() && frame.image.is_some() {
            break; // what follows a simple picture must be a chunk, but not a particular one
        }
        match &id {
            b"VP8X" if canvas.is_none() => {
                let mut fields = Reader::new(data, FORMAT);
                flags = fields.u32_le()? as u8;
                if flags & !KNOWN_FLAGS != 0 {
                    return Err(DecodeError::invalid(FORMAT, "unknown flags in the header"));
                }
                canvas = Some((u24(&mut fields)? + 1, u24(&mut fields)? + 1));
            }
            b"ANIM" => animated = true,
            b"ANMF" if flags & ANIMATION != 0 => {
                // libwebp's demuxer sees all frames before the first is decoded (ParseVP8XChunks and IsValidExtendedFormat).
                let found = animation_frame(data)?;
                if !animated {
                    return Err(DecodeError::invalid(FORMAT, "an animation without its header"));
                }
                // A frame without a picture counts for nothing, nor does the size that a frame's header states.
                let Some((kind, data)) = found.image else { continue };
                if !is_inside(&found, bitstream_size(&kind, data)?, canvas) {
                    return Err(DecodeError::invalid(FORMAT, "a frame beside its canvas"));
                }
                if !complete {
                    frame = found;
                    complete = true;
                }
            }
            b"ALPH" if flags & ANIMATION == 0 && frame.image.is_none() => frame.alpha = Some(data),
            b"VP8 " | b"VP8L" if flags & ANIMATION == 0 && frame.image.is_none() => {
                frame.image = Some((id, data));
            }
            b"EXIF" => metadata.exif = metadata.exif.or(Some(data.to_vec())),
            b"XMP " => metadata.xmp = metadata.xmp.or(Some(data.to_vec())),
            _ => {}
        }
    }
    let (kind, data) = frame.image.ok_or_else(|| DecodeError::invalid(FORMAT, "no picture"))?;
    let (width, height) = bitstream_size(&kind, data)?;
    let (canvas_width, canvas_height) = canvas.unwrap_or((width, height));
    limits.check(canvas_width.into(), canvas_height.into())?;
    limits.check_frame(width.into(), height.into())?;
    if flags & ANIMATION == 0 && (width, height) != (canvas_width, canvas_height) {
        return Err(DecodeError::invalid(FORMAT, "a frame whose size is not the one announced"));
    }
    // What says whether there is transparency differs between still pictures and animations.
    let has_alpha = match (&kind, flags & ANIMATION != 0) {
        (_, true) => flags & ALPHA != 0,
        (b"VP8L", false) => data.get(4).is_some_and(|byte| byte & 0x10 != 0),
        _ => flags & ALPHA != 0 || frame.alpha.is_some(),
    };

    let pixels = bitstream(&kind, data, frame.alpha, width, height)?;
    let pixels = place(pixels, (width, height), (frame.left, frame.top), (canvas_width, canvas_height));
    let pixels = match pixels {
        Pixels::Rgba(rgba) if !has_alpha => {
            Pixels::Rgb(converted(&rgba, |&[red, green, blue, _]| [red, green, blue]))
        }
        pixels => pixels,
    };
    Ok(Raster { metadata, ..Raster::new(canvas_width, canvas_height, pixels) })
}

/// Whether a frame's picture lies on its canvas.
fn is_inside(frame: &Frame, (width, height): (u32, u32), canvas: Option<(u32, u32)>) -> bool {
    let fits = |start: u32, length: u32, edge: u32| u64::from(start) + u64::from(length) <= u64::from(edge);
    canvas.is_some_and(|(right, bottom)| fits(frame.left, width, right) && fits(frame.top, height, bottom))
}

fn u24(reader: &mut Reader) -> Result<u32, DecodeError> {
    let [a, b, c] = reader.array()?;
    Ok(u32::from_le_bytes([a, b, c, 0]))
}

fn chunk<'a>(reader: &mut Reader<'a>) -> Result<([u8; 4], &'a [u8]), DecodeError> {
    let id = reader.array()?;
    let length = reader.u32_le()? as usize;
    let data = reader.take(length)?;
    reader.take(length % 2)?;
    Ok((id, data))
}

fn animation_frame(data: &[u8]) -> Result<Frame<'_>, DecodeError> {
    let mut reader = Reader::new(data, FORMAT);
    let (left, top) = (u24(&mut reader)? * 2, u24(&mut reader)? * 2);
    reader.take(10)?; // size, duration and blending, which a first frame does not need
    let mut frame = Frame { left, top, ..Frame::default() };
    while frame.image.is_none() && reader.rest().len() >= 8 {
        let (id, data) = chunk(&mut reader)?;
        match &id {
            b"ALPH" => frame.alpha = Some(data),
            b"VP8 " | b"VP8L" => frame.image = Some((id, data)),
            _ => {}
        }
    }
    Ok(frame)
}

/// Width and height in a bitstream's own header.
fn bitstream_size(kind: &[u8; 4], data: &[u8]) -> Result<(u32, u32), DecodeError> {
    let invalid = || DecodeError::invalid(FORMAT, "broken bitstream header");
    if kind == b"VP8L" {
        let &[0x2f, a, b, c, d, ..] = data else { return Err(invalid()) };
        let bits = u32::from_le_bytes([a, b, c, d]);
        return Ok(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1));
    }
    let &[_, _, _, 0x9d, 0x01, 0x2a, a, b, c, d, ..] = data else { return Err(invalid()) };
    Ok((u32::from(u16::from_le_bytes([a, b]) & 0x3fff), u32::from(u16::from_le_bytes([c, d]) & 0x3fff)))
}

/// Decodes one bitstream by wrapping it as a still picture of its own.
fn bitstream(
    kind: &[u8; 4],
    data: &[u8],
    alpha: Option<&[u8]>,
    width: u32,
    height: u32,
) -> Result<Pixels, DecodeError> {
    let mut riff = b"RIFF\0\0\0\0WEBP".to_vec();
    let mut push = |id: &[u8; 4], data: &[u8]| {
        riff.extend_from_slice(id);
        riff.extend_from_slice(&(data.len() as u32).to_le_bytes());
        riff.extend_from_slice(data);
        riff.resize(riff.len().next_multiple_of(2), 0);
    };
    if let (Some(alpha), b"VP8 ") = (alpha, kind) {
        let mut header = [0; 10];
        header[0] = ALPHA;
        header[4..7].copy_from_slice(&(width - 1).to_le_bytes()[..3]);
        header[7..10].copy_from_slice(&(height - 1).to_le_bytes()[..3]);
        push(b"VP8X", &header);
        push(b"ALPH", alpha);
    }
    push(kind, data);
    let length = riff.len() as u32 - 8;
    riff[4..8].copy_from_slice(&length.to_le_bytes());

    let failed = |error: ImageError| match error {
        ImageError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            DecodeError::Truncated { format: FORMAT }
        }
        other => DecodeError::invalid(FORMAT, other.to_string()),
    };
    let decoder = WebPDecoder::new(Cursor::new(riff)).map_err(failed)?;
    let rgba = decoder.color_type().has_alpha();
    let mut samples = vec![0; decoder.total_bytes() as usize];
    decoder.read_image(&mut samples).map_err(failed)?;
    Ok(if rgba { Pixels::Rgba(samples) } else { Pixels::Rgb(samples) })
}

/// Lays a frame on a transparent canvas; one that fills the canvas is the canvas.
fn place(pixels: Pixels, size: (u32, u32), origin: (u32, u32), canvas: (u32, u32)) -> Pixels {
    if size == canvas {
        return pixels;
    }
    let rgba: Vec<u8> = match pixels {
        Pixels::Rgb(rgb) => converted(&rgb, |&[red, green, blue]| [red, green, blue, 255]),
        Pixels::Rgba(rgba) => rgba,
        other => return other,
    };
    let mut out = vec![0; canvas.0 as usize * canvas.1 as usize * 4];
    for (y, row) in rgba.chunks_exact(size.0 as usize * 4).enumerate() {
        let start = ((origin.1 as usize + y) * canvas.0 as usize + origin.0 as usize) * 4;
        out[start..start + row.len()].copy_from_slice(row);
    }
    Pixels::Rgba(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_must_be_announced_and_on_its_canvas() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pictures/webp-animated.webp");
        let good = std::fs::read(path).expect("a fixture");
        let decode = |bytes: &[u8]| decode(bytes, &Limits::new(1 << 20, None));
        assert!(decode(&good).is_ok());
        // Without the chunk that announces frames, and with a second frame beside the canvas.
        for (at, byte, part) in
            [(20, 3, "unknown flags"), (30, b'@', "without its header"), (1046 + 8, 94, "beside its canvas")]
        {
            let mut bad = good.clone();
            bad[at] = byte;
            let error = decode(&bad).expect_err("Pillow refuses it").to_string();
            assert!(error.contains(part), "{error}");
        }
        // What a frame's header states of its size does not count; a frame that holds no picture gives way to the next.
        for (at, byte) in [(44 + 8 + 6, 200), (44 + 8 + 16, b'p')] {
            let mut other = good.clone();
            other[at] = byte;
            assert!(decode(&other).is_ok());
        }
    }
}
