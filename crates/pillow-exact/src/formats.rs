//! The formats of pictures: those that are read, and those that are only told by name.

use crate::error::DecodeError;
use crate::limits::Limits;
use crate::raster::Raster;
use crate::{
    avif, bmp, cur, dds, format, gif, ico, jpeg, jpeg2000, pcx, png, pnm, qoi, sgi, tga, tiff, webp,
};

/// A format of pictures.
#[derive(Debug)]
pub struct Format {
    name: &'static str,
    extensions: &'static [&'static str],
    /// Whether a file that begins with these bytes, some 64 of them, is surely meant as a picture of it.
    signature: fn(&[u8]) -> bool,
    decoder: Option<Decoder>,
}

/// How a format is read.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// Whether Pillow's plugin takes the bytes for its own, so that no later one is asked: they are read, or refused.
    pub(crate) matches: fn(&[u8]) -> bool,
    pub(crate) decode: fn(&[u8], &Limits) -> Result<Raster, DecodeError>,
}

impl Format {
    /// Its usual name, such as `JPEG`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The extensions of its files, in small letters, without a dot.
    pub fn extensions(&self) -> &'static [&'static str] {
        self.extensions
    }

    /// Whether pictures of it are read; the others are only told by name.
    pub fn is_read(&self) -> bool {
        self.decoder.is_some()
    }

    pub(crate) fn decoder(&self) -> Option<&Decoder> {
        self.decoder.as_ref()
    }

    /// The format of a file that begins with `start` (64 bytes are mostly enough), if its beginning leaves no doubt. TGA has no such beginning.
    pub fn of(start: &[u8]) -> Option<&'static Self> {
        FORMATS.iter().find(|format| (format.signature)(start))
    }

    /// The format whose files have this extension, in capital or small letters, without a dot.
    pub fn of_extension(extension: &str) -> Option<&'static Self> {
        FORMATS
            .iter()
            .find(|format| format.extensions.iter().any(|known| extension.eq_ignore_ascii_case(known)))
    }
}

const fn read(
    name: &'static str,
    extensions: &'static [&'static str],
    signature: fn(&[u8]) -> bool,
    matches: fn(&[u8]) -> bool,
    decode: fn(&[u8], &Limits) -> Result<Raster, DecodeError>,
) -> Format {
    Format { name, extensions, signature, decoder: Some(Decoder { matches, decode }) }
}

const fn told(
    name: &'static str,
    extensions: &'static [&'static str],
    signature: fn(&[u8]) -> bool,
) -> Format {
    Format { name, extensions, signature, decoder: None }
}

