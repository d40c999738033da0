#![doc = include_str!("../README.md")]

mod avif;
mod bmp;
mod cur;
mod dds;
mod decode;
mod error;
mod format;
mod formats;
mod gif;
mod guard;
mod ico;
mod jpeg;
mod limits;
mod options;
mod orientation;
mod pcx;
mod png;
mod pnm;
mod pool;
mod qoi;
mod raster;
mod reader;
mod resize;
mod sgi;
mod simd;
mod tga;
mod tiff;
mod webp;
mod window;

pub use decode::{Decoded, Part, decode, decode_part, looks_like_image};
pub use error::DecodeError;
pub use formats::{FORMATS, Format};
pub use options::{Alpha, DecodeOptions, ExifOrientation};
pub use resize::{Canvas, Filter, Rows, Taps, filter_passes, reads, resize, resize_canvas};
pub use window::Window;
