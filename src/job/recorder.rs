//! The last stage: each image's outcome into the output and, when it lasts there, to the caller, in order.

use std::{
    collections::{HashSet, VecDeque},
    fs::File,
    io::Write,
    iter::Peekable,
    ops::ControlFlow,
    path::PathBuf,
    time::{Duration, Instant},
    vec::IntoIter,
};

use super::{
    error::JobError,
    facts::PictureFacts,
    failure::{Failure, Stage},
    outcome::{Made, Outcome, Unmade},
    report::{Event, Features, Record, Seconds, Status, Tally, TokenCounts},
    task::Task,
};
use crate::{
    extractor::{Part, Picture, TensorKind, Tokens},
    input::{Item, Source},
    model::VisionConfig,
    output::{Array, Content, Failed, Image, InputFacts, Metadata, OutputError, Sink, TarRead, Written, key},
    shard::End,
};

/// Why a run is cut short.
pub(super) enum Cut {
    Error(JobError),
    TooManyFailures,
    /// The caller has heard enough, or whoever read our output.
    Unheard,
}

impl<E: Into<JobError>> From<E> for Cut {
    fn from(error: E) -> Self {
        match error.into() {
            JobError::Output(OutputError::ReaderGone) => Self::Unheard,
            error => Self::Error(error),
        }
    }
}

/// After so long, or so many images, what was written is made to last, whatever still comes.
const LONGEST_GROUP: Duration = Duration::from_secs(1);
const LARGEST_GROUP: usize = 2048;

/// What the writing thread needs.
pub(super) struct Recorder<'a> {
    pub(super) task: &'a Task,
    pub(super) sink: Box<dyn Sink>,
    pub(super) failures: Option<File>,
    /// How long loading the weights took, for the first image's report.
    pub(super) load: Option<Duration>,
    pub(super) on: &'a mut (dyn FnMut(Event<'_>) -> ControlFlow<()> + Send),
    /// The images of which nothing was to be done, each after how many others, and what is to be told of it.
    pub(super) complete: Peekable<IntoIter<(usize, Status, Item)>>,
    pub(super) so_far: SoFar,
}

/// How far a run is.
#[derive(Default)]
pub(super) struct SoFar {
    tally: Tally,
    /// How many images have come to their ends.
    taken: usize,
    failed: u64,
    /// What is to be told when it lasts, and since when the first of it waits.
    waiting: VecDeque<Told>,
    since: Option<Instant>,
    /// The samples so far of the tar that is repeated.
    samples: HashSet<String>,
    /// Whether images of the tar have changed.
    has_changed: bool,
}

/// What is told of.
enum Told {
    Image {
        status: Status,
        warnings: Vec<String>,
        records: Vec<Record>,
    },
    /// The end of a shard.
    Shard(Item),
    Notice(String),
}