/// All of them. Those that are read stand in the order in which Pillow tries them (`PIL.Image.ID`): what one of them does not take for its
/// own is offered to the next.
pub const FORMATS: &[Format] = &[
    read(format::BMP, &["bmp", "dib"], bmp::is_certain, bmp::matches, bmp::decode),
    read(format::GIF, &["gif"], gif::matches, gif::matches, gif::decode),
    read(format::JPEG, &["jpg", "jpeg", "jpe", "jfif"], jpeg::matches, jpeg::matches, jpeg::decode),
    read(format::PNM, &["pnm", "pbm", "pgm", "ppm"], pnm::is_certain, pnm::matches, pnm::decode),
    read(format::PNG, &["png", "apng"], png::matches, png::matches, png::decode),
    read(format::AVIF, &["avif", "avifs"], avif::is_certain, avif::matches, avif::decode),
    read(format::CUR, &["cur"], cur::is_certain, cur::matches, cur::decode),
    read(format::PCX, &["pcx"], pcx::is_certain, pcx::matches, pcx::decode),
    read(format::DDS, &["dds"], dds::matches, dds::matches, dds::decode),
    read(
        format::JPEG_2000,
        &["jp2", "j2k", "jpf", "jpx", "j2c", "jpc"],
        jpeg2000::matches,
        jpeg2000::matches,
        jpeg2000::decode,
    ),
    read(format::ICO, &["ico"], ico::is_certain, ico::matches, ico::decode),
    read(format::TIFF, &["tif", "tiff"], tiff::matches, tiff::matches, tiff::decode),
    read(format::QOI, &["qoi"], qoi::matches, qoi::matches, qoi::decode),
    read(format::SGI, &["sgi", "bw", "rgb", "rgba"], sgi::is_certain, sgi::matches, sgi::decode),
    // It has no signature: its extension alone tells it.
    read(format::TGA, &["tga", "icb", "vda", "vst"], |_| false, tga::matches, tga::decode),
    read(format::WEBP, &["webp"], webp::matches, webp::matches, webp::decode),
    told("HEIC", &["heic", "heif", "hif"], |start| {
        is_brand(start, &[b"heic", b"heix", b"hevc", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"])
    }),
    told("JPEG XL", &["jxl"], |start| {
        start.starts_with(b"\xff\x0a") || start.starts_with(b"\0\0\0\x0cJXL \r\n\x87\n")
    }),
    told("PSD", &["psd", "psb"], |start| start.starts_with(b"8BPS\0")),
    told("ICNS", &["icns"], |start| start.starts_with(b"icns")),
    told("OpenEXR", &["exr"], |start| start.starts_with(b"\x76\x2f\x31\x01")),
    told("Radiance HDR", &["hdr"], |start| {
        start.starts_with(b"#?RADIANCE\n") || start.starts_with(b"#?RGBE\n")
    }),
    told("FITS", &["fits", "fit", "fts"], |start| start.starts_with(b"SIMPLE  =")),
    told("DICOM", &["dcm"], |_| false),
    told("SVG", &["svg", "svgz"], |start| {
        let is_named = |name: &[u8]| start.windows(name.len()).any(|found| found == name);
        start.starts_with(b"<svg")
            || start.starts_with(b"<?xml") && (is_named(b"<svg") || is_named(b"<!DOCTYPE svg"))
    }),
    told("EPS", &["eps"], |start| start.starts_with(b"%!PS-Adobe") || start.starts_with(b"\xc5\xd0\xd3\xc6")),
    told("XBM", &["xbm"], |_| false),
    told("XPM", &["xpm"], |start| start.starts_with(b"/* XPM */")),
    told("BLP", &["blp"], |start| start.starts_with(b"BLP1") || start.starts_with(b"BLP2")),
    told("CR3", &["cr3"], |start| is_brand(start, &[b"crx "])),
    told("RAF", &["raf"], |start| start.starts_with(b"FUJIFILMCCD-RAW ")),
    told("PDF", &["pdf"], |start| start.starts_with(b"%PDF-")),
];

/// Whether an ISO media file has one of these as its major brand.
fn is_brand(start: &[u8], brands: &[&[u8; 4]]) -> bool {
    start.get(4..8) == Some(b"ftyp") && brands.iter().any(|brand| start.get(8..12) == Some(*brand))
}

/// The names of what is read, with commas between them.
pub(crate) fn read_names() -> String {
    let names: Vec<_> = FORMATS.iter().filter(|format| format.is_read()).map(Format::name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_extensions_are_of_one_format() {
        for (index, format) in FORMATS.iter().enumerate() {
            for other in &FORMATS[index + 1..] {
                assert_ne!(format.name, other.name);
                let shared = format.extensions.iter().find(|extension| other.extensions.contains(extension));
                assert_eq!(shared, None, "{} and {}", format.name, other.name);
            }
        }
    }

    #[test]
    fn a_format_is_told_by_its_beginning_or_its_extension() {
        let name = |start: &[u8]| Format::of(start).map(Format::name);
        assert_eq!(name(b"\0\0\0\x20ftypheic\0\0\0\0"), Some("HEIC"));
        assert_eq!(name(b"8BPS\0\x01"), Some("PSD"));
        assert_eq!(name(b"hello, world"), None);
        assert_eq!(name(b""), None);
        assert_eq!(Format::of_extension("HEIC").map(Format::name), Some("HEIC"));
        assert_eq!(Format::of_extension("Tif").map(Format::is_read), Some(true));
        assert!(Format::of_extension("txt").is_none());
    }
}
