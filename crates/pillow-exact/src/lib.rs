#![doc = include_str!("../README.md")]

mod bmp;
mod decode;
mod error;
mod format;
mod gif;
mod guard;
mod jpeg;
mod limits;
mod options;
mod orientation;
mod png;
mod pnm;
mod raster;
mod reader;
mod resize;
mod tiff;
mod webp;

pub use decode::{Decoded, decode, looks_like_image};
pub use error::DecodeError;
pub use options::{Alpha, DecodeOptions, ExifOrientation};
pub use resize::{Canvas, Filter, Rows, Window, resize, resize_canvas};
