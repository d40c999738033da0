//! AV1 through rav1d, dav1d's port to Rust: the standard fixes the planes of a picture to the bit.
//!
//! It is called by dav1d's own functions, which are C's.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use rav1d::include::dav1d::data::Dav1dData;
use rav1d::include::dav1d::dav1d::{Dav1dContext, Dav1dLogger, Dav1dSettings};
use rav1d::include::dav1d::picture::Dav1dPicture;
use rav1d::src::lib::{
    dav1d_close, dav1d_data_create, dav1d_data_unref, dav1d_default_settings, dav1d_get_picture, dav1d_open,
    dav1d_picture_unref, dav1d_send_data,
};

use super::planes::{Layout, Picture, Plane};
use super::properties::Colours;

/// What a call ends with when it wants more data, or a picture to be taken first.
const AGAIN: i32 = -libc_again();

/// `EAGAIN` of the systems that Rust runs on: Linux and Windows have one number, the BSDs and macOS another.
const fn libc_again() -> i32 {
    if cfg!(any(target_vendor = "apple", target_os = "freebsd", target_os = "netbsd", target_os = "openbsd"))
    {
        35
    } else {
        11
    }
}

/// A decoder, closed when it is dropped.
struct Decoder(Option<Dav1dContext>);

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: it was opened, or is none.
        unsafe { dav1d_close(Some(NonNull::from(&mut self.0))) }
    }
}

/// A decoded picture, given back when it is dropped.
struct Frame(Dav1dPicture);

impl Drop for Frame {
    fn drop(&mut self) {
        // SAFETY: the picture came from the decoder.
        unsafe { dav1d_picture_unref(Some(NonNull::from(&mut self.0))) }
    }
}

/// The first picture in `data`, of no more pixels than `limit`, and the colours that its sequence header states. None where it is broken.
pub(super) fn decode(data: &[u8], limit: u32) -> Option<(Picture, Colours)> {
    let mut settings = MaybeUninit::<Dav1dSettings>::uninit();
    // SAFETY: the settings are written, and are as libavif's are for the layers that it shows (`dav1dCodecGetNextImage`).
    let mut settings = unsafe {
        dav1d_default_settings(NonNull::new(settings.as_mut_ptr())?);
        settings.assume_init()
    };
    // With one frame at a time rav1d 1.1 panics over every broken one (`on_error` of its `decode.rs`), behind functions that cannot
    // unwind. With two it hands on the failure, like dav1d.
    settings.n_threads = 2;
    settings.max_frame_delay = 2;
    settings.all_layers = 0;
    settings.frame_size_limit = limit;
    // SAFETY: there is no callback, so that nothing is printed.
    settings.logger = unsafe { Dav1dLogger::new(None, None) };
    let mut decoder = Decoder(None);
    // SAFETY: both are there for the call.
    let opened =
        unsafe { dav1d_open(Some(NonNull::from(&mut decoder.0)), Some(NonNull::from(&mut settings))) };
    if opened.0 != 0 {
        return None;
    }

    let mut packet = Dav1dData::default();
    // SAFETY: what is made has the room of `data`, which is copied into it.
    unsafe {
        let copy = dav1d_data_create(Some(NonNull::from(&mut packet)), data.len());
        NonNull::new(copy)?.as_ptr().copy_from_nonoverlapping(data.as_ptr(), data.len());
    }
    let frame = first(&decoder, &mut packet);
    // SAFETY: what the decoder has taken is no longer there, what it has not is given back.
    unsafe { dav1d_data_unref(Some(NonNull::from(&mut packet))) };
    let frame = frame?;
    // What follows is passed over, unless it is broken.
    loop {
        match next(&decoder) {
            Ok(_) => {}
            Err(AGAIN) => break,
            Err(_) => return None,
        }
    }
    picture(&frame.0)
}

fn first(decoder: &Decoder, packet: &mut Dav1dData) -> Option<Frame> {
    while packet.sz > 0 {
        // SAFETY: the decoder is open, and takes what it can of the data.
        let sent = unsafe { dav1d_send_data(decoder.0, Some(NonNull::from(&mut *packet))) };
        if sent.0 < 0 && sent.0 != AGAIN {
            return None;
        }
        match next(decoder) {
            Ok(frame) => return Some(frame),
            Err(AGAIN) => {}
            Err(_) => return None,
        }
    }
    // What is still at work comes out when it is asked for a second time.
    match next(decoder) {
        Ok(frame) => Some(frame),
        Err(AGAIN) => next(decoder).ok(),
        Err(_) => None,
    }
}

fn next(decoder: &Decoder) -> Result<Frame, i32> {
    let mut frame = Frame(Dav1dPicture::default());
    // SAFETY: the decoder is open, and writes a picture only where it has one.
    let got = unsafe { dav1d_get_picture(decoder.0, Some(NonNull::from(&mut frame.0))) };
    if got.0 == 0 { Ok(frame) } else { Err(got.0) }
}

/// Copies a picture's samples.
fn picture(frame: &Dav1dPicture) -> Option<(Picture, Colours)> {
    let header = frame.seq_hdr?;
    // SAFETY: it is there as long as the picture.
    let header = unsafe { header.as_ref() };
    let colours = Colours {
        primaries: header.pri as u16,
        matrix: header.mtrx as u16,
        is_full_range: header.color_range != 0,
    };
    let (width, height) = (usize::try_from(frame.p.w).ok()?, usize::try_from(frame.p.h).ok()?);
    let depth = u8::try_from(frame.p.bpc).ok()?;
    let layout = match frame.p.layout {
        0 => Layout::Grey,
        1 => Layout::Both,
        2 => Layout::Across,
        _ => Layout::Full,
    };
    let mut planes = Vec::new();
    for index in 0..layout.planes() {
        let (width, height) = layout.size(index, width, height);
        let (data, stride) = (frame.data[index]?, frame.stride[usize::from(index > 0)]);
        planes.push(Plane::new(width, height, |row, samples| {
            // SAFETY: the plane has so many rows, a stride apart, of so many samples each.
            unsafe { copy_row(data, stride * row as isize, depth, samples) }
        }));
    }
    Some((Picture { width, height, depth, layout, planes }, colours))
}

/// # Safety
/// At `offset` from `data` there are as many samples of this depth.
unsafe fn copy_row(data: NonNull<c_void>, offset: isize, depth: u8, samples: &mut [u16]) {
    // SAFETY: the caller's promise; samples of more than 8 bits are aligned.
    unsafe {
        let row = data.as_ptr().cast::<u8>().offset(offset);
        if depth == 8 {
            let row = std::slice::from_raw_parts(row, samples.len());
            samples.iter_mut().zip(row).for_each(|(sample, &byte)| *sample = byte.into());
        } else {
            samples.copy_from_slice(std::slice::from_raw_parts(row.cast::<u16>(), samples.len()));
        }
    }
}
