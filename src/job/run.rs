//! A prepared job, carried out.

use std::{
    fs::File,
    io,
    ops::ControlFlow,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    drawing::Drawing,
    error::JobError,
    failure::{Failure, Stage},
    overlap::{Overlap, check_failures},
    pipeline::{self, Encoded, Layout, Prepare, Stages},
    prepared::{Prepared, is_complete},
    recorder::{Cut, Recorder, Repeated},
    report::{Ended, Event, Tally},
    stop::Stop,
};
use crate::{
    extractor::{Extractor, Opened},
    figure::reduced,
    input::{Item, Source, expand},
    output::{Complete, OutputError},
    processor::PixelValues,
};

impl Prepared {
    /// Does the work, and tells `on` of each image in the order of the inputs, on a thread of its own. Where `on` breaks,
    /// the run ends.
    ///
    /// # Errors
    /// The model or the output is to blame. What was written until then is whole, and can be resumed where the destination
    /// can. An image that fails is no error: `on` is told.
    pub fn run(
        self,
        stop: &Stop,
        on: &mut (dyn FnMut(Event<'_>) -> ControlFlow<()> + Send),
    ) -> Result<(Ended, Tally), JobError> {
        self.job.drawings.iter().try_for_each(Drawing::probe)?;
        self.check_space()?;
        // Before the output is touched, so that weights that do not load leave it as it is; unless nothing is to be done.
        // Where there is nothing to resume, it is not touched before the first tensors are there, so weights that only one
        // image needs may be read as late as they are needed.
        let started = Instant::now();
        let remaining = self.remaining();
        let once = !self.job.destination.resumes() && remaining == Some(1);
        let loaded = match remaining {
            Some(0) => None,
            _ => Some(Extractor::of(self.opened.clone(), once)?),
        };
        let has_tower = self.opened.config().is_some();
        let load = (has_tower && loaded.is_some()).then(|| started.elapsed());

        let Self { job, opened, images, contents, overlap, .. } = self;
        let over: Arc<Mutex<Option<JobError>>> = Arc::default();
        let planned: Vec<&Path> = images.known().iter().map(|item| item.name.as_path()).collect();
        let sink = job.destination.open(&contents, &planned)?;
        let failures = job.failures.as_deref().map(create).transpose()?;
        let written = Arc::new(sink.complete());
        let open = |drawing: &Drawing| drawing.open(&opened, job.overwrite, &planned);
        let drawings = job.drawings.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let drawn = drawings.iter().map(|drawing| drawing.complete.clone()).collect();
        let complete = Arc::new(job.all_complete(written.clone(), drawn));
        let mut recorder = Recorder {
            job: &job,
            opened: &opened,
            contents: &contents,
            sink,
            written,
            drawings,
            failures,
            over: over.clone(),
            load,
            on,
            tally: Tally::default(),
            repeated: Repeated::default(),
        };
        let started = recorder.tell(Event::Started { total: images.count() });
        let layout = Layout {
            workers: match has_tower {
                // Decoding is a small part of the work beside the tower, and all of it without.
                true => job.options.threads.div_ceil(4),
                false => job.options.threads,
            },
            batch: job.batch,
        };
        let ran = started.and_then(|()| {
            let stages = Stages {
                prepare: prepare(opened.clone(), !job.drawings.is_empty(), complete.clone(), overlap, over),
                encode: &mut encoder(&opened, loaded),
                write: &mut |item, outcome| recorder.take(&item, outcome),
            };
            let items = images.into_iter();
            let items: Box<dyn Iterator<Item = Item> + Send> = match job.destination.repeats_shards() {
                true => {
                    let complete = complete.clone();
                    Box::new(expand(items, job.selection.clone(), move |item| is_complete(&complete, item)))
                }
                false => items,
            };
            pipeline::run(items, layout, stop.channel(), stages)
        });
        let Recorder { sink, tally, .. } = recorder;
        let ended = match ran {
            Ok(()) if stop.is_asked() => Ended::Stopped,
            Ok(()) => {
                sink.finish()?;
                Ended::Complete
            }
            Err(Cut::Unheard) => Ended::Unheard,
            Err(Cut::TooManyFailures) => Ended::TooManyFailures,
            Err(Cut::Error(error)) => return Err(error),
        };
        Ok((ended, tally))
    }
}

/// Opens the file for failures, empty.
pub(super) fn create(path: &Path) -> Result<File, JobError> {
    let io_error = |source: io::Error| OutputError::Io { path: path.to_owned(), source };
    check_failures(path)?;
    Ok(File::create(path).map_err(io_error)?)
}

/// The first stage, on worker threads.
fn prepare(
    opened: Arc<Opened>,
    keep: bool,
    complete: Arc<Complete>,
    overlap: Overlap,
    over: Arc<Mutex<Option<JobError>>>,
) -> Arc<Prepare> {
    Arc::new(move |item: &Item| {
        let is_whole_end = matches!(item.source, Source::ShardEnd { damage: None, .. });
        if is_whole_end || is_complete(&complete, item) {
            return Ok(None);
        }
        overlap.check(item).map_err(|error| {
            let failed = Failure::new(Stage::Read, &error);
            // It ends the run, before an output is finished.
            *over.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            failed
        })?;
        let bytes = item.source.read().map_err(|error| Failure::read(&error))?;
        let mut ready = opened.preprocess(&bytes, keep).map_err(|error| Failure::preprocess(&error))?;
        ready.picture.rgb = ready.picture.rgb.map(reduced);
        Ok(Some(ready))
    })
}

/// The tower's stage.
fn encoder(
    opened: &Arc<Opened>,
    mut loaded: Option<Extractor>,
) -> impl FnMut(Vec<PixelValues>) -> Result<Encoded, Cut> {
    move |batch| {
        let extractor = match &mut loaded {
            Some(extractor) => extractor,
            // An image that was believed complete turned out not to be.
            none => none.insert(Extractor::of(opened.clone(), false).map_err(JobError::Model)?),
        };
        let started = Instant::now();
        let images = extractor.encode(batch).map_err(JobError::Model)?;
        let elapsed = if opened.config().is_some() { started.elapsed() } else { Duration::ZERO };
        Ok(Encoded { images, elapsed })
    }
}
