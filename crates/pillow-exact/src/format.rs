//! The formats' names, as messages have them.

pub(crate) const BMP: &str = "BMP";
pub(crate) const GIF: &str = "GIF";
pub(crate) const JPEG: &str = "JPEG";
pub(crate) const PNG: &str = "PNG";
pub(crate) const PNM: &str = "PNM";
pub(crate) const TIFF: &str = "TIFF";
pub(crate) const WEBP: &str = "WebP";
