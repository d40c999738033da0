//! WebP: the first frame on its canvas, by libwebp itself and by the functions that Pillow calls (`_webp.c`).

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::ptr::{self, NonNull};
use std::slice;

use libwebp_sys::{
    VP8StatusCode::VP8_STATUS_OK,
    WEBP_DEMUX_ABI_VERSION, WebPAnimDecoder, WebPAnimDecoderDelete, WebPAnimDecoderGetDemuxer,
    WebPAnimDecoderGetInfo, WebPAnimDecoderGetNext, WebPAnimDecoderNew, WebPAnimInfo, WebPBitstreamFeatures,
    WebPChunkIterator, WebPData, WebPDemuxDelete, WebPDemuxGetChunk, WebPDemuxGetI, WebPDemuxInternal,
    WebPDemuxReleaseChunkIterator,
    WebPFormatFeature::{WEBP_FF_CANVAS_HEIGHT, WEBP_FF_CANVAS_WIDTH},
    WebPGetFeatures,
};

use crate::error::DecodeError;
use crate::format::WEBP as FORMAT;
use crate::limits::Limits;
use crate::raster::{Metadata, Pixels, Raster, converted};

pub(crate) fn matches(bytes: &[u8]) -> bool {
    bytes.starts_with(b"RIFF")
        && bytes.get(8..12) == Some(b"WEBP")
        && matches!(bytes.get(12..16), Some(b"VP8 " | b"VP8L" | b"VP8X"))
}

pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster, DecodeError> {
    let &[_, _, _, _, a, b, c, d, ..] = bytes else { return Err(DecodeError::Truncated { format: FORMAT }) };
    // The size in the header counts from after itself.
    if (u32::from_le_bytes([a, b, c, d]) as usize).saturating_add(8) > bytes.len() {
        return Err(DecodeError::Truncated { format: FORMAT });
    }
    let (width, height) =
        canvas(bytes).ok_or_else(|| DecodeError::invalid(FORMAT, "its chunks make no picture"))?;
    limits.check(width.into(), height.into())?;
    let damaged = || DecodeError::invalid(FORMAT, "its data are damaged");
    let mut decoder = Decoder::new(bytes).ok_or_else(damaged)?;
    let metadata = Metadata {
        exif: decoder.chunk(c"EXIF").map(<[u8]>::to_vec),
        xmp: decoder.chunk(c"XMP ").map(<[u8]>::to_vec),
        ..Metadata::default()
    };
    let canvas = decoder.first_frame().ok_or_else(damaged)?;
    let pixels = if has_alpha(bytes) {
        Pixels::Rgba(canvas.to_vec())
    } else {
        Pixels::Rgb(converted(canvas, |&[red, green, blue, _]| [red, green, blue]))
    };
    Ok(Raster { metadata, ..Raster::new(width, height, pixels) })
}

fn data(bytes: &[u8]) -> WebPData {
    WebPData { bytes: bytes.as_ptr(), size: bytes.len() }
}

/// Width and height, before anything is reserved for them. None where the chunks do not make a whole picture.
fn canvas(bytes: &[u8]) -> Option<(u32, u32)> {
    // SAFETY: the bytes live as long as the demuxer, which does not write; it is deleted once.
    unsafe {
        let demuxer = WebPDemuxInternal(&data(bytes), 0, ptr::null_mut(), WEBP_DEMUX_ABI_VERSION as _);
        if demuxer.is_null() {
            return None;
        }
        let size = [WEBP_FF_CANVAS_WIDTH, WEBP_FF_CANVAS_HEIGHT].map(|edge| WebPDemuxGetI(demuxer, edge));
        WebPDemuxDelete(demuxer);
        Some((size[0], size[1]))
    }
}

/// Whether Pillow calls it RGBA, which it does too where the features cannot be told.
fn has_alpha(bytes: &[u8]) -> bool {
    let mut features =
        WebPBitstreamFeatures { width: 0, height: 0, has_alpha: 0, has_animation: 0, format: 0, pad: [0; 5] };
    // SAFETY: the bytes are read, the features written.
    let status = unsafe { WebPGetFeatures(bytes.as_ptr(), bytes.len(), &mut features) };
    status != VP8_STATUS_OK || features.has_alpha != 0
}

