//! An image as Python gives it: a path, its bytes, or its pixels.

use std::{
    borrow::Cow,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use clip_features::{
    Extractor,
    extractor::{ExtractError, Opened},
    input::{InputError, Source},
    processor::PixelValues,
};
use image::RgbImage;
use numpy::{PyReadonlyArray3, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::{exceptions::PyTypeError, prelude::*, pybacked::PyBackedBytes, types::PyBytes};
use rayon::prelude::*;

use crate::errors::{ImageError, is_of_image, reason};

/// An image, owned, so that it can be read without the interpreter's lock.
pub(crate) enum Image {
    Path(PathBuf),
    Bytes(PyBackedBytes),
    Pixels(RgbImage),
    /// What Python could not make pixels of, and why.
    Broken(String),
}

/// The tower's input, or why there is none.
type Prepared = Result<PixelValues, String>;

impl Image {
    pub(crate) fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = object.cast::<PyBytes>() {
            return Ok(Self::Bytes(bytes.clone().into()));
        }
        if object.is_instance_of::<ImageError>() {
            return Ok(Self::Broken(object.str()?.to_string()));
        }
        if let Ok(array) = object.cast::<PyUntypedArray>() {
            let shape = array.shape();
            let wrong = || {
                PyTypeError::new_err(format!(
                    "an array of {} {shape:?} is no picture, expected uint8 [height, width, 3]",
                    array.dtype()
                ))
            };
            let pixels = object.extract::<PyReadonlyArray3<'_, u8>>().map_err(|_| wrong())?;
            let (height, width) = (shape[0] as u32, shape[1] as u32);
            let values: Vec<u8> = pixels.as_array().iter().copied().collect();
            let picture = (shape[2] == 3).then(|| RgbImage::from_raw(width, height, values)).flatten();
            return picture.map(Self::Pixels).ok_or_else(wrong);
        }
        object.extract::<PathBuf>().map(Self::Path).map_err(|_| {
            let found = object.get_type().name().map_or_else(|_| "this".into(), |name| name.to_string());
            PyTypeError::new_err(format!(
                "{found} is no image, expected a path, bytes, a PIL image, or a uint8 array [height, width, 3]"
            ))
        })
    }

    /// Makes the tower's input of it.
    fn prepare(&self, opened: &Opened) -> Result<Prepared, ExtractError> {
        let (name, prepared) = match self {
            Self::Path(path) => {
                let source = Source::File(path.clone());
                let bytes: Result<Cow<'_, [u8]>, InputError> = source.read().map(|(bytes, _)| bytes);
                let bytes = match bytes {
                    Ok(bytes) => bytes,
                    Err(error) => return Ok(Err(reason(Some(path), &error))),
                };
                (Some(path.as_path()), opened.preprocess(&bytes).map(|ready| ready.pixel_values))
            }
            Self::Bytes(bytes) if bytes.is_empty() => return Ok(Err("is empty".into())),
            Self::Bytes(bytes) => (None, opened.preprocess(bytes).map(|ready| ready.pixel_values)),
            Self::Pixels(picture) => (None, opened.preprocess_rgb(picture)),
            Self::Broken(reason) => return Ok(Err(reason.clone())),
        };
        match prepared {
            Ok(values) => Ok(Ok(values)),
            Err(error) if is_of_image(&error) => Ok(Err(reason(name, &error))),
            Err(error) => Err(error),
        }
    }
}

/// Why an image has no input, if it has none; the error is the shape of one that has another.
type Filled = Result<Option<String>, Vec<usize>>;

/// Reads, decodes and preprocesses images on the threads of the options, each of `shape` into its part of `place`; none more once it is
/// stopped.
pub(crate) fn fill(
    extractor: &Extractor,
    images: &[Image],
    shape: &[usize],
    place: &mut [f32],
    is_stopped: &AtomicBool,
) -> Result<Vec<Filled>, ExtractError> {
    let opened = extractor.opened();
    let row = place.len() / images.len();
    let one = |(image, place): (&Image, &mut [f32])| {
        if is_stopped.load(Ordering::Relaxed) {
            return Ok(Ok(None));
        }
        let values = match image.prepare(opened)? {
            Ok(values) => values,
            Err(reason) => return Ok(Ok(Some(reason))),
        };
        let array = extractor.encode(vec![values])?.remove(0).remove(0);
        if array.shape[0] != 1 || array.shape[1..] != *shape {
            return Ok(Err(array.shape));
        }
        place.copy_from_slice(&array.values);
        Ok(Ok(None))
    };
    // One at a time, so that no thread is left with several at the end.
    let all = || images.par_iter().zip(place.par_chunks_mut(row)).with_max_len(1).map(one).collect();
    opened.install(all)
}

/// The inputs of those images that have one, and for each image why it has none.
pub(crate) type Inputs = (Vec<PixelValues>, Vec<Option<String>>);

/// Reads, decodes and preprocesses images on the threads of the options.
pub(crate) fn prepare(opened: &Opened, images: &[Image]) -> Result<Inputs, ExtractError> {
    let prepared: Vec<Result<Prepared, ExtractError>> =
        opened.install(|| images.par_iter().map(|image| image.prepare(opened)).collect());
    let (mut inputs, mut reasons) = (Vec::new(), Vec::new());
    for prepared in prepared {
        match prepared? {
            Ok(values) => {
                inputs.push(values);
                reasons.push(None);
            }
            Err(reason) => reasons.push(Some(reason)),
        }
    }
    Ok((inputs, reasons))
}
