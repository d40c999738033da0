//! An extractor, shared by the threads of a process.

use std::{
    ffi::OsString,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    thread::Builder,
    time::Duration,
};

use clip_features::{
    Extractor,
    cli::Parsed,
    extractor::{ExtractError, Opened},
    output::{Array, Dtype},
};
use numpy::{PyReadwriteArrayDyn, PyUntypedArrayMethods};
use pyo3::{
    exceptions::{PyRuntimeError, PyValueError},
    prelude::*,
    types::PyDict,
};

use crate::{
    errors::{failed, of_model, of_thread, refused},
    image::{Image, fill, prepare},
    stream::Stream,
    tensors::{stack, to_python},
};

/// A model that is ready to run. Made of the command's words.
#[pyclass(frozen, module = "clip_features._clip_features")]
pub(crate) struct Core {
    extractor: Arc<Extractor>,
    dtype: Dtype,
    batch: usize,
    threads: usize,
    /// The process that it was made in: threads do not survive a fork.
    process: u32,
}

/// The tensors of all images that have them, and for each image why it has none.
type Extracted<'py> = (Option<Bound<'py, PyDict>>, Vec<Option<String>>);

/// The same, image by image.
type Encoded = (Vec<Vec<Array>>, Vec<Option<String>>);

#[pymethods]
impl Core {
    #[new]
    fn new(py: Python<'_>, words: Vec<OsString>) -> PyResult<Self> {
        py.detach(|| {
            let parsed = Parsed::new(words).map_err(refused)?;
            let model = parsed.obtain().map_err(refused)?;
            let job = parsed.job();
            let opened = Opened::open(&model, job.options.clone()).map_err(|error| of_model(&error))?;
            let extractor = Extractor::of(opened.into(), false).map_err(|error| of_model(&error))?;
            let (dtype, batch) = (job.output.dtype, extractor.opened().batch());
            let threads = job.options.threads.get();
            Ok(Self { extractor: extractor.into(), dtype, batch, threads, process: std::process::id() })
        })
    }

