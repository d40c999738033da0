//! The last stage: each image's outcome into the target and onto the screen, in order.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use clip_features::{
    extractor::Picture,
    heatmap::{self, Patches},
    input::Item,
    model::VisionConfig,
    output::{Array, Metadata, OutputError, OutputFile},
    pipeline::{Failure, Outcome, Stage},
    request::{Part, TensorKind, Tokens},
};
use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};

use crate::{
    cli::{
        FailureFacts, Features, Heatmap, ImageFacts, Plan, Progress, Report, Seconds, Tally, Target,
        TokenCounts, printable, seconds,
    },
    run::Ended,
    sink::{Sink, Stored, is_closed_pipe},
};

/// What the writing thread needs.
pub(crate) struct Writer<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) stored: Stored<'a>,
    pub(crate) sink: Sink,
    pub(crate) progress: Progress,
    pub(crate) failures: Option<File>,
    /// The tensors of each image.
    pub(crate) parts: &'a [Part],
    /// The tower that they come from, unless only its input is wanted.
    pub(crate) tower: Option<&'a VisionConfig>,
    /// How long loading the weights took, for the first image's report.
    pub(crate) load: Option<Duration>,
}

impl Writer<'_> {
    /// Takes an image's outcome.
    pub(crate) fn take(&mut self, item: Item, outcome: Outcome) -> Result<(), Ended> {
        match outcome {
            Outcome::Skipped => {
                self.progress.step(|tally| tally.skipped += 1);
                self.report(&Report {
                    path: item.source.to_string(),
                    status: "skipped",
                    features: None,
                    failure: None,
                })
            }
            Outcome::Failed(failure) => self.failed(&item, &failure),
            Outcome::Done { arrays, picture, preprocess, encode } => {
                let image = self.describe(&item, &picture);
                match self.sink.write(&item, &image, &arrays, self.stored) {
                    Ok(outputs) => self.done(&item, &arrays, &picture, &outputs, preprocess, encode),
                    Err(error @ OutputError::Misplaced { .. }) => {
                        self.failed(&item, &Failure { stage: Stage::Write, reason: error.to_string() })
                    }
                    Err(error) if is_closed_pipe(&error) => Err(Ended::ReaderGone),
                    Err(error) => Err(Ended::Refused(error.to_string())),
                }
            }
        }
    }

    fn done(
        &mut self,
        item: &Item,
        arrays: &[Array],
        picture: &Picture,
        outputs: &[PathBuf],
        preprocess: Duration,
        encode: Duration,
    ) -> Result<(), Ended> {
        let path = item.source.to_string();
        if !self.plan.quiet {
            for warning in &picture.warnings {
                self.progress.say("warning", &format!("{}: {warning}", printable(&path)));
            }
        }
        let is_first = self.progress.tally().done == 0;
        self.progress.step(|tally| tally.done += 1);
        if let Some(heatmap) = &self.plan.heatmap {
            self.draw(heatmap, arrays, picture)?;
        }
        let boxed = |tower: &VisionConfig| picture.geometry.grid_box(tower.patch_size).edges();
        for (index, (array, part)) in arrays.iter().zip(self.parts).enumerate() {
            let tower = self.tower.filter(|_| part.kind != TensorKind::PixelValues);
            let output = outputs.get(index).or(outputs.first()).map(PathBuf::as_path);
            let features = Features {
                tensor: &array.name,
                shape: &array.shape,
                dtype: self.plan.dtype.name(),
                tokens: part.kind.has_tokens().then(|| self.plan.request.kept_tokens().name()),
                layout: tower.filter(|_| part.kind.has_tokens()).map(|tower| self.layout(tower, picture)),
                grid: tower.map(|tower| picture.geometry.grid(tower.patch_size)),
                grid_box: tower.map(boxed),
                crop_box: picture.geometry.crop_box().edges(),
                image: ImageFacts::of(picture),
                model: self.stored.settings.get("model").unwrap_or_default(),
                revision: self.stored.settings.get("revision"),
                weights: self.stored.settings.get("weights"),
                output: output.or(self.plan.target.path()).map(|path| path.display().to_string()),
                seconds: Seconds {
                    preprocess: seconds(preprocess),
                    load: self.load.filter(|_| is_first).map(seconds),
                    encode: self.tower.map(|_| seconds(encode)),
                },
            };
            self.report(&Report {
                path: path.clone(),
                status: "done",
                features: Some(features),
                failure: None,
            })?;
        }
        Ok(())
    }

    /// What an output says of its image.
    fn describe(&self, item: &Item, picture: &Picture) -> Metadata {
        let mut image = Metadata::default();
        image.insert("path", &item.source);
        let list = |numbers: [f64; 4]| format!("{numbers:?}");
        image.insert("crop_box", list(picture.geometry.crop_box().edges()));
        if let Some(tower) = self.tower {
            image.insert("grid", format!("{:?}", picture.geometry.grid(tower.patch_size)));
            image.insert("grid_box", list(picture.geometry.grid_box(tower.patch_size).edges()));
        }
        image
    }

    /// The tokens of a token tensor, in order.
    fn layout(&self, tower: &VisionConfig, picture: &Picture) -> TokenCounts {
        let [rows, columns] = picture.geometry.grid(tower.patch_size);
        let kept = self.plan.request.kept_tokens();
        TokenCounts {
            cls: if kept == Tokens::Patch { 0 } else { tower.class_tokens },
            registers: if kept == Tokens::All { tower.register_tokens } else { 0 },
            patches: if kept == Tokens::Cls { 0 } else { rows * columns },
        }
    }

    /// Draws the first token tensor over its picture.
    fn draw(&self, heatmap: &Heatmap, arrays: &[Array], picture: &Picture) -> Result<(), Ended> {
        let found = arrays.iter().zip(self.parts).find(|(_, part)| part.kind.has_tokens());
        let (Some((array, _)), Some(tower), Some(rgb)) = (found, self.tower, &picture.rgb) else {
            return Ok(());
        };
        let [rows, columns] = picture.geometry.grid(tower.patch_size);
        // Whatever stands before the patches is left out.
        let patches = rows * columns * tower.hidden_size;
        let values = &array.values[array.values.len() - patches..];
        let patches = Patches { values, rows, columns };
        let scores = match heatmap.query {
            None => patches.norms(),
            Some(query) => patches.cosines(query).map_err(Ended::Refused)?,
        };
        let drawn = heatmap::draw(rgb, &picture.geometry, tower.patch_size, &scores, heatmap.query);
        let written = OutputFile::create(&heatmap.path).and_then(|file| {
            file.commit(|writer| {
                let encoder = PngEncoder::new(writer);
                let (width, height) = drawn.dimensions();
                let written = encoder.write_image(&drawn, width, height, ExtendedColorType::Rgb8);
                written.map_err(io::Error::other)
            })
        });
        written.map_err(|error| Ended::Refused(error.to_string()))
    }

    fn failed(&mut self, item: &Item, failure: &Failure) -> Result<(), Ended> {
        let path = item.source.to_string();
        self.progress.say("error", &format!("{}: {}", printable(&path), failure.reason));
        self.progress.step(|tally| tally.failed += 1);
        let record =
            Report { path, status: "failed", features: None, failure: Some(FailureFacts::of(failure)) };
        if let (Some(file), Some(path)) = (&mut self.failures, &self.plan.failures) {
            writeln!(file, "{}", record.json()).map_err(|error| cannot_write(path, &error))?;
        }
        self.report(&record)?;
        match self.plan.max_failures {
            Some(most) if self.progress.tally().failed >= most => Err(Ended::TooManyFailures),
            _ => Ok(()),
        }
    }

    /// Prints a report where one is wanted.
    fn report(&self, report: &Report<'_>) -> Result<(), Ended> {
        let line = if self.plan.json {
            report.json()
        } else if self.plan.target == Target::Nothing {
            match report.text() {
                Some(line) => line,
                None => return Ok(()),
            }
        } else {
            return Ok(());
        };
        self.progress.aside(|| print_line(&line))
    }

    /// Completes the target, unless the run was cut short, and says how it went.
    pub(crate) fn end(
        self,
        ran: &Result<(), Ended>,
        interrupted: bool,
        is_batch: bool,
    ) -> Result<Tally, Ended> {
        let tally = self.progress.tally();
        self.progress.clear();
        let cut_short = interrupted || ran.is_err();
        if !cut_short {
            self.sink.finish().map_err(|error| Ended::Refused(error.to_string()))?;
        }
        if !is_batch || self.plan.quiet || matches!(ran, Err(Ended::ReaderGone)) {
            return Ok(tally);
        }
        let summary = self.progress.summary();
        match self.plan.target {
            _ if !cut_short => self.progress.say("finished", &summary),
            Target::Tree(_) | Target::Archive(_) if interrupted => {
                let how = if self.plan.overwrite {
                    "without --overwrite, the same command"
                } else {
                    "the same command"
                };
                self.progress.say("stopped", &format!("{summary}; {how} goes on where it was"));
            }
            _ => self.progress.say("stopped", &summary),
        }
        Ok(tally)
    }
}

/// Opens the file of `--failures`.
pub(crate) fn create_failures(path: &Path) -> Result<File, Ended> {
    File::create(path).map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &io::Error) -> Ended {
    Ended::Refused(format!("{}: cannot be written: {error}", path.display()))
}

/// Prints on standard output, at once, since a reader may be waiting for the line.
pub(crate) fn print_line(line: &str) -> Result<(), Ended> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Ended::ReaderGone),
        Err(error) => Err(Ended::Refused(format!("standard output cannot be written: {error}"))),
    }
}
