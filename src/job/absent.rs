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
    output::{OutputError, Part},
};

/// The inputs of a job, or of its part, that are plainly not there.
#[derive(Debug, Default)]
pub struct Absent {
    /// They, as the images that will fail.
    pub items: Vec<Item>,
    /// Whether there are no others.
    pub is_all: bool,
}

/// Looks for the inputs that are plainly not there. Where a job is split, each is told by the part that takes it.
///
/// # Errors
/// A list of images is none of them, as it cannot be opened.
pub fn absent(inputs: &[Box<dyn Input>], part: Option<Part>) -> Result<Absent, InputError> {
    let items = inputs.iter().map(|input| input.absent()).collect::<Result<Vec<_>, _>>()?;
    if items.iter().all(Option::is_none) {
        return Ok(Absent::default());
    }
    let mut absent = Absent { items: Vec::new(), is_all: true };
    // The place in the listing, as far as it is known. Directories are only counted where something is not there.
    let mut place = Some(0);
    for (input, item) in inputs.iter().zip(items) {
        let takes = |place: usize| part.is_none_or(|part| part.takes(place));
        match (item, place) {
            (Some(item), Some(place)) if takes(place) => absent.items.push(item),
            (Some(_), Some(_)) => {}
            (None, Some(first)) if input.places().is_some_and(|count| !(first..first + count).any(takes)) => {
            }
            (_, _) => absent.is_all = false,
        }
        place = place.and_then(|place| Some(place + input.places()?));
    }
    absent.is_all &= !absent.items.is_empty();
    Ok(absent)
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
        let failure = Some(FailureFacts::of(&Failure::read(&error)));
        let record = Record { failure, ..Record::bare(item, Status::Failed) };
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
