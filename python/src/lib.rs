//! The module `clip_features._clip_features`: the library for Python, and nothing that Python can do as well.
//!
//! Arguments come as the command's words, so that an option of the command is an argument here without a line of its own. All
//! computing is done without the interpreter's lock.

mod errors;
mod extractor;
mod features;
mod image;
mod job;
mod stream;
mod tensors;

use std::ffi::OsString;

use pyo3::prelude::*;

/// Runs the command with these arguments, the program's name first; gives its exit code.
#[pyfunction]
fn main(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| clip_features::cli::run(arguments).code())
}

#[pymodule]
fn _clip_features(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(main, module)?)?;
    module.add_function(wrap_pyfunction!(job::run_job, module)?)?;
    module.add_class::<extractor::Core>()?;
    module.add_class::<stream::Stream>()?;
    module.add_class::<features::Reader>()?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("ImageError", module.py().get_type::<errors::ImageError>())
}
