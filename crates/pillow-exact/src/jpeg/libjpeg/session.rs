//! One picture's way through libjpeg.

use std::ffi::{CStr, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;

use mozjpeg_sys::{
    J_COLOR_SPACE, JERR_SOF_DUPLICATE, jpeg_common_struct, jpeg_component_info, jpeg_create_decompress,
    jpeg_decompress_struct, jpeg_destroy_decompress, jpeg_error_mgr, jpeg_finish_decompress,
    jpeg_read_header, jpeg_read_scanlines, jpeg_start_decompress, jpeg_std_error,
};

use super::failure::{Failure, fail};
use super::idct;
use super::source::Source;

/// The longest message that libjpeg writes, with its final zero: its `JMSG_LENGTH_MAX`.
const MESSAGE: usize = 200;

/// What `jpeg_read_header` returns for a file of tables without a picture: its `JPEG_HEADER_TABLES_ONLY`.
const TABLES_ONLY: c_int = 2;

/// What the samples of a picture are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::jpeg) enum Colour {
    Grey,
    Rgb,
    /// As stored: Adobe's programs store inks inverted.
    Cmyk,
}

impl Colour {
    /// Samples of one pixel.
    pub(super) fn samples(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
            Self::Cmyk => 4,
        }
    }
}

/// A decompressor and what it points to. The functions are to be called in their order here; after a failure libjpeg
/// can only be dropped.
pub(super) struct Session<'a> {
    /// From a box, and freed with this. libjpeg has pointers into it, so it is used through pointers alone.
    state: NonNull<State<'a>>,
}

struct State<'a> {
    cinfo: jpeg_decompress_struct,
    errors: jpeg_error_mgr,
    source: Source<'a>,
}

impl<'a> Session<'a> {
    /// Reads up to the first scan.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, Failure> {
        // SAFETY: both are numbers, pointers, and enums with a zero.
        let (cinfo, errors) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        let state = Box::new(State { cinfo, errors, source: Source::new(bytes) });
        let mut session = Self { state: NonNull::from(Box::leak(state)) };
        let state = session.state.as_ptr();
        session.run(|cinfo| {
            // SAFETY: the state is there as long as the session. Errors have their handler before the first call
            // that may fail, and the selector is set where libjpeg keeps it as soon as it has made that.
            unsafe {
                cinfo.common.err = jpeg_std_error(&mut (*state).errors);
                (*state).errors.error_exit = Some(error_exit);
                (*state).errors.output_message = Some(silent);
                jpeg_create_decompress(cinfo);
                cinfo.src = (&raw mut (*state).source).cast();
                jpeg_set_idct_method_selector(cinfo, select_idct);
                // Without a picture in it this is no error: the next file may follow. At the end there is one.
                while jpeg_read_header(cinfo, 0) == TABLES_ONLY {}
            }
        })?;
        Ok(session)
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> (u32, u32) {
        // SAFETY: the state is there as long as the session.
        let cinfo = unsafe { &(*self.state.as_ptr()).cinfo };
        (cinfo.image_width, cinfo.image_height)
    }

    /// Settles what rows are made of; reads all scans if there are several.
    pub(super) fn start(&mut self, colour: Colour) -> Result<(), Failure> {
        self.run(|cinfo| {
            cinfo.out_color_space = match colour {
                Colour::Grey => J_COLOR_SPACE::JCS_GRAYSCALE,
                Colour::Rgb => J_COLOR_SPACE::JCS_RGB,
                Colour::Cmyk => J_COLOR_SPACE::JCS_CMYK,
            };
            // SAFETY: the header has been read.
            unsafe { jpeg_start_decompress(cinfo) };
        })
    }

    /// Fills `samples` with the next row.
    ///
    /// # Panics
    /// When `samples` is not as long as a row.
    pub(super) fn read_row(&mut self, samples: &mut [u8]) -> Result<(), Failure> {
        let read = self.run(|cinfo| {
            assert_eq!(samples.len(), cinfo.output_width as usize * cinfo.output_components as usize);
            // SAFETY: libjpeg writes one row, to `samples`, which has the room for it.
            unsafe { jpeg_read_scanlines(cinfo, &mut samples.as_mut_ptr(), 1) }
        })?;
        if read == 1 { Ok(()) } else { Err(Failure::Truncated) }
    }

