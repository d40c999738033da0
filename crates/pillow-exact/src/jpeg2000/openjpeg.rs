//! OpenJPEG through its port to Rust, by the functions that Pillow calls (`Jpeg2KDecode.c`), tile by tile.
//!
//! Its functions are C's in all but name: they take pointers.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr;

use openjp2::openjpeg::{
    OPJ_CLRSPC_CMYK, OPJ_CLRSPC_GRAY, OPJ_CLRSPC_SRGB, OPJ_CLRSPC_SYCC, OPJ_CLRSPC_UNKNOWN,
    OPJ_CLRSPC_UNSPECIFIED, OPJ_CODEC_J2K, OPJ_CODEC_JP2, opj_codec_t, opj_create_decompress,
    opj_decode_tile_data, opj_destroy_codec, opj_dparameters_t, opj_end_decompress, opj_image_destroy,
    opj_image_t, opj_read_header, opj_read_tile_header, opj_setup_decoder, opj_stream_create,
    opj_stream_destroy, opj_stream_set_read_function, opj_stream_set_skip_function, opj_stream_set_user_data,
    opj_stream_set_user_data_length, opj_stream_t,
};

/// What OpenJPEG reads ahead in Pillow.
const BUFFER: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ColourSpace {
    Unspecified,
    Grey,
    Rgb,
    YCbCr,
    Cmyk,
    Other,
}

/// How a component's samples are stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Component {
    pub(super) precision: u32,
    pub(super) is_signed: bool,
    /// One sample for so many columns and rows.
    pub(super) dx: u32,
    pub(super) dy: u32,
}

impl Component {
    /// Bytes of a sample in a tile.
    pub(super) fn size(&self) -> usize {
        match self.precision.div_ceil(8) {
            3 => 4,
            size => size as usize,
        }
    }
}

/// A decoded tile.
#[derive(Debug)]
pub(super) struct Tile {
    /// Left and top of it in the picture.
    pub(super) place: (usize, usize),
    pub(super) width: usize,
    pub(super) height: usize,
    /// The components one after the other, in the machine's byte order, and zeros behind them.
    pub(super) data: Vec<u8>,
}

/// The file, and how far OpenJPEG has read it.
struct Source<'a> {
    rest: &'a [u8],
}

pub(super) struct Decoder<'a> {
    codec: *mut opj_codec_t,
    stream: *mut opj_stream_t,
    image: *mut opj_image_t,
    /// The stream has a pointer to it.
    _source: Box<Source<'a>>,
    origin: (i64, i64),
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) colour_space: ColourSpace,
    pub(super) components: Vec<Component>,
}

impl Drop for Decoder<'_> {
    fn drop(&mut self) {
        // SAFETY: each was made by OpenJPEG, or is null, which it passes over.
        unsafe {
            opj_destroy_codec(self.codec);
            opj_image_destroy(self.image);
            opj_stream_destroy(self.stream);
        }
    }
}

impl<'a> Decoder<'a> {
    /// Reads the headers. None where OpenJPEG refuses them.
    pub(super) fn open(bytes: &'a [u8]) -> Option<Self> {
        let mut source = Box::new(Source { rest: bytes });
        let format = if bytes.starts_with(super::CODESTREAM) { OPJ_CODEC_J2K } else { OPJ_CODEC_JP2 };
        // SAFETY: the source lives in the decoder, as long as the stream; parameters of zeros are the defaults of a decoder.
        let mut decoder = unsafe {
            let stream = opj_stream_create(BUFFER, 1);
            opj_stream_set_read_function(stream, Some(read));
            opj_stream_set_skip_function(stream, Some(skip));
            opj_stream_set_user_data(stream, ptr::from_mut(source.as_mut()).cast(), None);
            opj_stream_set_user_data_length(stream, bytes.len() as u64);
            Self {
                codec: opj_create_decompress(format),
                stream,
                image: ptr::null_mut(),
                _source: source,
                origin: (0, 0),
                width: 0,
                height: 0,
                colour_space: ColourSpace::Unspecified,
                components: Vec::new(),
            }
        };
        let mut parameters = opj_dparameters_t::default();
        // SAFETY: codec and stream are there; an image that is made is null or whole, and has so many components.
        unsafe {
            opj_setup_decoder(decoder.codec, &raw mut parameters);
            if opj_read_header(decoder.stream, decoder.codec, &raw mut decoder.image) == 0 {
                return None;
            }
            let image = decoder.image.as_ref()?;
            decoder.origin = (image.x0.into(), image.y0.into());
            decoder.width = image.x1.checked_sub(image.x0)?;
            decoder.height = image.y1.checked_sub(image.y0)?;
            decoder.colour_space = match image.color_space {
                OPJ_CLRSPC_UNKNOWN | OPJ_CLRSPC_UNSPECIFIED => ColourSpace::Unspecified,
                OPJ_CLRSPC_GRAY => ColourSpace::Grey,
                OPJ_CLRSPC_SRGB => ColourSpace::Rgb,
                OPJ_CLRSPC_SYCC => ColourSpace::YCbCr,
                OPJ_CLRSPC_CMYK => ColourSpace::Cmyk,
                _ => ColourSpace::Other,
            };
            let components = std::slice::from_raw_parts(image.comps, image.numcomps as usize);
            decoder.components = components
                .iter()
                .map(|component| Component {
                    precision: component.prec,
                    is_signed: component.sgnd != 0,
                    dx: component.dx,
                    dy: component.dy,
                })
                .collect();
        }
        Some(decoder)
    }

