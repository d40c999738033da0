//! The command's job, with a callback in place of its reports.

use std::{ffi::OsString, ops::ControlFlow, thread, time::Duration};

use clip_features::{
    cli::Parsed,
    job::{Ended, Event, Record, Stop},
};
use pyo3::{prelude::*, types::PyDict};

use crate::errors::{of_job, of_thread, refused};

/// Runs the job that the command's words ask for. `on` is given each record as JSON, and the number of images if it is known; an
/// exception of it, or Ctrl-C, ends the run after the images in flight. Gives the counts and how it ended.
#[pyfunction]
pub(crate) fn run_job<'py>(
    py: Python<'py>,
    words: Vec<OsString>,
    on: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let prepared = py.detach(|| {
        let parsed = Parsed::new(words).map_err(refused)?;
        let model = parsed.obtain().map_err(refused)?;
        let looked = parsed.chosen().look(&model).map_err(|error| of_job(&error))?;
        looked.prepare().map_err(|error| of_job(&error))
    })?;
    let stop = Stop::new();
    let handle = stop.clone();
    let work = move || {
        let (mut raised, mut of) = (None, None);
        let ran = prepared.run(&handle, &mut |event| {
            if let Event::Started { total } = event {
                of = total;
            }
            let (Event::Image { records, .. }, Some(on)) = (event, &on) else {
                return ControlFlow::Continue(());
            };
            let lines: Vec<String> = records.iter().map(Record::json).collect();
            let called = Python::try_attach(|py| {
                lines.into_iter().try_for_each(|line| on.call1(py, (line, of)).map(drop))
            });
            match called {
                Some(Ok(())) => ControlFlow::Continue(()),
                Some(Err(error)) => {
                    raised = Some(error);
                    ControlFlow::Break(())
                }
                None => ControlFlow::Break(()),
            }
        });
        (ran, raised)
    };
    let worker = thread::Builder::new().spawn(work).map_err(of_thread)?;
    let mut interrupted = None;
    while !worker.is_finished() {
        py.detach(|| thread::sleep(Duration::from_millis(20)));
        if let Err(error) = py.check_signals() {
            stop.stop();
            interrupted.get_or_insert(error);
        }
    }
    let (ran, raised) = py.detach(|| worker.join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    if let Some(error) = raised.or(interrupted) {
        return Err(error);
    }
    let (ended, tally) = ran.map_err(|error| of_job(&error))?;
    let dict = PyDict::new(py);
    dict.set_item("done", tally.done)?;
    dict.set_item("skipped", tally.skipped)?;
    dict.set_item("changed", tally.changed)?;
    dict.set_item("failed", tally.failed)?;
    dict.set_item("accepted", tally.accepted)?;
    dict.set_item("complete", ended == Ended::Complete)?;
    Ok(dict)
}
