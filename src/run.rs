//! A plan, carried out: inputs through the pipeline into the target.

use std::{sync::Arc, time::Instant};

use clip_features::{
    extractor::{ExtractError, encode, pixel_array, preprocess},
    hub::{self, refetch_hint},
    image::DecodeOptions,
    input::Item,
    model::{ModelError, ModelSpec, VisionTower},
    output::{ArchiveNames, OutputFile},
    pipeline::{self, Encoded, Failure, Layout, Prepare, Stage, Stages},
    processor::PixelValues,
};

use crate::{
    cli::{Exit, Inputs, Plan, Progress, Target, say},
    inputs::images,
    interrupt::Interrupt,
    opened::{Opened, UnloadedTower},
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
pub(crate) fn run(plan: Plan) -> Exit {
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

/// The least that a file of an archive holds beside its images.
const SHARD_HEADER: u64 = 32 << 10;

fn try_run(mut plan: Plan) -> Result<Exit, Ended> {
    rayon::ThreadPoolBuilder::new().num_threads(plan.threads).build_global().map_err(Ended::refused)?;
    // Everything that can be refused is looked at before the work, so that a mistake costs no time.
    let wanted = if plan.request.needs_tower() { hub::Wanted::Weights } else { hub::Wanted::Configs };
    let spec = plan.model.obtain(wanted).map_err(Ended::refused)?;
    let opened = Opened::open(&plan, &spec).map_err(Ended::model)?;
    plan.target = plan.target.of(opened.names()).map_err(Ended::Refused)?;
    let plan = &plan;
    let tensors = opened.tensors(&plan.request);
    let bytes = |shape: &[usize]| (shape.iter().product::<usize>() * plan.dtype.size()) as u64;
    let image_bytes = tensors.iter().map(|(_, shape)| shape.as_deref().map(bytes)).sum::<Option<u64>>();
    if let (Target::Archive(ArchiveNames { path, shard_size: Some(limit), .. }), Some(image)) =
        (&plan.target, image_bytes)
        && *limit < image + SHARD_HEADER
    {
        let message = format!("--shard-size {limit}: an image of {image} bytes and a header do not fit");
        return Err(Ended::Refused(format!("{}: {message}", path.display())));
    }
    let mut images = images(plan).map_err(Ended::Refused)?;
    preflight::check_names(&mut images, &plan.target).map_err(Ended::Refused)?;
    if let Target::File(path, ..) | Target::Archive(ArchiveNames { path, .. }) = &plan.target {
        OutputFile::check_directory(path).map_err(Ended::refused)?;
    }
    let complete = Complete::peek(&plan.target, &opened.settings, plan.overwrite).map_err(Ended::refused)?;
    if plan.dry_run {
        let text = preflight::describe(plan, &opened.settings, &images, &complete, &tensors, image_bytes);
        print_line(text.trim_end())?;
        return Ok(Exit::Done);
    }
    if let Some(heatmap) = &plan.heatmap {
        opened.check_heatmap(heatmap).map_err(Ended::Refused)?;
    }
    preflight::check_space(&images, &plan.target, &complete, image_bytes).map_err(Ended::Refused)?;
    let interrupt = Interrupt::listen();
    // Before the target is touched, so that weights that do not load leave it as it is; unless nothing is to be done.
    // A single file is not touched before its tensors are there, so its weights may be read as late as they are needed.
    let started = Instant::now();
    let single = matches!(plan.target, Target::Nothing | Target::File(..) | Target::Stdout(_));
    let remaining = preflight::remaining(&images, &complete);
    let loaded = match &opened.tower {
        Some(tower) if remaining != Some(0) => {
            Some(tower.load(single && remaining == Some(1)).map_err(Ended::model)?)
        }
        _ => None,
    };
    let load = loaded.as_ref().map(|_| started.elapsed());
    let stored = Stored { dtype: plan.dtype, settings: &opened.settings };
    let (sink, complete) = Sink::open(&plan.target, stored, images.known(), image_bytes, plan.overwrite)
        .map_err(Ended::refused)?;

    let mut writer = Writer {
        plan,
        stored,
        sink,
        progress: Progress::new(plan.progress, images.count()),
        failures: plan.failures.as_deref().map(create_failures).transpose()?,
        parts: &opened.parts,
        tower: opened.tower.as_ref().map(|tower| &tower.config),
        load,
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
    let prepare = prepare(&opened, plan.decode.clone(), plan.heatmap.is_some(), complete);
    let mut encode = encoder(opened.tower.as_ref(), loaded, plan);
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

/// The first stage, on worker threads.
fn prepare(opened: &Opened, decode: DecodeOptions, keep: bool, complete: Complete) -> Arc<Prepare> {
    let processor = opened.processor.clone();
    let config = opened.tower.as_ref().map(|tower| tower.config.clone());
    Arc::new(move |item: &Item| {
        if complete.contains(item) {
            return Ok(None);
        }
        let failure = |stage, error: &dyn std::error::Error| Failure { stage, reason: error.to_string() };
        let bytes = item.source.read().map_err(|error| failure(Stage::Read, &error))?;
        let ready = preprocess(&bytes, &decode, &processor, keep).map_err(|error| match &error {
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

/// The tower's stage; without a tower, the stage that its input passes by.
fn encoder<'a>(
    tower: Option<&'a UnloadedTower>,
    mut loaded: Option<VisionTower>,
    plan: &'a Plan,
) -> impl FnMut(Vec<PixelValues>) -> Result<Encoded, Ended> + 'a {
    move |batch| {
        let Some(unloaded) = tower else {
            let images = batch.into_iter().map(|values| vec![pixel_array(values)]).collect();
            return Ok(Encoded { images, ..Encoded::default() });
        };
        let tower = match &mut loaded {
            Some(tower) => tower,
            // An image that was believed complete turned out not to be.
            none => none.insert(unloaded.load(false).map_err(Ended::model)?),
        };
        let started = Instant::now();
        let images = encode(tower, &batch, &plan.request).map_err(Ended::model)?;
        Ok(Encoded { images, elapsed: started.elapsed() })
    }
}
