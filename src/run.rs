//! A plan, carried out: inputs through the pipeline into the target.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use candle_core::Device;
use clip_features::{
    extractor::{ExtractError, TensorKind, encode, pixel_array, preprocess},
    hub::{Wanted, refetch_hint},
    image::DecodeOptions,
    input::Item,
    model::{Model, ModelError, ModelSpec, VisionConfig, VisionTower, Weights},
    output::Metadata,
    pipeline::{self, Encoded, Failure, Layout, Prepare, Stage, Stages},
    processor::{PixelValues, Processor},
};

use crate::{
    cli::{Exit, Inputs, Plan, Progress, say},
    inputs::images,
    interrupt::Interrupt,
    preflight,
    sink::{Complete, Sink, Stored},
    writer::{Writer, create_failures, print_line},
};

/// Why a run ends before its inputs do.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The usage, the model or the output is to blame.
    Refused(String),
    /// Whoever read our output has seen enough.
    ReaderGone,
    /// As many images failed as the user allows.
    TooManyFailures,
}

impl Ended {
    fn refused(error: impl std::error::Error) -> Self {
        Self::Refused(error.to_string())
    }

    /// The model is to blame. A damaged file of the hub's cache can be had again.
    fn model(error: ModelError) -> Self {
        let hint = match &error {
            ModelError::Corrupt { path, .. } => refetch_hint(path),
            _ => None,
        };
        Self::Refused(hint.map_or_else(|| error.to_string(), |hint| format!("{error}\nhint: {hint}")))
    }
}

/// Runs a plan and gives the exit code.
pub(crate) fn run(plan: &Plan) -> Exit {
    match try_run(plan) {
        Ok(exit) => exit,
        Err(Ended::ReaderGone) => Exit::Done,
        Err(Ended::TooManyFailures) => Exit::SomeFailed,
        Err(Ended::Refused(message)) => {
            say("error", &message);
            Exit::Refused
        }
    }
}

fn try_run(plan: &Plan) -> Result<Exit, Ended> {
    // Fails only if the pool is there already, and nothing has computed yet.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(plan.threads).build_global();
    // Everything that can be refused is looked at before the work, so that a mistake costs no time.
    let wanted = if plan.tensor == TensorKind::PixelValues { Wanted::Configs } else { Wanted::Weights };
    let spec = plan.model.obtain(wanted).map_err(Ended::refused)?;
    let opened = Opened::open(plan, &spec).map_err(Ended::model)?;
    let image_bytes =
        opened.shape.as_ref().map(|shape| (shape.iter().product::<usize>() * plan.dtype.size()) as u64);
    let mut images = images(&plan.inputs, &plan.target).map_err(Ended::Refused)?;
    preflight::check_names(&mut images, &plan.target).map_err(Ended::Refused)?;
    let complete = Complete::peek(&plan.target, &opened.settings, plan.overwrite);
    if plan.dry_run {
        let text = preflight::describe(plan, &opened.settings, &images, &complete, opened.shape.as_deref());
        print_line(text.trim_end())?;
        return Ok(Exit::Done);
    }
    preflight::check_space(&images, &plan.target, &complete, image_bytes).map_err(Ended::Refused)?;
    let interrupt = Interrupt::listen();
    let stored = Stored { dtype: plan.dtype, settings: &opened.settings };
    let (sink, complete) = Sink::open(&plan.target, stored, images.known(), image_bytes, plan.overwrite)
        .map_err(Ended::refused)?;

    let load = OnceLock::new();
    let mut writer = Writer {
        plan,
        stored,
        sink,
        progress: Progress::new(plan.progress, images.count()),
        failures: plan.failures.as_deref().map(create_failures).transpose()?,
        grid: opened.tower.as_ref().map(|tower| [tower.config.grid(); 2]),
        load: &load,
    };
    if opened.tower.is_some() && matches!(spec, ModelSpec::Random { .. }) && !plan.quiet {
        writer.progress.say("warning", "random weights: the features mean nothing");
    }
    let workers = match opened.tower {
        // Decoding is a small part of the work beside the tower, and all of it without.
        Some(_) => plan.threads.div_ceil(4),
        None => plan.threads,
    };
    let layout = Layout { workers, batch: plan.batch };
    let prepare = prepare(&opened, plan.decode.clone(), complete);
    let mut encode = encoder(opened.tower.as_ref(), plan, &load);
    let stages =
        Stages { prepare, encode: &mut encode, write: &mut |item, outcome| writer.take(item, outcome) };
    let ran = pipeline::run(images.into_iter(), layout, interrupt.channel(), stages);
    let interrupted = interrupt.happened();
    let tally = writer.end(&ran, interrupted, !matches!(plan.inputs, Inputs::One(_)))?;
    ran?;
    Ok(match tally.failed {
        _ if interrupted => Exit::Interrupted,
        0 => Exit::Done,
        _ => Exit::SomeFailed,
    })
}