    /// Reads on to the end marker as Pillow does: to the end of the block of bytes that libjpeg has, and no further.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        let state = self.state.as_ptr();
        // SAFETY: the state is there as long as the session, and libjpeg is not running.
        unsafe { (*state).source.end_here() };
        // SAFETY: all rows have been read.
        let result = self.run(|cinfo| unsafe { jpeg_finish_decompress(cinfo) });
        // SAFETY: as above.
        let (ended, code) = unsafe { ((*state).source.is_exhausted(), (*state).errors.msg_code) };
        match result {
            Ok(_) | Err(Failure::Truncated) => Ok(()),
            // A missing end is no failure, but for a second frame header: libjpeg-turbo 3 refuses it by its marker
            // alone, mozjpeg after its first bytes.
            Err(_) if ended && code != JERR_SOF_DUPLICATE as c_int => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Runs libjpeg, whose failures unwind from the callbacks through its frames to here: they are compiled for it.
    fn run<T>(&mut self, work: impl FnOnce(&mut jpeg_decompress_struct) -> T) -> Result<T, Failure> {
        // SAFETY: the state is there as long as the session, and the callbacks run inside of `work` only.
        let cinfo = unsafe { &mut (*self.state.as_ptr()).cinfo };
        // After a failure libjpeg is only dropped, for which it is always ready.
        catch_unwind(AssertUnwindSafe(|| work(cinfo))).map_err(|payload| match payload.downcast() {
            Ok(failure) => *failure,
            Err(panic) => resume_unwind(panic),
        })
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        // SAFETY: the state came from a box, and libjpeg forgets it here. It allows this at any time, even if it was
        // never created: then the structure is zeros.
        unsafe {
            jpeg_destroy_decompress(&mut (*self.state.as_ptr()).cinfo);
            drop(Box::from_raw(self.state.as_ptr()));
        }
    }
}

#[cold]
unsafe extern "C-unwind" fn error_exit(cinfo: &mut jpeg_common_struct) {
    /// What `format_message` is in C; the declaration of `mozjpeg_sys` has a shorter buffer, which is not written to.
    type Format = unsafe extern "C-unwind" fn(*mut jpeg_common_struct, *mut c_char);
    let mut message: [c_char; MESSAGE] = [0; MESSAGE];
    // SAFETY: `err` is the session's, with the functions that libjpeg gave it. The two types of this one differ in
    // the kinds of their pointers alone. The message ends with a zero.
    let text = unsafe {
        if let Some(format) = (*cinfo.err).format_message {
            std::mem::transmute::<*const (), Format>(format as *const ())(cinfo, message.as_mut_ptr());
        }
        CStr::from_ptr(message.as_ptr()).to_string_lossy().into_owned()
    };
    fail(Failure::Broken(text))
}

/// libjpeg counts its warnings, as it does in Pillow, but says nothing.
unsafe extern "C-unwind" fn silent(_: &mut jpeg_common_struct) {}

type Select = unsafe extern "C-unwind" fn(
    *mut jpeg_decompress_struct,
    *mut jpeg_component_info,
    *mut Option<idct::Method>,
    *mut c_int,
);

unsafe extern "C-unwind" {
    /// mozjpeg's own: `mozjpeg_sys` declares it for compressors, which is not what the library has.
    fn jpeg_set_idct_method_selector(cinfo: *mut jpeg_decompress_struct, selector: Select);
}

/// Puts our inverse DCT in the place of the accurate one, which is libjpeg's choice for every component as long as
/// nobody asks for another or for a scaled picture.
unsafe extern "C-unwind" fn select_idct(
    _: *mut jpeg_decompress_struct,
    _: *mut jpeg_component_info,
    method: *mut Option<idct::Method>,
    _: *mut c_int,
) {
    // SAFETY: libjpeg has its choice there, to be changed.
    unsafe { *method = Some(idct::method) };
}
