//! One picture's way through libjpeg.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ops::Range;
use std::ptr::{NonNull, null_mut};

use mozjpeg_sys::{
    J_COLOR_SPACE, JERR_SOF_DUPLICATE, jpeg_common_struct, jpeg_component_info, jpeg_decompress_struct,
    jpeg_destroy_decompress, jpeg_error_mgr,
};

use super::failure::Failure;
use super::idct;
use super::planes::{BLOCK, Component, Planes};
use super::shared::Shared;
use super::source::Source;

/// The longest message that libjpeg writes, with its final zero: its `JMSG_LENGTH_MAX`.
const MESSAGE: usize = 200;

/// libjpeg's calls, as shim.c numbers them.
#[derive(Clone, Copy)]
#[repr(C)]
enum Step {
    Create,
    Header,
    Start,
    Scanlines,
    Planes,
    Finish,
}

/// What a call ends with, in shim.c's numbers.
const DONE: c_int = 0;
const TRUNCATED: c_int = 2;

unsafe extern "C" {
    /// Makes a call of libjpeg, whose failures end here. What it returns is left in `result`, where that is a count.
    fn pillow_exact_jpeg(
        cinfo: *mut jpeg_decompress_struct,
        step: c_int,
        argument: *mut c_void,
        result: *mut u32,
    ) -> c_int;
}

/// What the samples of a picture are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::jpeg) enum Colour {
    Grey,
    Rgb,
    /// As stored: Adobe's programs store inks inverted.
    Cmyk,
    /// The three components become red, green and blue, whatever the markers say of them.
    YCbCr,
    /// So many components as they are, whatever the markers say of them.
    Stored(usize),
}

impl Colour {
    /// Samples of one pixel.
    pub(in crate::jpeg) fn samples(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb | Self::YCbCr => 3,
            Self::Cmyk => 4,
            Self::Stored(samples) => samples,
        }
    }
}

/// A decompressor and what it points to. The functions are to be called in their order here; after a failure libjpeg
/// can only be dropped.
pub(in crate::jpeg) struct Session<'a> {
    /// From a box, and freed with this. libjpeg has pointers into it, so it is used through pointers alone.
    state: NonNull<State<'a>>,
}

struct State<'a> {
    cinfo: jpeg_decompress_struct,
    errors: jpeg_error_mgr,
    shared: Shared,
    source: Source<'a>,
}

impl<'a> Session<'a> {
    /// Reads up to the first scan.
    pub(in crate::jpeg) fn open(bytes: &'a [u8]) -> Result<Self, Failure> {
        // SAFETY: both are numbers, pointers, and enums with a zero.
        let (cinfo, errors) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        let state = Box::new(State { cinfo, errors, shared: Shared::new(), source: Source::new(bytes) });
        let mut session = Self { state: NonNull::from(Box::leak(state)) };
        let state = session.state.as_ptr();
        // SAFETY: the state is there as long as the session, and libjpeg has no pointer to it yet.
        let source = unsafe {
            (*state).cinfo.common.err = &raw mut (*state).errors;
            (*state).cinfo.common.client_data = (&raw mut (*state).shared).cast();
            &raw mut (*state).source
        };
        session.run(Step::Create, source.cast())?;
        // SAFETY: the decompressor has been created, which is what makes the place where libjpeg keeps a selector.
        unsafe { jpeg_set_idct_method_selector(&raw mut (*state).cinfo, select_idct) };
        session.run(Step::Header, null_mut())?;
        Ok(session)
    }

    /// As [`Session::open`], with libjpeg's own decoding of coefficients.
    #[cfg(test)]
    pub(in crate::jpeg) fn open_plain(bytes: &'a [u8]) -> Result<Self, Failure> {
        let session = Self::open(bytes)?;
        // SAFETY: the state is there as long as the session, and libjpeg is not running.
        unsafe { (*session.state.as_ptr()).shared.by_tables = 0 };
        Ok(session)
    }

    /// Columns and rows.
    pub(in crate::jpeg) fn size(&self) -> (u32, u32) {
        // SAFETY: the state is there as long as the session.
        let cinfo = unsafe { &(*self.state.as_ptr()).cinfo };
        (cinfo.image_width, cinfo.image_height)
    }

