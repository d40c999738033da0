//! The formats' names, as messages have them.

pub(crate) const AVIF: &str = "AVIF";
pub(crate) const BMP: &str = "BMP";
pub(crate) const CUR: &str = "CUR";
pub(crate) const DDS: &str = "DDS";
pub(crate) const GIF: &str = "GIF";
pub(crate) const ICO: &str = "ICO";
pub(crate) const JPEG: &str = "JPEG";
pub(crate) const JPEG_2000: &str = "JPEG 2000";
pub(crate) const PCX: &str = "PCX";
pub(crate) const PNG: &str = "PNG";
pub(crate) const PNM: &str = "PNM";
pub(crate) const QOI: &str = "QOI";
pub(crate) const SGI: &str = "SGI";
pub(crate) const TGA: &str = "TGA";
pub(crate) const TIFF: &str = "TIFF";
pub(crate) const WEBP: &str = "WebP";
