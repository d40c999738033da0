//! JPEG, by libjpeg as Pillow drives it: accurate integer DCT, fancy upsampling, and an error where the data end too early.
//!
//! Pillow reads the markers itself to learn size, mode and metadata, then feeds libjpeg blocks of 64 KiB from a source that cannot
//! be asked for bytes past the end. Both halves are followed here.

mod colour;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod colour_avx2;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod colour_avx512;
#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code)]
mod colour_neon;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod colour_steps;
mod frame;
mod libjpeg;
mod piece;
mod upsample;

use memchr::memmem;

use crate::error::DecodeError;
use crate::format::JPEG as FORMAT;
use crate::limits::Limits;
use crate::raster::{Metadata, Pixels, Raster};
use crate::reader::Reader;
use crate::window::Window;
use libjpeg::{Colour, Failure};
pub(crate) use piece::{Model, decode_piece};

pub(crate) fn matches(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\xff\xd8\xff")
}

/// What the markers before the first scan say.
#[derive(Debug, Default)]
struct Header {
    width: u16,
    height: u16,
    layers: u8,
    metadata: Metadata,
}

pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster, DecodeError> {
    let full = |_: &Metadata, width, height| Window::full(width, height);
    decode_part(bytes, limits, Vec::new(), full).map(|(raster, _)| raster)
}

/// Decodes what `wanted` asks for when it knows metadata, width and height, and what lies beside it where that is no more work. The
/// picture is as large as the window that is returned with it. Pixels are put into `buffer`, whatever is in it.
pub(crate) fn decode_part(
    bytes: &[u8],
    limits: &Limits,
    buffer: Vec<u8>,
    wanted: impl FnOnce(&Metadata, u32, u32) -> Window,
) -> Result<(Raster, Window), DecodeError> {
    let header = read_header(bytes)?;
    let (width, height) = (u32::from(header.width), u32::from(header.height));
    limits.check(width.into(), height.into())?;
    check_scans(bytes)?;

    let colour = match header.layers {
        1 => Colour::Grey,
        3 => Colour::Rgb,
        _ => Colour::Cmyk,
    };
    let window = wanted(&header.metadata, width, height);
    let mut samples = buffer;
    let window = frame::decode(bytes, (width, height), colour, &window, &mut samples)
        .map_err(|failure| refused(FORMAT, failure))?;
    let pixels = match colour {
        Colour::Grey => Pixels::Grey(samples),
        Colour::Rgb => Pixels::Rgb(samples),
        // Pillow assumes Adobe's convention for all: inks are stored inverted.
        _ => Pixels::Cmyk(samples.into_iter().map(|ink| 255 - ink).collect()),
    };
    let (width, height) = (window.columns.len() as u32, window.rows.len() as u32);
    Ok((Raster { metadata: header.metadata, ..Raster::new(width, height, pixels) }, window))
}

/// Refuses a picture that is sent over and over: each scan costs as much as the whole picture, in some bytes.
fn check_scans(bytes: &[u8]) -> Result<(), DecodeError> {
    /// As libjpeg-turbo's fuzzers do. Encoders make ten.
    const MOST: usize = 500;
    // In the data of a scan a marker's first byte is followed by 0; what is beside the data are some markers at the most.
    let count = memmem::find_iter(bytes, b"\xff\xda").take(MOST + 1).count();
    match count > MOST {
        true => Err(DecodeError::unsupported(FORMAT, format!("more than {MOST} scans"))),
        false => Ok(()),
    }
}

/// libjpeg's failure, of a picture of this format.
fn refused(format: &'static str, failure: Failure) -> DecodeError {
    match failure {
        Failure::Truncated => DecodeError::Truncated { format },
        Failure::OtherSize => DecodeError::invalid(format, "two frame headers of different size"),
        Failure::Broken(message) => {
            DecodeError::invalid(format, message.trim_end_matches('.').to_lowercase())
        }
    }
}

