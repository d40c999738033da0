//! The last stage: each image's outcome into the destination and to the caller, in order.

use std::{
    collections::HashSet,
    fs::File,
    io::Write,
    ops::ControlFlow,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{
    Job,
    drawing::OpenDrawing,
    error::JobError,
    failure::{Failure, Stage},
    pipeline::Outcome,
    report::{Event, FailureFacts, Features, ImageFacts, Record, Seconds, Status, Tally, TokenCounts},
};
use crate::{
    extractor::{Opened, Part, Picture, TensorKind, Tokens},
    input::{Item, Source},
    model::VisionConfig,
    output::{Array, Complete, Contents, Described, Left, Metadata, OutputError, Sink},
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

/// What the writing thread needs.
pub(super) struct Recorder<'a> {
    pub(super) job: &'a Job,
    pub(super) opened: &'a Opened,
    pub(super) contents: &'a Contents,
    pub(super) sink: Box<dyn Sink>,
    /// What was in it when the run began: of that, no more than pictures can be missing.
    pub(super) written: Arc<Complete>,
    pub(super) drawings: Vec<OpenDrawing>,
    pub(super) failures: Option<File>,
    /// What an output would have been written over, found out on the way.
    pub(super) over: Arc<Mutex<Option<JobError>>>,
    /// How long loading the weights took, for the first image's report.
    pub(super) load: Option<Duration>,
    pub(super) on: &'a mut (dyn FnMut(Event<'_>) -> ControlFlow<()> + Send),
    pub(super) tally: Tally,
    /// The samples so far of the tar that is repeated.
    pub(super) repeated: Repeated,
}

/// Samples of a tar that is repeated.
#[derive(Debug, Default)]
pub(super) struct Repeated {
    keys: HashSet<String>,
    /// Whether some have failed.
    lacks: bool,
}

