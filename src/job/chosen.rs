//! A job of which the inputs were looked at by their names: what can be told before a model is looked for, which may mean a download.

use std::{io::Write, ops::ControlFlow};

use super::{
    Job,
    error::JobError,
    failure::Failure,
    report::{Event, Record, Status},
    run::create,
};
use crate::{
    input::{Input, InputError, Item},
    output::{Destination, Format, Incoming, OutputError, OutputFile, Plan},
};

/// A job whose inputs are known by their kinds, and with them where its output goes.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, job, model) = given::job()?;
/// let chosen = job.choose()?;
/// assert!(!chosen.is_one()); // a directory may hold any number
/// chosen.probe()?; // better known before a model is downloaded
/// let looked = chosen.look(&model)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Chosen {
    pub(super) job: Job,
    pub(super) inputs: Vec<Input>,
    pub(super) plan: Plan,
}

/// The inputs of a job, or of its part, that are plainly not there.
#[derive(Debug, Default)]
pub struct Absent {
    /// They, as the images that will fail.
    pub items: Vec<Item>,
    /// Whether there are no others.
    pub is_all: bool,
}

impl Job {
    /// Looks at what the inputs are, and where the output goes. Nothing is opened, since a pipe waits for its writer.
    ///
    /// # Errors
    /// What is asked for cannot be written there, or says nothing of such inputs.
    pub fn choose(self) -> Result<Chosen, JobError> {
        let inputs = self.inputs.choose();
        let has_no_tars = || inputs.iter().all(|input| input.holds_shards() == Some(false));
        let of_tars = [
            ("image-key", "chooses among the images of a tar's samples", &self.selection.image_keys),
            ("keep", "carries members over from tar to tar", &self.selection.keep),
        ];
        if let Some((setting, purpose, _)) = of_tars.into_iter().find(|(.., given)| !given.is_empty())
            && has_no_tars()
        {
            return Err(JobError::NoTars { setting, purpose });
        }
        let incoming = Incoming {
            several: !is_one(&inputs),
            sharded: all_sharded(&inputs),
            keep: !self.selection.keep.is_empty(),
            part: self.part,
        };
        let plan = match self.options.request.draw {
            Some(_) => Destination { format: Some(Format::Png), ..self.output.clone() }.plan(incoming)?,
            None => self.output.plan(incoming)?,
        };
        Ok(Chosen { job: self, inputs, plan })
    }
}

impl Chosen {
    /// What is wanted.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// Where its output goes.
    #[doc(hidden)]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whether there is one image, whatever comes of it.
    pub fn is_one(&self) -> bool {
        is_one(&self.inputs)
    }

    /// Looks for the inputs that are plainly not there. Where a job is split, each is told by the part that takes it.
    ///
    /// # Errors
    /// A list of images is none of them, as it cannot be opened.
    #[doc(hidden)]
    pub fn absent(&self) -> Result<Absent, InputError> {
        let items = self.inputs.iter().map(Input::absent).collect::<Result<Vec<_>, _>>()?;
        if items.iter().all(Option::is_none) {
            return Ok(Absent::default());
        }
        let mut absent = Absent { items: Vec::new(), is_all: true };
        // The place in the listing, as far as it is known. Directories are only counted where something is not there.
        let mut place = Some(0);
        for (input, item) in self.inputs.iter().zip(items) {
            let takes = |place: usize| self.job.part.is_none_or(|part| part.takes(place));
            match (item, place) {
                (Some(item), Some(place)) if takes(place) => absent.items.push(item),
                (Some(_), Some(_)) => {}
                (None, Some(first))
                    if input.places().is_some_and(|count| !(first..first + count).any(takes)) => {}
                (_, _) => absent.is_all = false,
            }
            place = place.and_then(|place| Some(place + input.places()?));
        }
        absent.is_all &= !absent.items.is_empty();
        Ok(absent)
    }

    /// Tells of images that are not there, as a run of nothing else would: for that, no model is needed. A dry run `writes` no failures.
    ///
    /// # Errors
    /// The file for failures cannot be written.
    #[doc(hidden)]
    pub fn fail(
        &self,
        items: &[Item],
        writes: bool,
        on: &mut (dyn FnMut(Event<'_>) -> ControlFlow<()> + Send),
    ) -> Result<(), JobError> {
        let failures = self.job.failures.as_deref().filter(|_| writes);
        let mut file = failures.map(create).transpose()?;
        if on(Event::Started { total: Some(items.len() as u64) }).is_break() {
            return Ok(());
        }
        for item in items {
            let Some(error) = item.source.read().err() else { continue };
            let failure = Some(Failure::read(&error));
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

    /// Sees that something can be written where the job writes, whatever it will be, and leaves it as it is.
    ///
    /// # Errors
    /// A directory does not exist, or cannot be written.
    pub fn probe(&self) -> Result<(), OutputError> {
        self.plan.probe()?;
        self.job.failures.as_deref().map_or(Ok(()), OutputFile::probe)
    }
}

fn is_one(inputs: &[Input]) -> bool {
    matches!(inputs, [input] if input.is_one())
}

/// Whether all inputs are tar shards, as far as that is known.
fn all_sharded(inputs: &[Input]) -> Option<bool> {
    let each: Vec<Option<bool>> = inputs.iter().map(Input::is_sharded).collect();
    match each.contains(&Some(false)) {
        true => Some(false),
        false => each.into_iter().collect::<Option<Vec<bool>>>().map(|_| true),
    }
}