/// What is known of a run before its first image.
struct Opened {
    processor: Processor,
    /// The tower, unless only its input is wanted.
    tower: Option<UnloadedTower>,
    /// The shape of an image's tensor, where it does not depend on the image.
    shape: Option<Vec<usize>>,
    /// What the outputs say of themselves.
    settings: Metadata,
}

impl Opened {
    fn open(plan: &Plan, spec: &ModelSpec) -> Result<Self, ModelError> {
        let model = Model::open(spec)?;
        let processor = model.processor()?;
        let tower = match plan.tensor {
            TensorKind::PixelValues => None,
            TensorKind::LastHiddenState => {
                Some(UnloadedTower { config: model.config()?, weights: model.weights()? })
            }
        };
        let shape = match &tower {
            Some(UnloadedTower { config, .. }) => {
                Some(vec![1, plan.request.tokens.count(config.tokens()), config.hidden_size])
            }
            None => {
                processor.output_size().map(|(height, width)| vec![1, 3, height as usize, width as usize])
            }
        };
        let fingerprint = tower.as_ref().map(|tower| tower.weights.fingerprint()).transpose()?;
        let settings = settings(plan, &model, &processor, fingerprint.as_deref());
        Ok(Self { processor, tower, shape, settings })
    }
}

/// A tower whose config and headers have been checked, and whose weights are still on disk.
struct UnloadedTower {
    config: VisionConfig,
    weights: Weights,
}

/// What the outputs say of themselves, all but the image.
fn settings(plan: &Plan, model: &Model, processor: &Processor, fingerprint: Option<&str>) -> Metadata {
    let mut settings = Metadata::new();
    settings.insert("model", model.name());
    if let Some(commit) = model.commit() {
        settings.insert("revision", commit);
    }
    settings.insert("tensor", plan.tensor.name());
    settings.insert("processor", processor.config().describe());
    settings.insert("alpha", plan.decode.alpha.name());
    settings.insert("exif_orientation", plan.decode.exif_orientation.name());
    settings.insert("dtype", plan.dtype.name());
    settings.insert("compute_dtype", "f32");
    if let Some(fingerprint) = fingerprint {
        settings.insert("weights", fingerprint);
        settings.insert("layer", "-1");
        settings.insert("tokens", plan.request.tokens.name());
        settings.insert("norm", "none");
    }
    settings
}

/// The first stage, on worker threads.
fn prepare(opened: &Opened, decode: DecodeOptions, complete: Complete) -> Arc<Prepare> {
    let processor = opened.processor.clone();
    let config = opened.tower.as_ref().map(|tower| tower.config.clone());
    Arc::new(move |item: &Item| {
        if complete.contains(item) {
            return Ok(None);
        }
        let failure = |stage, error: &dyn std::error::Error| Failure { stage, reason: error.to_string() };
        let bytes = item.source.read().map_err(|error| failure(Stage::Read, &error))?;
        let ready = preprocess(&bytes, &decode, &processor).map_err(|error| match &error {
            ExtractError::Decode(_) => failure(Stage::Decode, &error),
            _ => failure(Stage::Preprocess, &error),
        })?;
        if let Some(config) = &config {
            let values = &ready.pixel_values;
            config
                .check(values.height(), values.width())
                .map_err(|error| failure(Stage::Preprocess, &error))?;
        }
        Ok(Some(ready))
    })
}

/// The tower's stage. The weights are loaded when the first image needs them, while others are being decoded.
fn encoder<'a>(
    tower: Option<&'a UnloadedTower>,
    plan: &'a Plan,
    load: &'a OnceLock<Duration>,
) -> impl FnMut(Vec<PixelValues>) -> Result<Encoded, Ended> + 'a {
    let mut loaded: Option<VisionTower> = None;
    move |batch| {
        let Some(UnloadedTower { config, weights }) = tower else {
            let images = batch.into_iter().map(|values| vec![pixel_array(values)]).collect();
            return Ok(Encoded { images, ..Encoded::default() });
        };
        let ready = match &mut loaded {
            Some(ready) => ready,
            none => {
                let started = Instant::now();
                let ready = VisionTower::load(config.clone(), weights, &Device::Cpu).map_err(Ended::model)?;
                let _ = load.set(started.elapsed());
                none.insert(ready)
            }
        };
        let started = Instant::now();
        let images = encode(ready, &batch, &plan.request).map_err(Ended::refused)?;
        Ok(Encoded { images, elapsed: started.elapsed() })
    }
}