impl<'a> Recorder<'a> {
    /// Takes an image's outcome.
    pub(super) fn take(&mut self, item: &Item, outcome: Outcome) -> Result<(), Cut> {
        if let Some(error) = self.over.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error.into());
        }
        item.source.refused()?;
        let path = item.source.to_string();
        if let Source::ShardEnd { passed_over, is_empty, damage, .. } = &item.source {
            let left = match std::mem::take(&mut self.repeated).lacks {
                _ if damage.is_some() => Left::All,
                true => Left::Failed,
                false => Left::Nothing,
            };
            self.sink.end_shard(&item.name, left)?;
            self.tell(Event::Shard { path: &path, passed_over: *passed_over, is_empty: *is_empty })?;
            if damage.is_none() {
                return Ok(());
            }
        }
        if let (Some(sample), true) = (&item.sample, self.job.destination.repeats_shards())
            && !self.repeated.keys.insert(sample.key.clone())
        {
            // Also where the other is there from an earlier run, so that each run fails it.
            let reason = format!("its tar has a sample {} already", sample.key);
            return self.failed(item, &Failure::new(Stage::Write, reason));
        }
        match outcome {
            Outcome::Skipped => {
                let status = Status::Skipped;
                self.end_with(Record { path: &path, status, features: None, failure: None })
            }
            Outcome::Failed(failure) => self.failed(item, &failure),
            Outcome::Done { arrays, picture, preprocess, encode } => {
                let metadata = self.describe(item, &picture);
                let records = self.records(&path, &arrays, &picture);
                let image = Described {
                    name: &item.name,
                    sample: item.sample.as_deref(),
                    metadata: &metadata,
                    facts: &facts(&records),
                };
                let mut warnings = picture.warnings.clone();
                if let Some(file) = self.sink.cut(&item.name) {
                    warnings.push(format!("{} was cut, and is made again", file.display()));
                }
                let written = match self.written.contains(&item.name, item.sample.as_deref()) {
                    true => Ok(Vec::new()),
                    false => self.sink.write(&image, &arrays),
                };
                match written {
                    Ok(outputs) => {
                        for drawing in &mut self.drawings {
                            match drawing.draw(item, self.opened, &arrays, &picture)? {
                                Ok(warning) => warnings.extend(warning),
                                Err(reason) => {
                                    return self.failed(item, &Failure::new(Stage::Write, reason));
                                }
                            }
                        }
                        let records = self.completed(records, &outputs, [preprocess, encode]);
                        self.tally.count(Status::Done);
                        let status = Status::Done;
                        self.tell(Event::Image { status, warnings: &warnings, records: &records })
                    }
                    Err(error) if error.is_of_one_image() => {
                        self.failed(item, &Failure::new(Stage::Write, error))
                    }
                    Err(error) => Err(error.into()),
                }
            }
        }
    }

    /// Tells the caller.
    pub(super) fn tell(&mut self, event: Event<'_>) -> Result<(), Cut> {
        match (self.on)(event) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Cut::Unheard),
        }
    }

    fn end_with(&mut self, record: Record<'_>) -> Result<(), Cut> {
        self.tally.count(record.status);
        self.tell(Event::Image { status: record.status, warnings: &[], records: &[record] })
    }

    /// What is said of each tensor of an image, but for where it went and how long it took.
    fn records<'b>(&self, path: &'b str, arrays: &'b [Array], picture: &Picture) -> Vec<Record<'b>>
    where
        'a: 'b,
    {
        let config = self.opened.config();
        let settings = &self.contents.settings;
        let request = &self.opened.options().request;
        let features = |(array, part): (&'b Array, &Part)| {
            let tower = config.filter(|_| part.kind != TensorKind::PixelValues);
            Features {
                tensor: &array.name,
                shape: &array.shape,
                dtype: self.contents.dtype.name(),
                tokens: part.kind.has_tokens().then(|| request.kept_tokens().name()),
                layout: tower.filter(|_| part.kind.has_tokens()).map(|tower| self.layout(tower, picture)),
                grid: tower.map(|tower| picture.geometry.grid(tower.patch_size)),
                spatial_shapes: self.spatial_shapes(picture),
                grid_box: tower.map(|tower| picture.geometry.grid_box(tower.patch_size).edges()),
                crop_box: picture.geometry.crop_box().edges(),
                image_sizes: self.image_sizes(picture),
                image: ImageFacts::of(picture),
                model: settings.get("model").unwrap_or_default(),
                revision: settings.get("revision"),
                weights: settings.get("weights"),
                output: None,
                seconds: None,
            }
        };
        let record =
            |features| Record { path, status: Status::Done, features: Some(features), failure: None };
        arrays.iter().zip(self.opened.parts()).map(features).map(record).collect()
    }

    /// The same, with where and how long.
    fn completed<'b>(
        &self,
        mut records: Vec<Record<'b>>,
        outputs: &[PathBuf],
        [preprocess, encode]: [Duration; 2],
    ) -> Vec<Record<'b>> {
        let is_first = self.tally.done == 0;
        for (index, record) in records.iter_mut().enumerate() {
            let output = outputs.get(index).or(outputs.first()).map(PathBuf::as_path);
            let output = output.or(self.job.destination.path());
            if let Some(features) = &mut record.features {
                features.output = output.map(|path| path.display().to_string());
                features.seconds = Some(Seconds {
                    preprocess: Seconds::of(preprocess),
                    load: self.load.filter(|_| is_first).map(Seconds::of),
                    encode: self.opened.config().map(|_| Seconds::of(encode)),
                });
            }
        }
        records
    }

    /// What an output says of its image.
    fn describe(&self, item: &Item, picture: &Picture) -> Metadata {
        let mut image = Metadata::default();
        image.insert("path", &item.source);
        let list = |numbers: [f64; 4]| format!("{numbers:?}");
        image.insert("crop_box", list(picture.geometry.crop_box().edges()));
        if let Some(config) = self.opened.config() {
            image.insert("grid", format!("{:?}", picture.geometry.grid(config.patch_size)));
            image.insert("grid_box", list(picture.geometry.grid_box(config.patch_size).edges()));
        }
        if let Some(sizes) = self.image_sizes(picture) {
            image.insert("image_sizes", format!("{sizes:?}"));
        }
        if let Some(shapes) = self.spatial_shapes(picture) {
            image.insert("spatial_shapes", format!("{shapes:?}"));
        }
        image
    }

    /// What a processor gives beside tiles.
    fn image_sizes(&self, picture: &Picture) -> Option<[[u32; 2]; 1]> {
        self.opened.options().tiles.then_some([[picture.height, picture.width]])
    }

    /// Rows and columns of the patches that the processor cut.
    fn spatial_shapes(&self, picture: &Picture) -> Option<[usize; 2]> {
        Some(picture.geometry.grid(self.opened.patches()?.patch_size))
    }

    /// The tokens of a token tensor, in order.
    fn layout(&self, config: &VisionConfig, picture: &Picture) -> TokenCounts {
        let [rows, columns] = picture.geometry.grid(config.patch_size);
        let kept = self.opened.options().request.kept_tokens();
        TokenCounts {
            cls: if kept == Tokens::Patch { 0 } else { config.class_tokens },
            registers: if kept == Tokens::All { config.register_tokens } else { 0 },
            patches: if kept == Tokens::Cls { 0 } else { rows * columns },
            padding: self.opened.options().request.pad.then(|| self.opened.padding(rows * columns)),
        }
    }

    fn failed(&mut self, item: &Item, failure: &Failure) -> Result<(), Cut> {
        self.repeated.lacks |= item.sample.is_some();
        let (path, facts) = (item.source.to_string(), FailureFacts::of(failure));
        let record = Record { path: &path, status: Status::Failed, features: None, failure: Some(facts) };
        if let (Some(file), Some(path)) = (&mut self.failures, &self.job.failures) {
            writeln!(file, "{}", record.json())
                .map_err(|source| OutputError::Io { path: path.clone(), source })?;
        }
        self.end_with(record)?;
        match self.job.max_failures {
            Some(most) if self.tally.failed >= most => Err(Cut::TooManyFailures),
            _ => Ok(()),
        }
    }
}

/// The report's line of an image with one tensor; of one with several, a list of their lines.
fn facts(records: &[Record<'_>]) -> String {
    match records {
        [record] => record.json(),
        records => format!("[{}]", records.iter().map(Record::json).collect::<Vec<_>>().join(",")),
    }
}
