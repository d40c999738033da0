//! From bytes to a picture: whose format it is, and what is done with the pixels and the metadata that its decoder gives.

use ::image::RgbImage;

use crate::budget::Share;
use crate::error::DecodeError;
use crate::formats::{self, Decoder, FORMATS, Format};
use crate::guard::guarded;
use crate::limits::Limits;
use crate::options::{DecodeOptions, ExifOrientation};
use crate::others::{LFS_POINTER, START, kind_of};
use crate::raster::{Metadata, Pixels, Raster};
use crate::window::Window;
use crate::{cur, format, jpeg, orientation, pool};

/// A decoded picture.
#[derive(Debug)]
pub struct Decoded {
    /// Its pixels.
    pub rgb: RgbImage,
    /// The format its content has.
    pub format: &'static Format,
    /// What a person should know about the pixels, one sentence each.
    pub warnings: Vec<String>,
}

/// A part of a decoded picture. When it is dropped, its memory is kept for the thread's next one.
#[derive(Debug)]
pub struct Part {
    /// Its pixels.
    pub rgb: RgbImage,
    /// Left and top of it in the whole picture.
    pub place: (u32, u32),
    /// Width and height of the whole picture.
    pub size: (u32, u32),
    /// The format its content has.
    pub format: &'static Format,
    /// What a person should know about the pixels, one sentence each.
    pub warnings: Vec<String>,
    /// What it has of a [`Budget`](crate::Budget).
    pub share: Option<Share>,
}

impl Drop for Part {
    fn drop(&mut self) {
        pool::give(std::mem::take(&mut self.rgb).into_raw());
    }
}

/// Whether a file that begins with `start` (some 64 bytes) is surely meant as a picture that is read, whatever its name.
pub fn looks_like_image(start: &[u8]) -> bool {
    Format::of(start).is_some_and(Format::is_read)
}

/// Tells of a file that is no picture by how it begins, so that the rest need not be read. `start` is all of it, or at least the first
/// [`START`](crate::START) bytes.
///
/// # Errors
/// [`decode`] would give the same of the whole file.
pub fn check_start(start: &[u8]) -> Result<(), DecodeError> {
    // Of a cursor, what follows tells whether it is one.
    if start.is_empty() || cur::begins(start) { Ok(()) } else { find(start).map(drop) }
}

/// Decodes one picture to RGB.
///
/// # Errors
/// When the bytes are no picture of a known format, end too early, break their format's rules, use a feature that cannot be
/// reproduced exactly, or hold more pixels than allowed. A panic of a decoder is an error too.
pub fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<Decoded, DecodeError> {
    let full = |width, height| Some(Window::full(width, height));
    let mut part = decode_into(Vec::new(), bytes, options, full)?;
    let (rgb, warnings) = (std::mem::take(&mut part.rgb), std::mem::take(&mut part.warnings));
    Ok(Decoded { rgb, format: part.format, warnings })
}

/// Decodes at least the part of a picture that `wanted` asks for when it is told width and height: where the rest is not made, this is
/// faster. The pixels are those of [`decode`], and so are the errors, for all of the file is read. A picture of which nothing is wanted,
/// whichever way it is turned, is refused before its pixels are made.
///
/// ```
/// use pillow_exact::{DecodeOptions, Window, decode_part};
///
/// let bytes = b"P3 2 1 255  255 0 0  0 0 255";
/// let part = decode_part(bytes, &DecodeOptions::default(), |width, height| {
///     Some(Window { rows: 0..height, columns: 1..width })
/// })?;
/// assert_eq!(part.size, (2, 1));
/// assert_eq!(part.rgb.get_pixel(1 - part.place.0, 0).0, [0, 0, 255]);
/// # Ok::<(), pillow_exact::DecodeError>(())
/// ```
///
/// # Errors
/// As for [`decode`], and [`DecodeError::Shape`].
pub fn decode_part(
    bytes: &[u8],
    options: &DecodeOptions,
    wanted: impl Fn(u32, u32) -> Option<Window>,
) -> Result<Part, DecodeError> {
    decode_into(pool::take(), bytes, options, wanted)
}

