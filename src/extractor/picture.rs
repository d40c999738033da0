//! A picture on its way to the tower.

use image::RgbImage;
use pillow_exact::{DecodeError, DecodeOptions, Window, decode_part, followed_by, looks_like_image};

use super::error::ExtractError;
use crate::{
    figure::reduced,
    processor::{Geometry, PixelValues, Processor},
    shard::is_tar,
};

/// A decoded picture and the tower's input made of it.
///
/// ```
/// # use clip_features::{ModelSpec, Opened, Options};
/// # let opened = Opened::open(&ModelSpec::Random { seed: 0, directory: None }, Options::default())?;
/// use clip_features::Preprocessed;
///
/// let Preprocessed { pixel_values, picture } = opened.preprocess(b"P6 1 1 255\n\xff\x80\x00")?;
/// assert_eq!(pixel_values.as_slice().len(), 3 * 224 * 224);
/// assert!(picture.warnings.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Preprocessed {
    /// The tower's input.
    pub pixel_values: PixelValues,
    /// What was decoded: its format, its size, and what a user should know of it.
    pub picture: Picture,
}

/// Facts of a decoded picture.
///
/// ```
/// # use clip_features::{ModelSpec, Opened, Options};
/// # let opened = Opened::open(&ModelSpec::Random { seed: 0, directory: None }, Options::default())?;
/// let picture = opened.preprocess(b"P6 2 1 255\n\x00\x80\xff\xff\xff\xff")?.picture;
/// assert_eq!((picture.format.name(), picture.width, picture.height), ("PNM", 2, 1));
/// assert!(picture.rgb.is_none()); // its pixels are kept for a drawing alone
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    let wanted = |width, height| {
        processor.geometry(width, height).ok()?;
        Some(if keep { Window::full(width, height) } else { processor.reads(width, height) })
    };
    let mut part = match decode_part(bytes, options, wanted) {
        Err(DecodeError::Shape { width, height }) => {
            processor.geometry(width, height)?;
            return Err(DecodeError::Shape { width, height }.into());
        }
        decoded => decoded?,
    };
    let pixel_values = processor.process_part(&part)?;
    let (width, height) = part.size;
    let geometry = processor.geometry(width, height)?;
    let (format, mut warnings) = (part.format, std::mem::take(&mut part.warnings));
    if let Some(rest) = followed_by(bytes, format).filter(|rest| looks_like_image(rest) || is_tar(rest)) {
        let what = if is_tar(rest) { "a tar" } else { "another picture" };
        let count = rest.len();
        warnings.push(format!("{what} follows the picture in the same file, {count} bytes, and is not read"));
    }
    let rgb = keep.then(|| reduced(std::mem::take(&mut part.rgb)));
    Ok(Preprocessed { pixel_values, picture: Picture { format, width, height, geometry, rgb, warnings } })
}
