//! The library's errors as Python's exceptions, with the messages that the command prints.

use std::{io, path::Path};

use clip_features::{
    cli::{Cause, Refusal, told},
    extractor::ExtractError,
    features::FeaturesError,
    job::JobError,
    model::ModelError,
};
use pyo3::{
    create_exception,
    exceptions::{PyFileNotFoundError, PyKeyError, PyOSError, PyValueError},
    prelude::*,
};

create_exception!(clip_features, ImageError, PyValueError, "An image cannot be read, decoded or resized.");

pub(crate) fn refused(refusal: Refusal) -> PyErr {
    match refusal.cause {
        Cause::Missing => PyFileNotFoundError::new_err(refusal.message),
        Cause::System => PyOSError::new_err(refusal.message),
        Cause::Arguments => PyValueError::new_err(refusal.message),
    }
}

pub(crate) fn of_model(error: &ModelError) -> PyErr {
    match error {
        ModelError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            PyFileNotFoundError::new_err(told(error))
        }
        ModelError::NotACheckpoint { path, .. } if !path.exists() => {
            PyFileNotFoundError::new_err(told(error))
        }
        ModelError::Io { .. } => PyOSError::new_err(told(error)),
        _ => PyValueError::new_err(told(error)),
    }
}

pub(crate) fn of_thread(error: io::Error) -> PyErr {
    of_job(&JobError::Thread(error))
}

pub(crate) fn of_job(error: &JobError) -> PyErr {
    match error {
        JobError::Model(error) => of_model(error),
        JobError::Output(_) | JobError::NoSpace { .. } | JobError::Thread(_) => {
            PyOSError::new_err(told(error))
        }
        _ => PyValueError::new_err(told(error)),
    }
}

pub(crate) fn of_features(error: &FeaturesError) -> PyErr {
    match error {
        FeaturesError::Missing { .. } => PyFileNotFoundError::new_err(error.to_string()),
        FeaturesError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            PyFileNotFoundError::new_err(error.to_string())
        }
        FeaturesError::Unfinished { .. } => {
            let hint = "hint: the command that wrote it, run again, completes it; unfinished=True reads what is there";
            PyOSError::new_err(format!("{error}\n{hint}"))
        }
        FeaturesError::Io { .. } | FeaturesError::Damaged { .. } | FeaturesError::Changed { .. } => {
            PyOSError::new_err(told(error))
        }
        FeaturesError::NoKey { key, .. } => PyKeyError::new_err(key.clone()),
        FeaturesError::NoTensor { .. } => PyKeyError::new_err(error.to_string()),
        _ => PyValueError::new_err(error.to_string()),
    }
}

/// Why an image has no features, in words.
pub(crate) fn reason(name: Option<&Path>, error: &dyn std::fmt::Display) -> String {
    name.map_or_else(|| error.to_string(), |name| format!("{}: {error}", name.display()))
}

/// Whether the image is to blame, rather than the model.
pub(crate) fn is_of_image(error: &ExtractError) -> bool {
    !matches!(error, ExtractError::Model(error) if !matches!(error, ModelError::PixelShape { .. } | ModelError::Memory { .. }))
}

/// Why a call cannot go on.
pub(crate) fn failed(error: ExtractError) -> PyErr {
    match &error {
        ExtractError::Model(error) => of_model(error),
        error => PyValueError::new_err(error.to_string()),
    }
}