/// With the pixels in `buffer`, where the format's decoder can.
fn decode_into(
    buffer: Vec<u8>,
    bytes: &[u8],
    options: &DecodeOptions,
    wanted: impl Fn(u32, u32) -> Option<Window>,
) -> Result<Part, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let (format, decoder) = find(bytes)?;
    let accepts = |width, height| wanted(width, height).is_some() || wanted(height, width).is_some();
    let limits = Limits::new(options.max_pixels, options.budget.clone()).accepting(&accepts);
    if format.name() != format::JPEG {
        let part = guarded(format.name(), || {
            let raster = (decoder.decode)(bytes, &limits)?;
            let size = (raster.width, raster.height);
            part(raster, size, (0, 0), format, options)
        })?;
        return Ok(with_share(part, limits));
    }
    let part = guarded(format.name(), || {
        let mut size = (0, 0);
        let wanted = |metadata: &Metadata, width, height| {
            size = (width, height);
            // What is turned is turned as a whole.
            let is_upright = turn(metadata, options) == 1;
            let window = if is_upright { wanted(width, height) } else { None };
            window.unwrap_or_else(|| Window::full(width, height))
        };
        let (raster, window) = jpeg::decode_part(bytes, &limits, buffer, wanted)?;
        part(raster, size, (window.columns.start, window.rows.start), format, options)
    })?;
    Ok(with_share(part, limits))
}

/// The part with what it has of a budget, which it keeps as long as its pixels.
fn with_share(mut part: Part, limits: Limits<'_>) -> Part {
    part.share = limits.into_share();
    part
}

/// Whose the bytes are.
fn find(bytes: &[u8]) -> Result<(&'static Format, &'static Decoder), DecodeError> {
    let decoders = FORMATS.iter().filter_map(|format| Some((format, format.decoder()?)));
    let mut found = decoders.filter(|(_, decoder)| (decoder.matches)(bytes));
    let start = &bytes[..bytes.len().min(START)];
    found.next().ok_or_else(|| match (Format::of(start), kind_of(start)) {
        (Some(format), _) => DecodeError::NotRead { format: format.name() },
        (None, Some(LFS_POINTER)) => DecodeError::LfsPointer,
        (None, Some(kind)) => DecodeError::NoPicture { kind },
        (None, None) => DecodeError::UnknownFormat { known: formats::read_names() },
    })
}

/// The orientation that the options let count.
fn turn(metadata: &Metadata, options: &DecodeOptions) -> u32 {
    match options.exif_orientation {
        ExifOrientation::Ignore => metadata.upright.unwrap_or(1),
        ExifOrientation::Apply => orientation::find(metadata),
    }
}