/// Walks the markers as Pillow's plugin does, up to the first scan.
fn read_header(bytes: &[u8]) -> Result<Header, DecodeError> {
    let mut reader = Reader::new(bytes, FORMAT);
    reader.seek(3);
    let mut header = Header::default();
    let mut exif: Option<Vec<u8>> = None;
    // The last byte of the start-of-image marker's successor, already read.
    let mut byte = 0xff;
    loop {
        if byte != 0xff {
            byte = reader.byte()?;
            continue;
        }
        let marker = reader.byte()?;
        match marker {
            // A scan.
            0xda => {
                segment(&mut reader)?;
                break;
            }
            // Start of frame, of every kind; Pillow takes DHP for one as well.
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf | 0xde => {
                frame(segment(&mut reader)?, &mut header)?;
            }
            0xdb => quantization(segment(&mut reader)?)?,
            0xe1 => {
                let data = segment(&mut reader)?;
                if data.starts_with(b"Exif\0\0") {
                    match &mut exif {
                        Some(exif) => exif.extend_from_slice(&data[6..]),
                        None => exif = Some(data.to_vec()),
                    }
                } else if let Some(xmp) = data.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0") {
                    header.metadata.xmp = Some(xmp.to_vec());
                }
            }
            0xe0 | 0xee => {
                let data = segment(&mut reader)?;
                // Pillow unpacks a version after the name without looking whether there is one (JpegImagePlugin.APP).
                let name: &[u8] = if marker == 0xe0 { b"JFIF" } else { b"Adobe" };
                if data.starts_with(name) && data.len() < 7 {
                    return Err(DecodeError::invalid(FORMAT, "an application segment without its version"));
                }
            }
            0xc4 | 0xcc | 0xdc | 0xdd | 0xdf | 0xe2..=0xed | 0xef | 0xfe => {
                segment(&mut reader)?;
            }
            // Padding: the next byte may be the marker.
            0x00 | 0xff => {
                if marker == 0xff {
                    continue;
                }
            }
            // Markers that stand alone.
            0xc8 | 0xd0..=0xd9 | 0xf0..=0xfd => {}
            _ => return Err(DecodeError::invalid(FORMAT, format!("unknown marker 0xff{marker:02x}"))),
        }
        byte = reader.byte()?;
    }
    if header.layers == 0 || header.width == 0 || header.height == 0 {
        return Err(DecodeError::invalid(FORMAT, "no frame header with a size before the first scan"));
    }
    header.metadata.exif = exif;
    Ok(header)
}

fn segment<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let length = usize::from(reader.u16_be()?);
    reader.take(length.saturating_sub(2))
}

fn frame(data: &[u8], header: &mut Header) -> Result<(), DecodeError> {
    let [bits, h1, h0, w1, w0, layers, components @ ..] = data else {
        return Err(DecodeError::Truncated { format: FORMAT });
    };
    if *bits != 8 {
        return Err(DecodeError::unsupported(FORMAT, format!("{bits}-bit samples")));
    }
    if ![1, 3, 4].contains(layers) {
        return Err(DecodeError::unsupported(FORMAT, format!("{layers} components")));
    }
    if components.len() % 3 != 0 {
        return Err(DecodeError::invalid(FORMAT, "frame header of odd length"));
    }
    header.layers = *layers;
    header.height = u16::from_be_bytes([*h1, *h0]);
    header.width = u16::from_be_bytes([*w1, *w0]);
    Ok(())
}

fn quantization(mut data: &[u8]) -> Result<(), DecodeError> {
    while let [head, ..] = data {
        let length = 1 + if head >> 4 == 0 { 64 } else { 128 };
        data = data.get(length..).ok_or_else(|| DecodeError::invalid(FORMAT, "short quantization table"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_segment_without_its_version_is_refused() {
        let start = |segment: &[u8]| [b"\xff\xd8", segment, b"\xff\xd9"].concat();
        for segment in [&b"\xff\xe0\0\x08JFIF\0\x01"[..], b"\xff\xee\0\x08Adobe\0"] {
            let error = read_header(&start(segment)).expect_err("Pillow refuses it").to_string();
            assert!(error.contains("without its version"), "{error}");
        }
        // Other names have other contents.
        let error = read_header(&start(b"\xff\xe0\0\x06JFXX")).expect_err("no frame").to_string();
        assert!(!error.contains("version"), "{error}");
    }

    #[test]
    fn a_picture_that_is_sent_over_and_over_is_refused() {
        let whole = include_bytes!("../../tests/pictures/jpeg-420-progressive.jpg");
        let limits = Limits::new(1 << 20, None);
        decode(whole, &limits).expect("it has ten scans");
        // Its last scan again and again.
        let last = whole.windows(2).rposition(|pair| pair == b"\xff\xda").expect("a scan");
        let end = whole.len() - 2;
        let many = |count| [&whole[..last], &whole[last..end].repeat(count), &whole[end..]].concat();
        let error = decode(&many(500), &limits).expect_err("too many").to_string();
        assert!(error.contains("more than 500 scans"), "{error}");
        decode(&many(100), &limits).expect("not so many");
    }
}
