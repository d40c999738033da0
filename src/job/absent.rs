//! Inputs that are not there, told of without a model.

use std::{io::Write, ops::ControlFlow, path::Path};

use super::{
    error::JobError,
    failure::Failure,
    report::{Event, FailureFacts, Record, Status},
    run::create,
};
use crate::{
    input::{Input, InputError, Item},
    output::OutputError,
};

/// The inputs that are plainly not there, as the images that will fail.
///
/// # Errors
/// A list of images is none of them, as it cannot be opened.
pub fn absent(inputs: &[Box<dyn Input>]) -> Result<Vec<Item>, InputError> {
    inputs.iter().filter_map(|input| input.absent().transpose()).collect()
}

/// Tells of images that cannot be read, as a run of nothing else would: for that, no model is needed.
///
/// # Errors
/// The file for failures cannot be written.
pub fn fail(
    items: &[Item],
    failures: Option<&Path>,
    on: &mut (dyn FnMut(Event<'_>) -> ControlFlow<()> + Send),
) -> Result<(), JobError> {
    let mut file = failures.map(create).transpose()?;
    if on(Event::Started { total: Some(items.len() as u64) }).is_break() {
        return Ok(());
    }
    for item in items {
        let Some(error) = item.source.read().err() else { continue };
        let failure = Failure::read(&error);
        let (path, facts) = (item.source.to_string(), FailureFacts::of(&failure));
        let record = Record { path: &path, status: Status::Failed, features: None, failure: Some(facts) };
        if let (Some(file), Some(path)) = (&mut file, failures) {
            writeln!(file, "{}", record.json())
                .map_err(|source| OutputError::Io { path: path.to_owned(), source })?;
        }
        if on(Event::Image { status: Status::Failed, warnings: &[], records: &[record] }).is_break() {
            break;
        }
    }
    Ok(())
}
