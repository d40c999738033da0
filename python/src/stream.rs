//! Images one after the other: read ahead, encoded in batches, given back in order.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::Builder,
    time::Duration,
};

use clip_features::{
    Extractor,
    output::{Array, Dtype},
    processor::PixelValues,
};
use pyo3::{prelude::*, types::PyDict};

use crate::{
    errors::{failed, of_model, of_thread},
    image::{Image, prepare},
    tensors::to_python,
};

/// What came of an image: its tensors, or why it has none. The outer error ends the iteration.
type Outcome = PyResult<Result<Vec<Array>, String>>;

/// The same for Python: one of the two is there.
type Given<'py> = (Option<Bound<'py, PyDict>>, Option<String>);

/// A batch before the tower: for each image its input, or why it has none.
type Batch = PyResult<Vec<Result<PixelValues, String>>>;

/// The iterator. Dropped, it ends its threads at their next step.
#[pyclass(frozen, module = "clip_features._clip_features")]
pub(crate) struct Stream {
    outcomes: Mutex<Receiver<Outcome>>,
    dtype: Dtype,
}

impl Stream {
    pub(crate) fn new(
        extractor: Arc<Extractor>,
        [step, batch]: [usize; 2],
        dtype: Dtype,
        images: Py<PyAny>,
    ) -> PyResult<Self> {
        let (batches_in, batches) = sync_channel(1);
        let (outcomes_in, outcomes) = sync_channel(2 * batch);
        let reader = extractor.clone();
        let reading = move || {
            read(&images, &reader, step, &batches_in);
            // Without the interpreter's lock it would be let go of only when something else takes the lock.
            Python::try_attach(|_| drop(images))
        };
        Builder::new().spawn(reading).map_err(of_thread)?;
        Builder::new()
            .spawn(move || encode(&extractor, batch, dtype, &batches, &outcomes_in))
            .map_err(of_thread)?;
        Ok(Self { outcomes: Mutex::new(outcomes), dtype })
    }
}

/// The first stage: takes images from Python, and reads, decodes and preprocesses them.
fn read(images: &Py<PyAny>, extractor: &Arc<Extractor>, step: usize, out: &SyncSender<Batch>) {
    loop {
        let taken = Python::try_attach(|py| -> PyResult<Vec<Image>> {
            let mut taken = Vec::with_capacity(step);
            for image in images.bind(py).try_iter()?.take(step) {
                taken.push(Image::of(&image?)?);
            }
            Ok(taken)
        });
        let prepared = match taken {
            None => return, // the interpreter is at its end
            Some(Err(error)) => Err(error),
            Some(Ok(taken)) if taken.is_empty() => return,
            Some(Ok(taken)) => {
                prepare(extractor.opened(), &taken).map_err(failed).map(|(inputs, reasons)| {
                    let mut inputs = inputs.into_iter();
                    let one = |reason: Option<String>| match reason {
                        Some(reason) => Err(reason),
                        None => Ok(inputs.next().expect("an input for each image without a reason")),
                    };
                    reasons.into_iter().map(one).collect()
                })
            }
        };
        let is_last = prepared.is_err();
        if out.send(prepared).is_err() || is_last {
            return;
        }
    }
}

/// Images in batches of so many.
fn in_batches(images: Batch, batch: usize) -> Vec<Batch> {
    match images {
        Err(error) => vec![Err(error)],
        Ok(images) => {
            let mut images = images.into_iter();
            let mut batches = Vec::new();
            while images.len() > 0 {
                batches.push(Ok(images.by_ref().take(batch).collect()));
            }
            batches
        }
    }
}

/// The second stage: the tower.
fn encode(
    extractor: &Extractor,
    batch: usize,
    dtype: Dtype,
    batches: &Receiver<Batch>,
    out: &SyncSender<Outcome>,
) {
    for images in batches.iter().flat_map(|images| in_batches(images, batch)) {
        let encoded = images.and_then(|images| {
            let mut inputs = Vec::new();
            let mut reasons = Vec::new();
            for image in images {
                match image {
                    Ok(values) => {
                        inputs.push(values);
                        reasons.push(None);
                    }
                    Err(reason) => reasons.push(Some(reason)),
                }
            }
            let mut arrays =
                extractor.encode_as(inputs, dtype).map_err(|error| of_model(&error))?.into_iter();
            let one = |reason: Option<String>| match reason {
                Some(reason) => Err(reason),
                None => Ok(arrays.next().expect("tensors for each input")),
            };
            Ok(reasons.into_iter().map(one).collect::<Vec<_>>())
        });
        let sent = match encoded {
            Ok(images) => images.into_iter().try_for_each(|image| out.send(Ok(image))),
            Err(error) => out.send(Err(error)).and(Err(std::sync::mpsc::SendError(Ok(Ok(Vec::new()))))),
        };
        if sent.is_err() {
            return;
        }
    }
}

#[pymethods]
impl Stream {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    /// The next image's tensors, or why it has none.
    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Given<'py>>> {
        const PATIENCE: Duration = Duration::from_millis(50);
        loop {
            let next = py.detach(|| {
                self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(PATIENCE)
            });
            return match next {
                Err(RecvTimeoutError::Disconnected) => Ok(None),
                Err(RecvTimeoutError::Timeout) => {
                    py.check_signals()?;
                    continue;
                }
                Ok(Err(error)) => Err(error),
                Ok(Ok(Err(reason))) => Ok(Some((None, Some(reason)))),
                Ok(Ok(Ok(arrays))) => Ok(Some((Some(to_python(py, arrays, self.dtype)?), None))),
            };
        }
    }
}
