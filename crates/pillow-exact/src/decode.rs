//! From bytes to a picture: whose format it is, and what is done with the pixels and the metadata that its decoder gives.

use ::image::{ImageFormat, RgbImage};

use crate::error::DecodeError;
use crate::guard::guarded;
use crate::limits::Limits;
use crate::options::{DecodeOptions, ExifOrientation};
use crate::raster::{Pixels, Raster};
use crate::{bmp, format, gif, jpeg, orientation, png, pnm, tiff, webp};

/// A decoded picture.
#[derive(Debug)]
pub struct Decoded {
    /// Its pixels.
    pub rgb: RgbImage,
    /// The format its content has.
    pub format: ImageFormat,
    /// What a person should know about the pixels, one sentence each.
    pub warnings: Vec<String>,
}

/// A decoder of one format.
struct Decoder {
    name: &'static str,
    format: ImageFormat,
    matches: fn(&[u8]) -> bool,
    decode: fn(&[u8], &Limits) -> Result<Raster, DecodeError>,
}

/// The formats, in the order in which Pillow tries them.
const DECODERS: [Decoder; 7] = [
    Decoder { name: format::BMP, format: ImageFormat::Bmp, matches: bmp::matches, decode: bmp::decode },
    Decoder { name: format::GIF, format: ImageFormat::Gif, matches: gif::matches, decode: gif::decode },
    Decoder { name: format::JPEG, format: ImageFormat::Jpeg, matches: jpeg::matches, decode: jpeg::decode },
    Decoder { name: format::PNM, format: ImageFormat::Pnm, matches: pnm::matches, decode: pnm::decode },
    Decoder { name: format::PNG, format: ImageFormat::Png, matches: png::matches, decode: png::decode },
    Decoder { name: format::TIFF, format: ImageFormat::Tiff, matches: tiff::matches, decode: tiff::decode },
    Decoder { name: format::WEBP, format: ImageFormat::WebP, matches: webp::matches, decode: webp::decode },
];

/// Whether a file that begins with `start` (some 20 bytes) is surely meant as a picture, whatever its name. BMP and
/// PNM begin like many a text, so their next bytes must fit too.
pub fn looks_like_image(start: &[u8]) -> bool {
    match DECODERS.iter().find(|decoder| (decoder.matches)(start)).map(|decoder| decoder.format) {
        None => false,
        Some(ImageFormat::Bmp) => {
            start.starts_with(b"BM")
                && matches!(start.get(14..18), Some([12 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0]))
        }
        Some(ImageFormat::Pnm) => start.get(2).is_some_and(u8::is_ascii_whitespace),
        Some(_) => true,
    }
}

/// Decodes one picture to RGB.
///
/// # Errors
/// When the bytes are no picture of a known format, end too early, break their format's rules, use a feature that cannot be
/// reproduced exactly, or hold more pixels than allowed. A panic of a decoder is an error too.
pub fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<Decoded, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let decoder =
        DECODERS.iter().find(|decoder| (decoder.matches)(bytes)).ok_or(DecodeError::UnknownFormat)?;
    guarded(decoder.name, || {
        let limits = Limits { max_pixels: options.max_pixels };
        let raster = (decoder.decode)(bytes, &limits)?;
        let mut warnings = Vec::new();
        if matches!(raster.pixels, Pixels::Grey16(_)) {
            warnings.push(
                "16-bit grey saturates at 255 in the reference, so the picture is nearly white".to_owned(),
            );
        }
        let orientation = match options.exif_orientation {
            ExifOrientation::Ignore => raster.metadata.upright.unwrap_or(1),
            ExifOrientation::Apply => orientation::find(&raster.metadata),
        };
        let rgb = orientation::apply(raster.into_rgb(options.alpha)?, orientation);
        Ok(Decoded { rgb, format: decoder.format, warnings })
    })
}
