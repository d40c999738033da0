//! A picture on its way to the tower.

use image::RgbImage;
use pillow_exact::{DecodeOptions, Window, decode_part};

use super::error::ExtractError;
use crate::figure::reduced;
use crate::processor::{Geometry, PixelValues, Processor};

/// A decoded picture and the tower's input made of it.
#[derive(Debug)]
pub struct Preprocessed {
    /// The tower's input.
    pub pixel_values: PixelValues,
    /// What was decoded: its format, its size, and what a user should know of it.
    pub picture: Picture,
}

/// Facts of a decoded picture.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The format that the bytes were in.
    pub format: &'static pillow_exact::Format,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Its way through the processor.
    pub geometry: Geometry,
    /// The pixels themselves, or of a large picture a smaller copy, if they were to be kept.
    pub rgb: Option<RgbImage>,
    /// What may surprise: a picture that is read, but not as one would expect.
    pub warnings: Vec<String>,
}

/// Decodes an image and makes the tower's input of it, exactly as the reference's processor does. With `keep`, the
/// picture's pixels are given back too.
///
/// # Errors
/// The bytes are no picture that can be decoded, or one that cannot be resized.
pub(super) fn preprocess(
    bytes: &[u8],
    options: &DecodeOptions,
    processor: &Processor,
    keep: bool,
) -> Result<Preprocessed, ExtractError> {
    // What the crop does not show is made for those alone who keep it.
    let wanted = |width, height| match keep {
        true => Window::full(width, height),
        false => processor.reads(width, height),
    };
    let mut part = decode_part(bytes, options, wanted)?;
    let pixel_values = processor.process_part(&part)?;
    let (width, height) = part.size;
    let geometry = processor.geometry(width, height)?;
    let (format, warnings) = (part.format, std::mem::take(&mut part.warnings));
    let rgb = keep.then(|| reduced(std::mem::take(&mut part.rgb)));
    Ok(Preprocessed { pixel_values, picture: Picture { format, width, height, geometry, rgb, warnings } })
}