    /// How many samples each component has of a pixel of the one with the least, across and down.
    pub(in crate::jpeg) fn sampling(&self) -> Vec<(c_int, c_int)> {
        // SAFETY: the state is there as long as the session, and libjpeg, which has read the header, is not running.
        let components = unsafe {
            let cinfo = &(*self.state.as_ptr()).cinfo;
            std::slice::from_raw_parts(cinfo.comp_info, cinfo.num_components as usize)
        };
        components.iter().map(|info| (info.h_samp_factor, info.v_samp_factor)).collect()
    }

    /// Settles what rows are made of; reads all scans if there are several.
    pub(in crate::jpeg) fn start(&mut self, colour: Colour) -> Result<(), Failure> {
        // SAFETY: the state is there as long as the session, and libjpeg is not running.
        let cinfo = unsafe { &mut (*self.state.as_ptr()).cinfo };
        cinfo.out_color_space = match colour {
            Colour::Grey => J_COLOR_SPACE::JCS_GRAYSCALE,
            Colour::Rgb | Colour::YCbCr => J_COLOR_SPACE::JCS_RGB,
            Colour::Cmyk => J_COLOR_SPACE::JCS_CMYK,
            Colour::Stored(_) => J_COLOR_SPACE::JCS_UNKNOWN,
        };
        match colour {
            Colour::YCbCr => cinfo.jpeg_color_space = J_COLOR_SPACE::JCS_YCbCr,
            Colour::Stored(_) => cinfo.jpeg_color_space = J_COLOR_SPACE::JCS_UNKNOWN,
            _ => {}
        }
        self.run(Step::Start, null_mut()).map(drop)
    }

    /// The components, if upsampling and colours of such a picture are known outside of libjpeg; to be asked before
    /// anything is started. It is one of grey, or of the usual three whose samples are for one pixel or for two.
    pub(in crate::jpeg) fn planes(&self, colour: Colour) -> Option<Planes> {
        // SAFETY: the state is there as long as the session, and libjpeg, which has read the header, is not running.
        let (cinfo, components) = unsafe {
            let cinfo = &(*self.state.as_ptr()).cinfo;
            (cinfo, std::slice::from_raw_parts(cinfo.comp_info, cinfo.num_components as usize))
        };
        let count = match (colour, cinfo.jpeg_color_space) {
            (Colour::Grey, J_COLOR_SPACE::JCS_GRAYSCALE) => 1,
            (Colour::Rgb, J_COLOR_SPACE::JCS_YCbCr) => 3,
            _ => return None,
        };
        let most = (cinfo.max_h_samp_factor as usize, cinfo.max_v_samp_factor as usize);
        let component = |info: &jpeg_component_info| {
            let (across, down) = (info.h_samp_factor as usize, info.v_samp_factor as usize);
            let step = |most: usize, own: usize| (most == own || most == 2 * own).then(|| most / own);
            let size = (
                (cinfo.image_width as usize * across).div_ceil(most.0),
                (cinfo.image_height as usize * down).div_ceil(most.1),
            );
            let step = (step(most.0, across)?, step(most.1, down)?);
            // libjpeg smooths no rows of one or two samples.
            (step.0 == 1 || size.0 > 2).then(|| Component {
                size,
                step,
                rows: down * BLOCK,
                stride: info.width_in_blocks as usize * BLOCK,
            })
        };
        let components: Vec<_> = components.iter().map_while(component).collect();
        (components.len() == count && cinfo.num_components as usize == count).then(|| Planes::new(components))
    }

    /// As [`Session::start`], for [`Session::read_planes`], with the columns of each component that anybody will read.
    pub(in crate::jpeg) fn start_planes(&mut self, columns: &[Range<usize>]) -> Result<(), Failure> {
        // SAFETY: the state is there as long as the session, and libjpeg is not running.
        unsafe {
            (*self.state.as_ptr()).cinfo.raw_data_out = 1;
            for (wanted, columns) in (*self.state.as_ptr()).shared.wanted.columns.iter_mut().zip(columns) {
                *wanted = columns.start as u32..columns.end as u32;
            }
        }
        self.run(Step::Start, null_mut()).map(drop)
    }