    /// What outputs say of the model and of what was asked of it.
    #[getter]
    fn metadata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (key, value) in self.extractor.opened().metadata().iter() {
            dict.set_item(key, value)?;
        }
        dict.set_item("dtype", self.dtype.name())?;
        Ok(dict)
    }

    /// The tensors' shapes by their names, `[1, …]`; None where a shape depends on the picture.
    #[getter]
    fn shapes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for tensor in self.extractor.opened().tensors() {
            dict.set_item(tensor.name, tensor.shape)?;
        }
        Ok(dict)
    }

    /// The tensors of all images that have them, as a dict of `[B, …]` (none if no image has), and for each image why it has none.
    fn extract<'py>(&self, py: Python<'py>, images: Vec<Bound<'py, PyAny>>) -> PyResult<Extracted<'py>> {
        self.check_process()?;
        let images = images.iter().map(Image::of).collect::<PyResult<Vec<_>>>()?;
        let (mut encoded, mut reasons) = (Vec::with_capacity(images.len()), Vec::with_capacity(images.len()));
        let mut images = images.into_iter();
        while images.len() > 0 {
            let chunk: Vec<Image> = images.by_ref().take(self.step()).collect();
            let (extractor, batch, dtype) = (self.extractor.clone(), self.batch, self.dtype);
            let (arrays, found) =
                while_interruptible(py, move || encode(&extractor, &chunk, batch, dtype))?.map_err(failed)?;
            encoded.extend(arrays);
            reasons.extend(found);
            py.check_signals()?;
        }
        if encoded.is_empty() {
            return Ok((None, reasons));
        }
        let stacked = py.detach(|| stack(encoded)).map_err(PyValueError::new_err)?;
        Ok((Some(to_python(py, stacked, self.dtype)?), reasons))
    }

    /// The inputs of the tower, each written to its place in `out`, `[B, …]`, and for each image why it has none.
    fn preprocess(
        &self,
        py: Python<'_>,
        images: Vec<Bound<'_, PyAny>>,
        mut out: PyReadwriteArrayDyn<'_, f32>,
    ) -> PyResult<Vec<Option<String>>> {
        self.check_process()?;
        let images = images.iter().map(Image::of).collect::<PyResult<Vec<_>>>()?;
        let shape = out.shape().to_vec();
        let wrong = |what: &str| PyValueError::new_err(format!("out is {what}"));
        let is_row_major = out.is_c_contiguous();
        let place = out.as_slice_mut().ok().filter(|_| is_row_major);
        let place = place.ok_or_else(|| wrong("not contiguous, row by row"))?;
        if shape.first() != Some(&images.len()) || place.is_empty() && !images.is_empty() {
            return Err(wrong(&format!("{shape:?}, and there are {} images", images.len())));
        }
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let (is_stopped, extractor, row) = (&AtomicBool::new(false), &self.extractor, &shape[1..]);
        let images = &images;
        let found = std::thread::scope(|scope| {
            let (out, done) = sync_channel(1);
            let filling = move || drop(out.send(fill(extractor, images, row, place, is_stopped)));
            let thread = Builder::new().spawn_scoped(scope, filling).map_err(of_thread)?;
            let found = wait(py, done).inspect_err(|_| is_stopped.store(true, Ordering::Relaxed));
            // An interrupted one ends with the pictures in hand, which may be a pipe that waits for another thread of Python's.
            let _ = py.detach(|| thread.join()); // that it panicked is said already
            found
        })?;
        let wrong_shape = |found| wrong(&format!("{shape:?}, and an image is {found:?} before the tower"));
        found.map_err(failed)?.into_iter().map(|found| found.map_err(wrong_shape)).collect()
    }

    /// An iterator over `(dict of [1, …], reason)`, one of which is None, for each image of an iterator, in order.
    fn stream(&self, images: Bound<'_, PyAny>) -> PyResult<Stream> {
        self.check_process()?;
        Stream::new(
            self.extractor.clone(),
            [self.batch.max(self.threads), self.batch],
            self.dtype,
            images.unbind(),
        )
    }
}

impl Core {
    /// How many images are read, decoded and preprocessed side by side, so that no thread waits long for another one.
    fn step(&self) -> usize {
        self.batch.max(4 * self.threads)
    }

    fn check_process(&self) -> PyResult<()> {
        if self.process == std::process::id() {
            return Ok(());
        }
        Err(PyRuntimeError::new_err(
            "this extractor was made before a fork, which its threads did not survive: make it in the process that uses it, \
             or start processes with \"spawn\"",
        ))
    }
}

fn encode(
    extractor: &Extractor,
    images: &[Image],
    batch: usize,
    dtype: Dtype,
) -> Result<Encoded, ExtractError> {
    let (inputs, reasons) = prepare(extractor.opened(), images)?;
    let mut inputs = inputs.into_iter();
    let mut arrays = Vec::with_capacity(inputs.len());
    while inputs.len() > 0 {
        arrays.extend(extractor.encode_as(inputs.by_ref().take(batch).collect(), dtype)?);
    }
    Ok((arrays, reasons))
}

/// Runs something on a thread of its own, without the interpreter's lock. Ctrl-C is answered at once; what runs then comes to its
/// end unheard.
fn while_interruptible<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce() -> T + Send + 'static,
) -> PyResult<T> {
    let (out, done) = sync_channel(1);
    Builder::new().spawn(move || out.send(work())).map_err(of_thread)?;
    wait(py, done)
}

/// Waits for another thread's result without the interpreter's lock; an error where it panicked, or a signal says so.
fn wait<T: Send>(py: Python<'_>, done: Receiver<T>) -> PyResult<T> {
    const PATIENCE: Duration = Duration::from_millis(50);
    let done = Mutex::new(done);
    loop {
        let found = py.detach(|| done.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(PATIENCE));
        match found {
            Ok(found) => return Ok(found),
            Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(PyRuntimeError::new_err(
                    "the computation panicked; its message is on standard error",
                ));
            }
        }
    }
}
