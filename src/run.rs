//! One image, from its bytes to a report and, where asked for, an output.

use std::{
    error::Error,
    io::{self, Write},
    time::Instant,
};

use candle_core::Device;
use clip_features::{
    Request,
    extractor::{Preprocessed, TensorKind, encode, pixel_array, preprocess},
    model::{Model, ModelError, ModelSpec, VisionConfig, VisionTower, Weights},
    output::{Metadata, OutputFile},
    processor::Processor,
};

use crate::cli::{Exit, ImageFacts, Plan, Report, Seconds, Target, printable, say, seconds};

/// Why a run ended early: its exit code and the text for standard error.
struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    /// The usage, the model or the output is to blame.
    fn refused(error: impl Error) -> Self {
        Self { exit: Exit::Refused, message: error.to_string() }
    }

    /// The image is to blame.
    fn image(name: &str, error: impl Error) -> Self {
        Self { exit: Exit::ImageFailed, message: format!("{name}: {error}") }
    }
}

/// Runs a plan, says on standard error what went wrong, and gives the exit code.
pub(crate) fn run(plan: &Plan) -> Exit {
    match try_run(plan) {
        Ok(()) => Exit::Done,
        Err(Failure { exit, message }) => {
            say("error", &message);
            exit
        }
    }
}

fn try_run(plan: &Plan) -> Result<(), Failure> {
    if let Some(threads) = plan.threads {
        // Fails only if the pool is there already, and nothing has computed yet.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    }
    // Everything that can be refused is opened before the work, so that a mistake costs no time.
    let model = Model::open(&plan.model).map_err(Failure::refused)?;
    let processor = model.processor().map_err(Failure::refused)?;
    let tower = match plan.tensor {
        TensorKind::PixelValues => None,
        _ => Some(UnloadedTower::open(&model).map_err(Failure::refused)?),
    };
    let output = match &plan.target {
        Target::File(path, _) => Some(OutputFile::create(path).map_err(Failure::refused)?),
        Target::Nothing | Target::Stdout(_) => None,
    };

    let name = printable(&plan.source.to_string());
    let mut times = Seconds::default();
    let started = Instant::now();
    let bytes = plan.source.read().map_err(|error| Failure::image(&name, error))?;
    let Preprocessed { pixel_values, picture } =
        preprocess(&bytes, &plan.decode, &processor).map_err(|error| Failure::image(&name, error))?;
    drop(bytes);
    times.preprocess = seconds(started.elapsed());
    for warning in &picture.warnings {
        warn(plan, &format!("{name}: {warning}"));
    }

    let array = match &tower {
        None => pixel_array(pixel_values),
        Some(tower) => {
            if matches!(plan.model, ModelSpec::Random { .. }) {
                warn(plan, "random weights: the features mean nothing");
            }
            let started = Instant::now();
            let loaded = tower.load().map_err(Failure::refused)?;
            times.load = Some(seconds(started.elapsed()));
            let started = Instant::now();
            let request = Request { tokens: plan.tokens, ..Request::default() };
            let array = encode(&loaded, &[pixel_values], &request)
                .map_err(|error| Failure::image(&name, error))?
                .remove(0)
                .remove(0);
            times.encode = Some(seconds(started.elapsed()));
            array
        }
    };

    let fingerprint = tower.as_ref().map(|tower| tower.weights.fingerprint()).transpose();
    let fingerprint = fingerprint.map_err(Failure::refused)?;
    let metadata = metadata(plan, &model, &processor, fingerprint.as_deref());
    match (&plan.target, output) {
        (Target::File(_, format), Some(output)) => output
            .commit(|writer| format.write(writer, &array, plan.dtype, &metadata))
            .map_err(Failure::refused)?,
        (Target::Stdout(format), _) => {
            to_stdout(|writer| format.write(writer, &array, plan.dtype, &metadata))?;
        }
        _ => {}
    }
    if plan.json || plan.target == Target::Nothing {
        let report = Report {
            path: plan.source.to_string(),
            tensor: plan.tensor.name(),
            shape: &array.shape,
            dtype: plan.dtype.name(),
            tokens: tower.as_ref().map(|_| plan.tokens.name()),
            grid: tower.as_ref().map(|tower| [tower.config.grid(); 2]),
            image: ImageFacts::of(&picture),
            model: model.name(),
            weights: fingerprint.as_deref(),
            output: plan.target.path(),
            seconds: times,
        };
        let line = if plan.json { report.json() } else { report.text() };
        to_stdout(|writer| writeln!(writer, "{line}"))?;
    }
    Ok(())
}

/// A tower whose config and headers have been checked, and whose weights are still on disk.
struct UnloadedTower {
    config: VisionConfig,
    weights: Weights,
}

impl UnloadedTower {
    fn open(model: &Model) -> Result<Self, ModelError> {
        Ok(Self { config: model.config()?, weights: model.weights()? })
    }

    fn load(&self) -> Result<VisionTower, ModelError> {
        VisionTower::load(self.config.clone(), &self.weights, &Device::Cpu)
    }
}

/// What a safetensors output says of itself.
fn metadata(plan: &Plan, model: &Model, processor: &Processor, fingerprint: Option<&str>) -> Metadata {
    let mut metadata = Metadata::new();
    metadata.insert("path", &plan.source);
    metadata.insert("model", model.name());
    metadata.insert("tensor", plan.tensor.name());
    metadata.insert("processor", processor.config().describe());
    metadata.insert("alpha", plan.decode.alpha.name());
    metadata.insert("exif_orientation", plan.decode.exif_orientation.name());
    metadata.insert("dtype", plan.dtype.name());
    metadata.insert("compute_dtype", "f32");
    if let Some(fingerprint) = fingerprint {
        metadata.insert("weights", fingerprint);
        metadata.insert("layer", "-1");
        metadata.insert("tokens", plan.tokens.name());
        metadata.insert("norm", "none");
    }
    metadata
}

fn warn(plan: &Plan, message: &str) {
    if !plan.quiet {
        say("warning", message);
    }
}

/// Writes to standard output. A reader that has seen enough and closed the pipe is no error.
fn to_stdout(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut stdout = io::BufWriter::new(io::stdout().lock());
    match write(&mut stdout).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure {
            exit: Exit::Refused,
            message: format!("standard output cannot be written: {error}"),
        }),
        _ => Ok(()),
    }
}
