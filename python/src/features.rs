//! What was written, read back: the library's reader, with arrays in place of tensors.

use std::{ops::ControlFlow, path::PathBuf};

use clip_features::{
    features::{Features, FeaturesError, Opening, Tensor, Verified},
    output::Dtype,
};
use half::f16;
use numpy::{
    Element, PyArrayDyn,
    ndarray::{ArrayViewD, IxDyn},
};
use pyo3::{prelude::*, types::PyDict};

use crate::errors::of_features;

/// An open collection. Everything else about it is Python's.
#[pyclass(frozen, module = "clip_features._clip_features")]
pub(crate) struct Reader(Features);

/// Keeps a tensor's memory while arrays look at it.
#[pyclass(frozen)]
struct Held(#[expect(dead_code, reason = "it is held")] Tensor);

/// Path, offset, count and shape of images that lie in a row.
type Run = (PathBuf, u64, usize, Vec<usize>);

/// The difference as Python has it: key, file and reason.
type Differing = (Option<String>, PathBuf, String);

#[pymethods]
impl Reader {
    #[new]
    fn new(py: Python<'_>, paths: Vec<PathBuf>, unfinished: bool) -> PyResult<Self> {
        py.detach(|| Opening { unfinished }.open(&paths)).map(Self).map_err(|error| of_features(&error))
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    /// The names of an image's tensors.
    #[getter]
    fn tensors(&self) -> Vec<String> {
        self.0.tensors().to_vec()
    }

    /// `f32`, `f16` or `bf16`.
    #[getter]
    fn dtype(&self) -> &'static str {
        self.0.dtype().name()
    }

    #[getter]
    fn metadata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        self.0.metadata().iter().try_for_each(|(key, value)| dict.set_item(key, value))?;
        Ok(dict)
    }

    #[getter]
    fn paths(&self) -> Vec<PathBuf> {
        self.0.paths().map(Into::into).collect()
    }

    /// The key of an image by its place.
    fn key(&self, place: usize) -> Option<&str> {
        self.0.key(place)
    }

    /// The place of an image by its key.
    fn place(&self, key: &str) -> Option<usize> {
        self.0.place(key)
    }

    /// A tensor of an image by the places of both, as an array whose memory is its own; of bfloat16 as uint16.
    fn read<'py>(&self, py: Python<'py>, place: usize, tensor: usize) -> PyResult<Bound<'py, PyAny>> {
        let tensor = self.0.read(place, tensor).map_err(|error| of_features(&error))?;
        match tensor.dtype() {
            Dtype::F32 => array::<f32>(py, tensor),
            Dtype::F16 => array::<f16>(py, tensor),
            Dtype::Bf16 => array::<u16>(py, tensor),
        }
    }

    /// What is known of an image: its key, its input, the files that hold it, the shapes of its tensors, and facts as JSON.
    #[expect(clippy::type_complexity, reason = "a record, which Python makes a dict of")]
    fn record(
        &self,
        place: usize,
    ) -> PyResult<(String, String, Vec<PathBuf>, Vec<Vec<usize>>, Option<String>)> {
        let record = self.0.record(place).map_err(|error| of_features(&error))?;
        let facts = record.facts.map(|facts| facts.get().to_owned());
        Ok((record.key, record.input.path, record.outputs, record.shapes, facts))
    }

    /// All images, as runs of a tensor that lie in a row.
    fn runs(&self, py: Python<'_>, tensor: usize) -> PyResult<Vec<Run>> {
        let runs = py.detach(|| self.0.runs(tensor)).map_err(|error| of_features(&error))?;
        Ok(runs.into_iter().map(|run| (run.path, run.offset, run.count, run.shape)).collect())
    }

    /// Reads everything; `on` is called with a number of images and the differences among them. What it raises ends it, as Ctrl-C does.
    fn verify(&self, py: Python<'_>, on: &Bound<'_, PyAny>) -> PyResult<()> {
        /// So often is Python heard.
        const STEP: usize = 256;
        let (mut images, mut differing, mut raised) = (0, Vec::<Differing>::new(), Ok(()));
        let on = on.clone().unbind();
        let tell = |images: &mut usize, differing: &mut Vec<Differing>| {
            Python::attach(|py| {
                py.check_signals()?;
                on.call1(py, (std::mem::take(images), std::mem::take(differing))).map(drop)
            })
        };
        let verified = py.detach(|| {
            let verified = self.0.verify(|verified| {
                let difference = match verified {
                    Verified::Image(difference) => {
                        images += 1;
                        difference
                    }
                    Verified::File(difference) => Some(difference),
                };
                differing.extend(
                    difference.map(|found| (found.key.clone(), found.path.clone(), found.reason.clone())),
                );
                if images >= STEP {
                    raised = tell(&mut images, &mut differing);
                }
                if raised.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            if raised.is_ok() {
                raised = tell(&mut images, &mut differing);
            }
            verified
        });
        raised?;
        verified.map(drop).map_err(|error: FeaturesError| of_features(&error))
    }
}

/// A tensor's memory as an array that can be written to: it is a copy, or a map of which no page that is written to is shared.
fn array<T: Element>(py: Python<'_>, mut tensor: Tensor) -> PyResult<Bound<'_, PyAny>> {
    let shape = IxDyn(tensor.shape());
    let elements = tensor.bytes_mut().as_mut_ptr().cast::<T>();
    let held = Bound::new(py, Held(tensor))?;
    // SAFETY: the elements are little-endian, as every platform is that NumPy is built for here, aligned (files begin their tensors at
    // multiples of an element, and memory is taken in words), as many as the shape says, and stay where they are while `held` does.
    #[expect(unsafe_code, reason = "to let an array look at memory that is not NumPy's")]
    let array = unsafe {
        let view = ArrayViewD::from_shape_ptr(shape, elements.cast_const());
        PyArrayDyn::borrow_from_array(&view, held.into_any())
    };
    Ok(array.into_any())
}