/// Makes RGB of a raster, which is the whole picture or a part of one that is not turned.
fn part(
    raster: Raster,
    size: (u32, u32),
    place: (u32, u32),
    format: &'static Format,
    options: &DecodeOptions,
) -> Result<Part, DecodeError> {
    let mut warnings = Vec::new();
    if matches!(raster.pixels, Pixels::Grey16(_)) {
        warnings
            .push("16-bit grey saturates at 255 in the reference, so the picture is nearly white".to_owned());
    }
    let is_whole = size == (raster.width, raster.height);
    let orientation = turn(&raster.metadata, options);
    let rgb = orientation::apply(raster.into_rgb(options.alpha)?, orientation);
    let size = if is_whole { rgb.dimensions() } else { size };
    Ok(Part { rgb, place, size, format, warnings, share: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Headers that announce some billions of pixels, in a few bytes of each format.
    fn bombs() -> Vec<(&'static str, Vec<u8>)> {
        let edge = 65_000u32;
        let (big, little) = (edge.to_be_bytes(), edge.to_le_bytes());
        let png = [b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", &big[..], &big, &[8, 2, 0, 0, 0]].concat();
        let sum = 0x2d354e5du32.to_be_bytes();
        let bmp = [b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", &little[..], &little, &[1, 0, 24, 0], &[0; 24]]
            .concat();
        let gif = [
            b"GIF89a",
            &little[..2],
            &little[..2],
            &[0, 0, 0, b','],
            &[0; 4],
            &little[..2],
            &little[..2],
            &[0, 8, 0],
        ];
        let jpeg =
            [&b"\xff\xd8\xff\xc0\0\x11\x08"[..], &big[2..], &big[2..], b"\x03\x01\x11\0\x02\x11\0\x03\x11\0"];
        let scan = b"\xff\xda\0\x0c\x03\x01\0\x02\0\x03\0\0\x3f\0";
        let pnm = format!("P6 {edge} {edge} 255\n").into_bytes();
        let entry = |tag: u16, value: u32| {
            [&tag.to_le_bytes()[..], &[4, 0, 1, 0, 0, 0], &value.to_le_bytes()].concat()
        };
        let tags: Vec<u8> = [
            (256, edge),
            (257, edge),
            (258, 8),
            (259, 1),
            (262, 1),
            (273, 8),
            (277, 1),
            (278, edge),
            (279, 9),
        ]
        .into_iter()
        .flat_map(|(tag, value)| entry(tag, value))
        .collect();
        let tiff = [&b"II\x2a\0\x08\0\0\0\x09\0"[..], &tags, &[0; 4]].concat();
        let size = [0x2f, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0]; // 16384 x 16384
        let webp = [&b"RIFF\x14\0\0\0WEBPVP8L\x08\0\0\0"[..], &size].concat();
        let canvas =
            [&b"RIFF\x26\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0"[..], b"\xff\x3f\0\xff\x3f\0VP8L\x08\0\0\0", &size]
                .concat();
        vec![
            (format::PNG, [&png[..], &sum, b"\0\0\0\0IDAT\x35\xaf\x06\x1e"].concat()),
            (format::BMP, bmp),
            (format::GIF, gif.concat()),
            (format::JPEG, [jpeg.concat(), scan.to_vec()].concat()),
            (format::PNM, pnm),
            (format::TIFF, tiff),
            (format::WEBP, webp),
            (format::WEBP, canvas),
        ]
    }

    #[test]
    fn what_is_not_read_is_told_by_name() {
        let error =
            |bytes: &[u8]| decode(bytes, &DecodeOptions::default()).expect_err("no picture").to_string();
        assert_eq!(error(b"8BPS\0\x01"), "PSD is not read");
        let message = error(b"a text");
        assert!(message.starts_with("not an image of a known format (BMP, GIF, JPEG, "), "{message}");
    }

    #[test]
    fn a_bomb_of_any_format_is_refused_with_its_size() {
        for (name, bytes) in bombs() {
            let error = decode(&bytes, &DecodeOptions::default()).expect_err(name);
            assert!(matches!(error, DecodeError::TooManyPixels { .. }), "{name}: {error}");
            let message = error.to_string();
            assert!(message.contains("is more than the 178956970 pixels allowed (max-pixels)"), "{message}");
        }
    }

    #[test]
    fn a_shape_that_is_not_wanted_costs_no_pixels() {
        let narrow = |width: u32, height: u32| (width > 3).then(|| Window::full(width, height));
        // Nothing follows the header, so that whoever decodes says that it is cut.
        for (file, is_wanted) in
            [("P6 3 2 255 ", false), ("P6 2 3 255 ", false), ("P6 4 3 255 ", true), ("P6 3 4 255 ", true)]
        {
            let error = decode_part(file.as_bytes(), &DecodeOptions::default(), narrow).expect_err(file);
            assert_eq!(matches!(error, DecodeError::Shape { .. }), !is_wanted, "{file}: {error}");
        }
    }

    #[test]
    fn pictures_share_a_budget_that_is_smaller_than_any_of_them() {
        let files = [
            b"P6 40 30 255\n".iter().copied().chain(std::iter::repeat_n(7, 3600)).collect::<Vec<u8>>(),
            b"P5 90 10 255\n".iter().copied().chain(std::iter::repeat_n(9, 900)).collect(),
        ];
        let options = DecodeOptions { budget: Some(crate::Budget::new(100)), ..DecodeOptions::default() };
        let full = |width, height| Some(Window::full(width, height));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for file in files.iter().cycle().take(50) {
                        let part = decode_part(file, &options, full).expect("a picture");
                        assert!(part.share.is_some() && part.rgb.as_raw().len() > 100);
                    }
                    // One that is refused gives its share back too.
                    decode(&files[0][..100], &options).expect_err("it is cut");
                });
            }
        });
        assert!(decode(&files[0], &options).is_ok());
    }
}
