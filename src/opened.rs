//! The model of a run, opened: everything that can be refused is looked at before the work.

use candle_core::Device;
use clip_features::{
    model::{Model, ModelError, ModelSpec, VisionConfig, VisionTower, Wanted, Weights},
    output::{Metadata, OutputFile},
    processor::Processor,
    request::{Part, Request, TensorKind},
};

use crate::cli::{Heatmap, Plan};

/// What is known of a run before its first image.
pub(crate) struct Opened {
    pub(crate) processor: Processor,
    /// The tower, unless only its input is wanted.
    pub(crate) tower: Option<UnloadedTower>,
    /// The tensors of each image.
    pub(crate) parts: Vec<Part>,
    /// What the outputs say of themselves.
    pub(crate) settings: Metadata,
}

impl Opened {
    pub(crate) fn open(plan: &Plan, spec: &ModelSpec) -> Result<Self, ModelError> {
        let model = Model::open(spec)?;
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

    /// Sees that a heatmap can be written and its query is a patch, as far as that does not depend on the image. The
    /// error is the reason.
    pub(crate) fn check_heatmap(&self, heatmap: &Heatmap) -> Result<(), String> {
        drop(OutputFile::create(&heatmap.path).map_err(|error| error.to_string())?);
        match (heatmap.query, self.processor.output_size(), &self.tower) {
            (Some(query), Some((height, width)), Some(tower)) => {
                let patch = tower.config.patch_size;
                query.check(height as usize / patch, width as usize / patch)
            }
            _ => Ok(()),
        }
    }

    /// The tensors' names.
    pub(crate) fn names(&self) -> Vec<String> {
        self.parts.iter().map(|part| part.name()).collect()
    }

    /// Names and shapes of an image's tensors; none for a shape that depends on the picture.
    pub(crate) fn tensors(&self, request: &Request) -> Vec<(String, Option<Vec<usize>>)> {
        let size = self.processor.output_size().map(|(height, width)| (height as usize, width as usize));
        let shape = |kind, (height, width)| match &self.tower {
            Some(tower) => request.shape(kind, &tower.config, height, width),
            None => vec![1, 3, height, width],
        };
        self.parts.iter().map(|part| (part.name(), size.map(|size| shape(part.kind, size)))).collect()
    }
}

/// A tower whose config and headers have been checked, and whose weights are still on disk.
pub(crate) struct UnloadedTower {
    pub(crate) wanted: Wanted,
    pub(crate) config: VisionConfig,
    pub(crate) weights: Weights,
}

impl UnloadedTower {
    /// Reads the weights, or leaves them for the forward pass to read if there will be one only, and it reads them once.
    pub(crate) fn load(&self, once: bool) -> Result<VisionTower, ModelError> {
        let (wanted, config, weights) = (&self.wanted, self.config.clone(), &self.weights);
        if once && wanted.attentions.is_empty() {
            return VisionTower::stream_for(wanted, config, weights);
        }
        VisionTower::load_for(wanted, config, weights, &Device::Cpu)
    }
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
    if let Some(commit) = model.commit() {
        settings.insert("revision", commit);
    }
    settings.insert("processor", processor.config().describe());
    settings.insert("fit", plan.fit.name());
    settings.insert("alpha", plan.decode.alpha.name());
    settings.insert("exif_orientation", plan.decode.exif_orientation.name());
    settings.insert("dtype", plan.dtype.name());
    settings.insert("compute_dtype", "f32");
    let Some(UnloadedTower { config, weights, .. }) = tower else { return Ok(settings) };
    settings.insert("weights", weights.fingerprint()?);
    settings.insert("family", config.family.name());
    settings.insert("config", config.describe());
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