/// libwebp's decoder of pictures that may be animated. It reads `bytes` as long as it lives.
struct Decoder<'a> {
    decoder: NonNull<WebPAnimDecoder>,
    bytes: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// None where libwebp refuses the bytes.
    fn new(bytes: &'a [u8]) -> Option<Self> {
        // SAFETY: the bytes outlive the decoder, which keeps pointers to them alone; no options are the default ones.
        let decoder = unsafe { WebPAnimDecoderNew(&data(bytes), ptr::null()) };
        Some(Self { decoder: NonNull::new(decoder)?, bytes })
    }

    /// The contents of the first chunk of a kind.
    fn chunk(&self, kind: &CStr) -> Option<&'a [u8]> {
        let empty = WebPData::default();
        let mut chunk = WebPChunkIterator {
            chunk_num: 0,
            num_chunks: 0,
            chunk: empty,
            pad: [0; 6],
            private_: ptr::null_mut(),
        };
        // SAFETY: the decoder's own demuxer lives as long as it does, and a kind has four letters.
        let range = unsafe {
            let demuxer = WebPAnimDecoderGetDemuxer(self.decoder.as_ptr());
            let found = WebPDemuxGetChunk(demuxer, kind.as_ptr(), 1, &mut chunk) != 0;
            let start = (chunk.chunk.bytes as usize).wrapping_sub(self.bytes.as_ptr() as usize);
            let range = found.then(|| start..start + chunk.chunk.size);
            WebPDemuxReleaseChunkIterator(&mut chunk);
            range?
        };
        // It points into the bytes that were given.
        self.bytes.get(range)
    }

    /// The canvas with the first frame: rows of RGBA, without gaps. None where its data are damaged.
    fn first_frame(&mut self) -> Option<&[u8]> {
        let mut info = WebPAnimInfo::default();
        let (mut canvas, mut time) = (ptr::null_mut(), 0);
        // SAFETY: all pointers are to what lives here; the canvas has four bytes a pixel and lives as long as the decoder, or
        // until it gives another frame.
        unsafe {
            let decoder = self.decoder.as_ptr();
            let decoded = WebPAnimDecoderGetInfo(decoder, &mut info) != 0
                && WebPAnimDecoderGetNext(decoder, &mut canvas, &mut time) != 0;
            let length = info.canvas_width as usize * info.canvas_height as usize * 4;
            decoded.then(|| slice::from_raw_parts(canvas, length))
        }
    }
}

impl Drop for Decoder<'_> {
    fn drop(&mut self) {
        // SAFETY: it is deleted once.
        unsafe { WebPAnimDecoderDelete(self.decoder.as_ptr()) };
    }
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
        // With unknown flags, without the chunk that announces frames, and with a second frame beside the canvas.
        for (at, byte) in [(20, 3), (30, b'@'), (1046 + 8, 94)] {
            let mut bad = good.clone();
            bad[at] = byte;
            let error = decode(&bad).expect_err("Pillow refuses it").to_string();
            assert_eq!(error, "broken WebP: its chunks make no picture");
        }
        // What a frame's header states of its size does not count; a frame that holds no picture gives way to the next.
        for (at, byte) in [(44 + 8 + 6, 200), (44 + 8 + 16, b'p')] {
            let mut other = good.clone();
            other[at] = byte;
            assert!(decode(&other).is_ok());
        }
    }

    #[test]
    fn every_cut_is_refused_and_never_read_beyond() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pictures/webp-animated.webp");
        let whole = std::fs::read(path).expect("a fixture");
        for length in 0..whole.len() {
            // Of its own length, so that a checker of memory sees what lies beyond; its header agrees with it.
            let mut cut = whole[..length].to_vec();
            assert!(decode(&cut, &Limits::new(1 << 20, None)).is_err());
            if length >= 12 {
                cut[4..8].copy_from_slice(&(length as u32 - 8).to_le_bytes());
                let _ = decode(&cut, &Limits::new(1 << 20, None));
            }
        }
    }
}
