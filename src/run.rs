//! A plan, carried out: inputs through the pipeline into the target.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use candle_core::Device;
use clip_features::{
    extractor::{ExtractError, encode, pixel_array, preprocess},
    image::DecodeOptions,
    input::Item,
    model::{Model, ModelError, ModelSpec, VisionConfig, VisionTower, Wanted, Weights},
    output::{Metadata, OutputFile},
    pipeline::{self, Encoded, Failure, Layout, Prepare, Stage, Stages},
    processor::{PixelValues, Processor},
    request::{Part, Request, TensorKind},
};

use crate::{
    cli::{Exit, Heatmap, Inputs, Plan, Progress, say},
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

fn try_run(mut plan: Plan) -> Result<Exit, Ended> {
    // Fails only if the pool is there already, and nothing has computed yet.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(plan.threads).build_global();
    // Everything that can be refused is looked at before the work, so that a mistake costs no time.
    let opened = Opened::open(&plan).map_err(Ended::refused)?;
    plan.target =
        plan.target.of(opened.parts.iter().map(|part| part.name()).collect()).map_err(Ended::Refused)?;
    let plan = &plan;
    let tensors = opened.tensors(&plan.request);
    let image_bytes = tensors
        .iter()
        .map(|(_, shape)| Some((shape.as_ref()?.iter().product::<usize>() * plan.dtype.size()) as u64))
        .sum::<Option<u64>>();
    let mut images = images(&plan.inputs, &plan.target).map_err(Ended::Refused)?;
    preflight::check_names(&mut images, &plan.target).map_err(Ended::Refused)?;
    if plan.dry_run {
        let complete = Complete::peek(&plan.target);
        let text = preflight::describe(plan, &opened.settings, &images, &complete, &tensors, image_bytes);
        print_line(text.trim_end())?;
        return Ok(Exit::Done);
    }
    if let Some(heatmap) = &plan.heatmap {
        opened.check_heatmap(heatmap)?;
    }
    let interrupt = Interrupt::listen();
    let stored = Stored { dtype: plan.dtype, settings: &opened.settings };
    let (sink, complete) = Sink::open(&plan.target, stored, images.known(), image_bytes, plan.overwrite)
        .map_err(Ended::refused)?;
    preflight::check_space(&images, &plan.target, &complete, image_bytes).map_err(Ended::Refused)?;

    let load = OnceLock::new();
    let mut writer = Writer {
        plan,
        stored,
        sink,
        progress: Progress::new(plan.progress, images.count()),
        failures: plan.failures.as_deref().map(create_failures).transpose()?,
        parts: &opened.parts,
        tower: opened.tower.as_ref().map(|tower| &tower.config),
        load: &load,
    };
    if opened.tower.is_some() && matches!(plan.model, ModelSpec::Random { .. }) && !plan.quiet {
        writer.progress.say("warning", "random weights: the features mean nothing");
    }
    let workers = match opened.tower {
        // Decoding is a small part of the work beside the tower, and all of it without.
        Some(_) => plan.threads.div_ceil(4),
        None => plan.threads,
    };
    let layout = Layout { workers, batch: plan.batch };
    let prepare = prepare(&opened, plan.decode.clone(), plan.heatmap.is_some(), complete);
    let mut encode = encoder(opened.tower.as_ref(), plan, &load);
    let stages =
        Stages { prepare, encode: &mut encode, write: &mut |item, outcome| writer.take(item, outcome) };
    let ran = pipeline::run(images.into_iter(), layout, interrupt.channel(), stages);
    let interrupted = interrupt.happened();
    let tally = writer.end(interrupted || ran.is_err(), !matches!(plan.inputs, Inputs::One(_)))?;
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
    /// The tensors of each image.
    parts: Vec<Part>,
    /// What the outputs say of themselves.
    settings: Metadata,
}

impl Opened {
    fn open(plan: &Plan) -> Result<Self, ModelError> {
        let model = Model::open(&plan.model)?;
        let processor = model.processor_with(plan.fit, plan.image_size)?;
        let request = &plan.request;
        if !request.needs_tower() {
            let parts = vec![Part { kind: TensorKind::PixelValues, layer: None }];
            let settings = settings(plan, &model, &processor, None)?;
            return Ok(Self { processor, tower: None, parts, settings });
        }
        let mut config = model.config()?;
        config.interpolate_pos_encoding |= plan.image_size.is_some();
        if let Some((height, width)) = processor.output_size() {
            config.check(height as usize, width as usize)?;
        }
        let tower = UnloadedTower { wanted: request.wanted(&config)?, weights: model.weights()?, config };
        tower.wanted.check(&tower.config, &tower.weights)?;
        let settings = settings(plan, &model, &processor, Some(&tower))?;
        Ok(Self { processor, parts: request.parts(&tower.config)?, tower: Some(tower), settings })
    }

    /// Sees that the picture can be written and its query is a patch, as far as that does not depend on the image.
    fn check_heatmap(&self, heatmap: &Heatmap) -> Result<(), Ended> {
        drop(OutputFile::create(&heatmap.path).map_err(Ended::refused)?);
        match (heatmap.query, self.processor.output_size(), &self.tower) {
            (Some(query), Some((height, width)), Some(tower)) => {
                let patch = tower.config.patch_size;
                query.check(height as usize / patch, width as usize / patch).map_err(Ended::Refused)
            }
            _ => Ok(()),
        }
    }

    /// Names and shapes of an image's tensors; none for a shape that depends on the picture.
    fn tensors(&self, request: &Request) -> Vec<(String, Option<Vec<usize>>)> {
        let size = self.processor.output_size().map(|(height, width)| (height as usize, width as usize));
        let shape = |kind, (height, width)| match &self.tower {
            Some(tower) => request.shape(kind, &tower.config, height, width),
            None => vec![1, 3, height, width],
        };
        self.parts.iter().map(|part| (part.name(), size.map(|size| shape(part.kind, size)))).collect()
    }
}

/// A tower whose config and headers have been checked, and whose weights are still on disk.
struct UnloadedTower {
    wanted: Wanted,
    config: VisionConfig,
    weights: Weights,
}

/// What the outputs say of themselves, all but the image.
fn settings(
    plan: &Plan,
    model: &Model,
    processor: &Processor,
    tower: Option<&UnloadedTower>,
) -> Result<Metadata, ModelError> {
    let request = &plan.request;
    let mut settings = Metadata::new();
    let names = request.tensors.iter().map(|kind| kind.name()).collect::<Vec<_>>();
    settings.insert("model", model.name());
    settings.insert("tensor", names.join(","));
    settings.insert("processor", processor.config().describe());
    settings.insert("fit", plan.fit.name());
    settings.insert("alpha", plan.decode.alpha.name());
    settings.insert("exif_orientation", plan.decode.exif_orientation.name());
    settings.insert("dtype", plan.dtype.name());
    settings.insert("compute_dtype", "f32");
    let Some(UnloadedTower { config, weights, .. }) = tower else { return Ok(settings) };
    settings.insert("weights", weights.fingerprint()?);
    settings.insert("family", config.family.name());
    settings.insert("patch_size", config.patch_size);
    settings.insert("interpolate_pos_encoding", config.interpolate_pos_encoding);
    let has = |kind| request.tensors.contains(&kind);
    if request.tensors.iter().any(|kind| kind.has_layers()) {
        settings.insert("layer", request.layers.as_ref().map_or("all".into(), ToString::to_string));
    } else if has(TensorKind::LastHiddenState) {
        settings.insert("layer", "-1");
    }
    if request.tensors.iter().any(|kind| kind.has_tokens()) {
        let layout = if request.grid { "grid" } else { "list" };
        settings.insert("tokens", request.kept_tokens().name());
        settings.insert("token_layout", layout);
        settings.insert("class_tokens", config.class_tokens);
        settings.insert("register_tokens", config.register_tokens);
        // What transformers applies to last_hidden_state; hidden_states have none in any family.
        let normalized = has(TensorKind::LastHiddenState) && config.family.normalizes_output();
        settings.insert(
            "norm",
            match (normalized, has(TensorKind::HiddenStates)) {
                (false, _) => "none".to_owned(),
                (true, false) => config.family.final_norm().to_owned(),
                (true, true) => {
                    format!("{} on last_hidden_state, none on hidden_states", config.family.final_norm())
                }
            },
        );
    }
    Ok(settings)
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

/// The tower's stage. The weights are loaded when the first image needs them, while others are being decoded.
fn encoder<'a>(
    tower: Option<&'a UnloadedTower>,
    plan: &'a Plan,
    load: &'a OnceLock<Duration>,
) -> impl FnMut(Vec<PixelValues>) -> Result<Encoded, Ended> + 'a {
    let mut loaded: Option<VisionTower> = None;
    move |batch| {
        let Some(UnloadedTower { wanted, config, weights }) = tower else {
            let images = batch.into_iter().map(|values| vec![pixel_array(values)]).collect();
            return Ok(Encoded { images, ..Encoded::default() });
        };
        let ready = match &mut loaded {
            Some(ready) => ready,
            none => {
                let started = Instant::now();
                let ready = VisionTower::load_for(wanted, config.clone(), weights, &Device::Cpu)
                    .map_err(Ended::refused)?;
                let _ = load.set(started.elapsed());
                none.insert(ready)
            }
        };
        let started = Instant::now();
        let images = encode(ready, &batch, &plan.request).map_err(Ended::refused)?;
        Ok(Encoded { images, elapsed: started.elapsed() })
    }
}