    /// Fills `planes` with row `group` of MCUs, which is the next; its samples are of use only where they are `wanted`.
    ///
    /// # Panics
    /// When `planes` is not of this session.
    pub(in crate::jpeg) fn read_planes(
        &mut self,
        planes: &mut Planes,
        group: usize,
        wanted: bool,
    ) -> Result<(), Failure> {
        // As many as libjpeg has of four rows of blocks, the most.
        let mut rows = [[null_mut::<u8>(); 4 * BLOCK]; 3];
        assert!(self.planes_fit(planes), "planes of another picture");
        planes.advance(group);
        for (component, rows) in rows.iter_mut().enumerate().take(planes.components().len()) {
            for (pointer, row) in rows.iter_mut().zip(planes.rows_mut(component)) {
                *pointer = row.as_mut_ptr();
            }
        }
        let mut image = rows.each_mut().map(|rows| rows.as_mut_ptr());
        // SAFETY: the state is there as long as the session, and libjpeg is not running.
        unsafe { (*self.state.as_ptr()).shared.wanted.rows = wanted };
        // libjpeg writes a row of MCUs, for which the planes have the room.
        let read = self.run(Step::Planes, image.as_mut_ptr().cast())?;
        if read > 0 { Ok(()) } else { Err(Failure::Truncated) }
    }

    /// Whether libjpeg's rows of MCUs have the room in `planes`.
    fn planes_fit(&self, planes: &Planes) -> bool {
        // SAFETY: as in `planes`.
        let components = unsafe {
            let cinfo = &(*self.state.as_ptr()).cinfo;
            std::slice::from_raw_parts(cinfo.comp_info, cinfo.num_components as usize)
        };
        components.len() == planes.components().len()
            && components.iter().zip(planes.components()).all(|(info, component)| {
                let stride = info.width_in_blocks as usize * BLOCK;
                (stride, info.v_samp_factor as usize * BLOCK) == (component.stride, component.rows)
            })
    }

    /// Fills `samples` with the next row.
    ///
    /// # Panics
    /// When `samples` is not as long as a row.
    pub(in crate::jpeg) fn read_row(&mut self, samples: &mut [u8]) -> Result<(), Failure> {
        // SAFETY: the state is there as long as the session, and libjpeg is not running.
        let cinfo = unsafe { &(*self.state.as_ptr()).cinfo };
        assert_eq!(samples.len(), cinfo.output_width as usize * cinfo.output_components as usize);
        // libjpeg writes one row, to `samples`, which has the room for it.
        let mut row = samples.as_mut_ptr();
        let read = self.run(Step::Scanlines, (&raw mut row).cast())?;
        if read == 1 { Ok(()) } else { Err(Failure::Truncated) }
    }

    /// Reads on to the end marker as Pillow does: to the end of the block of bytes that libjpeg has, and no further.
    pub(in crate::jpeg) fn finish(mut self) -> Result<(), Failure> {
        let state = self.state.as_ptr();
        // SAFETY: the state is there as long as the session, and libjpeg is not running.
        unsafe { (*state).source.end_here() };
        let result = self.run(Step::Finish, null_mut());
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

    /// Makes a call of libjpeg and gives back its count. After a failure libjpeg can only be dropped, for which it is
    /// always ready.
    fn run(&mut self, step: Step, argument: *mut c_void) -> Result<u32, Failure> {
        let mut result = 0;
        // SAFETY: the state is there as long as the session. A failure passes over frames of C alone.
        let ended = unsafe {
            pillow_exact_jpeg(&raw mut (*self.state.as_ptr()).cinfo, step as c_int, argument, &raw mut result)
        };
        match ended {
            DONE => Ok(result),
            TRUNCATED => Err(Failure::Truncated),
            _ => Err(Failure::Broken(self.message())),
        }
    }

    /// libjpeg's last message.
    fn message(&mut self) -> String {
        /// What `format_message` is in C; the declaration of `mozjpeg_sys` has a shorter buffer, which is not written to.
        type Format = unsafe extern "C-unwind" fn(*mut jpeg_common_struct, *mut c_char);
        let mut message: [c_char; MESSAGE] = [0; MESSAGE];
        // SAFETY: the functions of `errors` are libjpeg's. The two types of this one differ in the kinds of their pointers
        // alone, and the common fields are a decompressor's first. The message ends with a zero.
        unsafe {
            let state = self.state.as_ptr();
            if let Some(format) = (*state).errors.format_message {
                let format = std::mem::transmute::<*const (), Format>(format as *const ());
                format((&raw mut (*state).cinfo).cast(), message.as_mut_ptr());
            }
            CStr::from_ptr(message.as_ptr()).to_string_lossy().into_owned()
        }
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
    unsafe { *method = Some(idct::best()) };
}
