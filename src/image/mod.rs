//! Bytes → RGB pixels, as Pillow 13.0.0 opens and converts them.
//!
//! A format is told by its content. Where Pillow raises, there is an error here; where Pillow opens a picture that cannot be
//! reproduced exactly, there is an error too: other pixels than Pillow's are never given.
//!
//! ```
//! use clip_features::image::{DecodeOptions, decode};
//!
//! let decoded = decode(b"P3 2 1 255  255 0 0  0 0 255", &DecodeOptions::default())?;
//! assert_eq!(decoded.rgb.as_raw(), &[255, 0, 0, 0, 0, 255]);
//! # Ok::<(), clip_features::image::DecodeError>(())
//! ```

mod bmp;
mod bmp_rle;
mod error;
mod gif;
mod gif_lzw;
mod guard;
mod jpeg;
mod orientation;
mod png;
mod png_header;
mod png_rows;
mod png_text;
mod pnm;
mod raster;
mod reader;
mod tiff;
mod webp;

use ::image::{ImageFormat, RgbImage};

pub use error::DecodeError;

use guard::guarded;
use raster::{Pixels, Raster};

/// What becomes of transparency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Alpha {
    /// The picture is composited over white, as transformers 5 does.
    #[default]
    White,
    /// The alpha band is dropped, as `.convert("RGB")` does in transformers 4 and LLaVA.
    Drop,
}

impl Alpha {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::White, Self::Drop];

    /// The name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::White => "white",
            Self::Drop => "drop",
        }
    }
}

/// What becomes of an orientation in the picture's metadata.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExifOrientation {
    /// Pixels stay as they are stored, as `PIL.Image.open` gives them.
    #[default]
    Ignore,
    /// The picture is turned upright, as `transformers.image_utils.load_image` does.
    Apply,
}

impl ExifOrientation {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Ignore, Self::Apply];

    /// The name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ignore => "ignore",
            Self::Apply => "apply",
        }
    }
}

/// How pictures are decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeOptions {
    /// What becomes of transparency.
    pub alpha: Alpha,
    /// What becomes of an orientation in the metadata.
    pub exif_orientation: ExifOrientation,
    /// The most pixels that a picture may have.
    pub max_pixels: u64,
}

impl Default for DecodeOptions {
    /// Transparency over white, orientation ignored, and Pillow's limit of 178,956,970 pixels.
    fn default() -> Self {
        Self {
            alpha: Alpha::default(),
            exif_orientation: ExifOrientation::default(),
            max_pixels: 178_956_970,
        }
    }
}

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
    Decoder { name: "BMP", format: ImageFormat::Bmp, matches: bmp::matches, decode: bmp::decode },
    Decoder { name: "GIF", format: ImageFormat::Gif, matches: gif::matches, decode: gif::decode },
    Decoder { name: "JPEG", format: ImageFormat::Jpeg, matches: jpeg::matches, decode: jpeg::decode },
    Decoder { name: "PNM", format: ImageFormat::Pnm, matches: pnm::matches, decode: pnm::decode },
    Decoder { name: "PNG", format: ImageFormat::Png, matches: png::matches, decode: png::decode },
    Decoder { name: "TIFF", format: ImageFormat::Tiff, matches: tiff::matches, decode: tiff::decode },
    Decoder { name: "WebP", format: ImageFormat::WebP, matches: webp::matches, decode: webp::decode },
];

/// Bounds that every decoder checks before it reserves memory for pixels.
struct Limits {
    max_pixels: u64,
}

impl Limits {
    fn check(&self, width: u64, height: u64) -> Result<(), DecodeError> {
        if width == 0 || height == 0 {
            return Err(DecodeError::invalid("image", format!("{width}x{height} has no pixels")));
        }
        match width.checked_mul(height) {
            Some(pixels) if pixels <= self.max_pixels && width.max(height) <= i32::MAX as u64 => Ok(()),
            _ => Err(DecodeError::TooManyPixels { width, height, limit: self.max_pixels }),
        }
    }
}

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