impl Recorder<'_> {
    /// Tells the caller.
    pub(super) fn tell(&mut self, event: Event<'_>) -> Result<(), Cut> {
        match (self.on)(event) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Cut::Unheard),
        }
    }

    /// Makes last what was written, and tells of it.
    pub(super) fn commit(&mut self) -> Result<(), Cut> {
        if self.sink.has_uncommitted() {
            self.sink.commit()?;
        }
        self.so_far.since = None;
        while let Some(told) = self.so_far.waiting.pop_front() {
            match told {
                Told::Image { status, warnings, records } => {
                    self.so_far.tally.count(status, &records);
                    self.tell(Event::Image { status, warnings: &warnings, records: &records })?;
                }
                Told::Shard(Item { source, .. }) => {
                    if let Source::ShardEnd { end, .. } = &source {
                        let path = &*source.to_string();
                        let &End { passed_over, ref not_read, is_followed, is_empty, .. } = end;
                        self.tell(Event::Shard { path, passed_over, not_read, is_followed, is_empty })?;
                    }
                }
                Told::Notice(message) => {
                    let path = self.task.plan.path().unwrap_or("".as_ref());
                    self.tell(Event::Notice { path, message: &message })?;
                }
            }
        }
        Ok(())
    }

    /// Tells of the images that were complete before and come next; of all that are left where none follows.
    pub(super) fn tell_complete(&mut self, all: bool) -> Result<(), Cut> {
        while let Some((_, status, item)) =
            self.complete.next_if(|(before, ..)| all || *before <= self.so_far.taken)
        {
            self.wait_bare(&item, status)?;
        }
        Ok(())
    }

    /// Notes what is to be told of an image of which nothing was made.
    fn wait_bare(&mut self, item: &Item, status: Status) -> Result<(), Cut> {
        self.wait(Told::Image { status, warnings: Vec::new(), records: vec![Record::bare(item, status)] })
    }

    /// Notes what is to be told.
    fn wait(&mut self, told: Told) -> Result<(), Cut> {
        self.so_far.waiting.push_back(told);
        self.so_far.since.get_or_insert_with(Instant::now);
        match self.sink.has_uncommitted() {
            true => Ok(()),
            false => self.commit(),
        }
    }

    /// Ends the run.
    pub(super) fn finish(self, is_complete: bool) -> Result<Tally, JobError> {
        self.sink.finish(is_complete)?;
        Ok(self.so_far.tally)
    }

    fn end_shard(&mut self, item: &Item) -> Result<(), Cut> {
        let Source::ShardEnd { shard, end, stat } = &item.source else { return Ok(()) };
        self.so_far.samples.clear();
        let input = InputFacts {
            path: shard.display().to_string(),
            bytes: stat.bytes,
            modified_ns: stat.modified_ns,
            sha256: None,
        };
        let damage = end.damage.as_ref().map(|damage| damage.reason().to_owned());
        let read = TarRead { key: item.key(), input, damage };
        self.sink.end_tar(&item.name, read, std::mem::take(&mut self.so_far.has_changed))?;
        self.wait(Told::Shard(item.clone()))
    }

    /// Writes an image.
    fn write(&mut self, item: &Item, input: &InputFacts, made: &Made) -> Result<(), Cut> {
        let Made { arrays, picture, .. } = made;
        let facts = PictureFacts::of(&self.task.opened, picture);
        let mut metadata = Metadata::default();
        metadata.insert("path", &item.source);
        let metadata = metadata.with(&facts.metadata());
        let mut records = self.records(item, arrays, picture, &facts);
        let mut warnings = picture.warnings.clone();
        let drawn = match self.task.opened.picture(arrays, picture) {
            Ok(drawn) => drawn,
            Err(reason) => return self.fail(item, input, &Failure::new(Stage::Write, reason)),
        };
        let content = match &drawn {
            Some((bytes, warning)) => {
                warnings.extend(warning.clone());
                Content::Picture(bytes)
            }
            None => Content::Tensors(arrays),
        };
        let (key, report) = (item.key(), report(&records));
        let image = Image {
            key: &key,
            name: &item.name,
            sample: item.sample.as_deref(),
            input,
            place: self.so_far.taken - 1,
            metadata: &metadata,
            facts: &facts.json(),
            report: &report,
            content,
        };
        match self.sink.write(&image) {
            Ok(Written { outputs, warnings: more, notices }) => {
                self.so_far.waiting.extend(notices.into_iter().map(Told::Notice));
                warnings.extend(more);
                self.complete_records(&mut records, &outputs, made);
                self.wait(Told::Image { status: Status::Done, warnings, records })
            }
            Err(error) if error.is_of_one_image() => {
                self.fail(item, input, &Failure::new(Stage::Write, error))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What is said of each tensor of an image, but for where it went and how long it took.
    fn records(&self, item: &Item, arrays: &[Array], picture: &Picture, facts: &PictureFacts) -> Vec<Record> {
        let config = self.task.opened.config();
        let settings = &self.task.contents.settings;
        let request = &self.task.opened.options().request;
        let setting = |key| settings.get(key).map(str::to_owned);
        let features = |(array, part): (&Array, &Part)| {
            let tower = config.filter(|_| part.kind != TensorKind::PixelValues);
            let mut picture_facts = facts.clone();
            if tower.is_none() {
                (picture_facts.grid, picture_facts.grid_box) = (None, None);
            }
            Features {
                tensor: array.name.clone(),
                shape: array.shape.clone(),
                dtype: self.task.contents.dtype.name(),
                tokens: part.kind.has_tokens().then(|| request.kept_tokens().name()),
                layout: tower.filter(|_| part.kind.has_tokens()).map(|tower| self.layout(tower, picture)),
                not_finite: self.task.contents.dtype.count_not_finite(&array.values),
                picture: picture_facts,
                model: setting("model").unwrap_or_default(),
                revision: setting("revision"),
                weights: setting("weights"),
                output: None,
                seconds: None,
            }
        };
        let bare = Record::bare(item, Status::Done);
        let record = |features| Record { features: Some(features), ..bare.clone() };
        arrays.iter().zip(self.task.opened.parts()).map(features).map(record).collect()
    }

    /// Adds where and how long.
    fn complete_records(&mut self, records: &mut [Record], outputs: &[PathBuf], made: &Made) {
        let load = self.load.take();
        for (index, record) in records.iter_mut().enumerate() {
            let output = outputs.get(index).or(outputs.first()).map(PathBuf::as_path);
            let output = output.or(self.task.plan.path());
            if let Some(features) = &mut record.features {
                features.output = output.map(|path| path.display().to_string());
                features.seconds = Some(Seconds {
                    preprocess: Seconds::of(made.preprocess),
                    load: load.map(Seconds::of),
                    encode: self.task.opened.config().map(|_| Seconds::of(made.encode)),
                });
            }
        }
    }

    /// The tokens of a token tensor, in order.
    fn layout(&self, config: &VisionConfig, picture: &Picture) -> TokenCounts {
        let [rows, columns] = picture.geometry.grid(config.patch_size);
        let kept = self.task.opened.options().request.kept_tokens();
        TokenCounts {
            cls: if kept == Tokens::Patch { 0 } else { config.class_tokens },
            registers: if kept == Tokens::All { config.register_tokens } else { 0 },
            patches: if kept == Tokens::Cls { 0 } else { rows * columns },
            padding: self.task.opened.options().request.pad.then(|| self.task.opened.padding(rows * columns)),
        }
    }

    fn fail(&mut self, item: &Item, input: &InputFacts, failure: &Failure) -> Result<(), Cut> {
        let Failure { stage, defect, reason, .. } = failure;
        self.sink.failed(Failed {
            key: item.key(),
            tar: item.sample.as_ref().map(|sample| key(&sample.shard)),
            input: input.clone(),
            stage: stage.name().into(),
            defect: *defect,
            reason: reason.clone(),
        });
        let is_accepted = self.task.job.accept_failures && defect.is_some();
        let status = if is_accepted { Status::Accepted } else { Status::Failed };
        let record = Record { failure: Some(failure.clone()), ..Record::bare(item, status) };
        if let (Some(file), Some(path)) = (&mut self.failures, &self.task.job.failures) {
            writeln!(file, "{}", record.json())
                .map_err(|source| OutputError::Io { path: path.clone(), source })?;
        }
        self.so_far.failed += u64::from(!is_accepted);
        self.wait(Told::Image { status, warnings: Vec::new(), records: vec![record] })?;
        match self.task.job.max_failures {
            Some(most) if self.so_far.failed >= most => {
                self.commit()?;
                Err(Cut::TooManyFailures)
            }
            _ => Ok(()),
        }
    }

    /// Takes the outcome of the next image.
    pub(super) fn take(&mut self, item: &Item, input: &InputFacts, outcome: Outcome) -> Result<(), Cut> {
        item.source.refused()?;
        self.tell_complete(false)?;
        self.so_far.taken += 1;
        let is_long = self.so_far.since.is_some_and(|since| since.elapsed() > LONGEST_GROUP);
        if is_long || self.so_far.waiting.len() >= LARGEST_GROUP {
            self.commit()?;
        }
        if let Source::ShardEnd { end, .. } = &item.source {
            self.end_shard(item)?;
            if end.damage.is_none() {
                return Ok(());
            }
        }
        if let (Some(sample), true) = (&item.sample, self.task.plan.repeats_tars())
            && !self.so_far.samples.insert(sample.key.clone())
        {
            // Also where the other is there from an earlier run, so that each run fails it.
            let reason = format!("its tar has a sample {} already", sample.key);
            return self.fail(item, input, &Failure::new(Stage::Write, reason));
        }
        match outcome {
            Ok(made) => self.write(item, input, &made),
            Err(Unmade::Failed(failure)) => self.fail(item, input, &failure),
            Err(Unmade::Ends(error)) => Err(error.into()),
            Err(Unmade::Left(status)) => {
                if status == Status::Skipped && input.sha256.is_some() {
                    self.sink.unchanged(&item.key(), input);
                }
                self.so_far.has_changed |= status == Status::Changed && item.sample.is_some();
                self.wait_bare(item, status)
            }
        }
    }
}

/// The report's line of an image with one tensor; of one with several, a list of their lines.
fn report(records: &[Record]) -> String {
    match records {
        [record] => record.json(),
        records => format!("[{}]", records.iter().map(Record::json).collect::<Vec<_>>().join(",")),
    }
}