    /// The next tile; `Some(None)` behind the last. None where it is broken, or Pillow would not take it.
    pub(super) fn next_tile(&mut self) -> Option<Option<Tile>> {
        let (mut index, mut size, mut components, mut goes_on) = (0, 0, 0, 0);
        let (mut x0, mut y0, mut x1, mut y1) = (0, 0, 0, 0);
        // SAFETY: codec and stream are there, and every pointer is to a variable.
        let read = unsafe {
            opj_read_tile_header(
                self.codec,
                self.stream,
                &raw mut index,
                &raw mut size,
                &raw mut x0,
                &raw mut y0,
                &raw mut x1,
                &raw mut y1,
                &raw mut components,
                &raw mut goes_on,
            )
        };
        if read == 0 {
            return None;
        }
        if goes_on == 0 {
            return Some(None);
        }
        let within = |start: i32, end: i32, origin: i64, edge: u32| {
            let (start, end) = (i64::from(start) - origin, i64::from(end) - origin);
            (0 <= start && start < end && end <= edge.into())
                .then_some((start as usize, (end - start) as usize))
        };
        let (left, width) = within(x0, x1, self.origin.0, self.width)?;
        let (top, height) = within(y0, y1, self.origin.1, self.height)?;
        if components as usize != self.components.len() {
            return None;
        }
        // The port panics over a component of which nothing is in the tile.
        let is_empty =
            |start: i32, end: i32, step: u32| (start as u32).div_ceil(step) == (end as u32).div_ceil(step);
        if self.components.iter().any(|it| is_empty(x0, x1, it.dx) || is_empty(y0, y1, it.dy)) {
            return None;
        }
        // As Pillow has it, so that subsampled components which it takes for narrower than they are read the same.
        let sizes: usize = self.components.iter().map(Component::size).sum();
        let mut data = vec![0; (width * height * sizes).max(size as usize)];
        let length = u32::try_from(data.len()).ok()?;
        // SAFETY: the data have the length that is stated.
        let decoded =
            unsafe { opj_decode_tile_data(self.codec, index, data.as_mut_ptr(), length, self.stream) };
        (decoded != 0).then_some(Some(Tile { place: (left, top), width, height, data }))
    }

    /// Whether OpenJPEG takes what follows the last tile.
    pub(super) fn is_complete(&mut self) -> bool {
        // SAFETY: codec and stream are there.
        unsafe { opj_end_decompress(self.codec, self.stream) != 0 }
    }
}

/// # Safety
/// `user` is the source, and `buffer` has room for `count` bytes.
unsafe extern "C" fn read(buffer: *mut c_void, count: usize, user: *mut c_void) -> usize {
    // SAFETY: the caller's promise.
    unsafe {
        let source = &mut *user.cast::<Source>();
        let (read, rest) = source.rest.split_at(count.min(source.rest.len()));
        buffer.cast::<u8>().copy_from_nonoverlapping(read.as_ptr(), read.len());
        source.rest = rest;
        // At the end there is no more.
        if read.is_empty() { usize::MAX } else { read.len() }
    }
}

/// # Safety
/// `user` is the source.
unsafe extern "C" fn skip(count: i64, user: *mut c_void) -> i64 {
    // SAFETY: the caller's promise.
    let source = unsafe { &mut *user.cast::<Source>() };
    let passed = usize::try_from(count).unwrap_or(0).min(source.rest.len());
    source.rest = &source.rest[passed..];
    count
}
