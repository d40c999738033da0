//! A prepared job, carried out.

use std::{
    fs::File,
    io,
    ops::ControlFlow,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use sha2::{Digest, Sha256};

use super::{
    error::JobError,
    failure::{Failure, Stage},
    listing::Listing,
    outcome::{Ready, Unmade},
    overlap::check_failures,
    pipeline::{self, Encoded, Layout},
    prepared::{Prepared, planned},
    recorder::{Cut, Recorder, SoFar},
    report::{Ended, Event, Status, Tally},
    stop::Stop,
    task::Task,
};
use crate::{
    extractor::{Extractor, Opened},
    input::{Item, Source, Stat, expand},
    output::{Dtype, InputFacts, Nothing, OutputError, Sha256Bytes, Sink, Standing},
    processor::PixelValues,
    shard::End,
};

impl Prepared {
    /// Does the work, and tells `on` of each image in the order of the inputs, on a thread of its own. Where `on` breaks,
    /// the run ends.
    ///
    /// # Errors
    /// The model or the output is to blame. What was written until then is whole, and can be resumed where the output
    /// can. An image that fails is no error: `on` is told.
    pub fn run(
        self,
        stop: &Stop,
        on: &mut (dyn FnMut(Event<'_>) -> ControlFlow<()> + Send),
    ) -> Result<(Ended, Tally), JobError> {
        self.check_space()?;
        // Before the output is touched, so that weights that do not load leave it as it is; unless nothing is to be done.
        // Where there is nothing to resume, it is not touched before the first tensors are there, so weights that only one
        // image needs may be read as late as they are needed.
        let started = Instant::now();
        let task = self.task.clone();
        let Task { job, plan, opened, contents } = &*task;
        let once = !plan.resumes() && self.remaining() == Some(1);
        let loaded = match self.remaining() {
            Some(0) => None,
            _ => Some(Extractor::of(opened.clone(), once)?),
        };
        let has_tower = opened.config().is_some();
        let load = (has_tower && loaded.is_some()).then(|| started.elapsed());

        let sink: Box<dyn Sink> = match self.is_complete() {
            true => Box::new(Nothing),
            false => plan.open(contents, self.found.clone(), planned(plan, &self.listing))?,
        };
        let failures = job.failures.as_deref().map(create).transpose()?;
        let total = self.count();
        let prepare = self.preparation();
        let passes = self.tars_that_are_done();
        let Self { listing, again, .. } = self;
        let (items, complete): (Box<dyn Iterator<Item = Item> + Send>, _) = match listing {
            Listing::Known { left, complete, .. } => (Box::new(left.into_iter()), complete),
            Listing::Listed(images) => (images.into_iter(), Vec::new()),
        };
        let complete = complete.into_iter().peekable();
        let so_far = SoFar::default();
        let mut recorder = Recorder { task: &task, sink, failures, load, on, complete, so_far };
        let layout = Layout {
            // Decoding is most of the work beside a small tower. Beside a large one these wait, since no more than some images are
            // ready at a time.
            workers: job.options.threads.get(),
            batch: opened.batch(),
            waiting: waiting(contents.image_bytes(), opened.batch()),
        };
        let ran = recorder.tell(Event::Started { total }).and_then(|()| {
            let items: Box<dyn Iterator<Item = Item> + Send> = match plan.repeats_tars() {
                true => Box::new(expand(items, job.selection.clone(), passes)),
                false => items,
            };
            let (prepare, mut encode): (Arc<pipeline::Prepare>, _) =
                (Arc::new(prepare), encoder(opened, loaded, contents.dtype));
            pipeline::run(items, layout, stop.channel(), &prepare, &mut encode, &mut recorder)
        });
        let is_whole = ran.is_ok() && !stop.is_asked();
        // What came to its end lasts, however the run does.
        let told = if is_whole { recorder.tell_complete(true) } else { Ok(()) };
        let committed =
            told.and_then(|()| recorder.commit()).and_then(|()| match again.load(Ordering::Relaxed) {
                0 => Ok(()),
                count => recorder.tell(Event::Again(count)),
            });
        match ran.and(committed) {
            Ok(()) => {
                let tally = recorder.finish(is_whole)?;
                Ok((if is_whole { Ended::Complete } else { Ended::Stopped }, tally))
            }
            Err(Cut::Unheard) => Ok((Ended::Unheard, recorder.finish(false)?)),
            Err(Cut::TooManyFailures) => Ok((Ended::TooManyFailures, recorder.finish(false)?)),
            Err(Cut::Error(error)) => Err(error),
        }
    }

    /// The first stage, on worker threads.
    fn preparation(&self) -> impl Fn(&Item) -> Ready + Send + Sync + 'static {
        let (task, found, overlap) = (self.task.clone(), self.found.clone(), self.overlap.clone());
        move |item: &Item| {
            let Task { plan, opened, contents, .. } = &*task;
            let mut input = InputFacts { path: item.source.to_string(), ..InputFacts::default() };
            let stage = (|| {
                let is_whole_end =
                    matches!(item.source, Source::ShardEnd { end: End { damage: None, .. }, .. });
                if is_whole_end || item.is_shard() && plan.repeats_tars() {
                    return Err(Unmade::Left(Status::Skipped));
                }
                let standing = found.as_ref().map(|found| task.standing(item, found));
                match standing {
                    Some(Standing::Complete) => return Err(Unmade::Left(Status::Skipped)),
                    Some(Standing::Accepted) => return Err(Unmade::Left(Status::Accepted)),
                    Some(Standing::Foreign(path)) => {
                        return Err(Failure::new(Stage::Write, OutputError::Foreign { path }).into());
                    }
                    _ => {}
                }
                overlap.check(item).map_err(Unmade::Ends)?;
                // Also of what is not read to its end: before that, so that a later change is seen.
                let before = item.source.stat();
                (input.bytes, input.modified_ns) = (before.bytes, before.modified_ns);
                let (bytes, Stat { bytes: size, modified_ns }) =
                    item.source.read().map_err(|error| Failure::read(&error))?;
                (input.bytes, input.modified_ns) = (size, modified_ns);
                if let Some(found) = &found {
                    let sha256 = Sha256Bytes(Sha256::digest(&bytes).into());
                    input.sha256 = Some(sha256);
                    if standing == Some(Standing::Unsure) {
                        match found.is_of(&item.key(), sha256) {
                            true => return Err(Unmade::Left(Status::Skipped)),
                            false if !contents.update => return Err(Unmade::Left(Status::Changed)),
                            false => {}
                        }
                    }
                    if contents.accept_failures && found.has_failed(&item.key(), sha256) {
                        return Err(Unmade::Left(Status::Accepted));
                    }
                }
                let ready = opened.preprocess(&bytes).map_err(|error| Failure::preprocess(&error))?;
                Ok(Box::new(ready))
            })();
            Ready { input, stage }
        }
    }

    /// What tells the tars that need not be read, where they are repeated and listed.
    fn tars_that_are_done(&self) -> impl Fn(&Item) -> bool + Send + 'static {
        let (task, found) = (self.task.clone(), self.found.clone());
        move |item| found.as_ref().is_some_and(|found| task.standing(item, found) == Standing::Complete)
    }
}

/// How many images may wait to be written: so many that the tower need not wait for the disk, within bounds of memory.
fn waiting(image_bytes: Option<u64>, batch: usize) -> usize {
    const MEMORY: u64 = 64 << 20;
    const MOST: u64 = 512;
    let few = 2 * batch;
    image_bytes.map_or(few, |bytes| ((MEMORY / bytes.max(1)).min(MOST) as usize).max(few))
}

/// Opens the file for failures, empty.
pub(super) fn create(path: &Path) -> Result<File, JobError> {
    let io_error = |source: io::Error| OutputError::Io { path: path.to_owned(), source };
    check_failures(path)?;
    Ok(File::create(path).map_err(io_error)?)
}

/// The tower's stage.
fn encoder(
    opened: &Arc<Opened>,
    mut loaded: Option<Extractor>,
    dtype: Dtype,
) -> impl FnMut(Vec<PixelValues>) -> Result<Encoded, Cut> {
    move |batch| {
        let extractor = match &mut loaded {
            Some(extractor) => extractor,
            // An image that was believed complete turned out not to be.
            none => none.insert(Extractor::of(opened.clone(), false).map_err(JobError::Model)?),
        };
        let started = Instant::now();
        let images = extractor.encode_as(batch, dtype).map_err(JobError::Model)?;
        Ok((images, started.elapsed()))
    }
}
