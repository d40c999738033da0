//! What outputs say of the model and of what was asked of it.

use super::{options::Options, request::TensorKind, unloaded::UnloadedTower};
use crate::{
    device::{Kernels, Road},
    model::{Model, ModelError},
    output::Metadata,
    processor::Processor,
};

/// All that decides the numbers of an image's tensors.
pub(super) fn metadata(
    options: &Options,
    model: &Model,
    processor: &Processor,
    tower: Option<(&UnloadedTower, &Road)>,
) -> Result<Metadata, ModelError> {
    let request = &options.request;
    let mut settings = Metadata::new();
    let names = request.tensors.iter().map(|kind| kind.name()).collect::<Vec<_>>();
    settings.insert("model", model.name());
    settings.insert("tensor", names.join(","));
    if let Some(commit) = model.commit() {
        settings.insert("revision", commit);
    }
    settings.insert("processor", processor.config().describe());
    settings.insert("processor_backend", processor.config().backend.name());
    settings.insert("fit", options.fit.name());
    if options.tiles {
        settings.insert("tiles", true);
    }
    if let Some(patches) = processor.config().patches() {
        settings.insert("max_num_patches", patches.max_num_patches);
        settings.insert("pad", request.pad);
    }
    settings.insert("alpha", options.alpha.name());
    settings.insert("exif_orientation", options.exif_orientation.name());
    settings.insert("compute_dtype", "f32");
    if let Some(drawing) = request.draw {
        settings.insert("drawing", drawing);
    }
    let Some((UnloadedTower { config, weights, .. }, road)) = tower else { return Ok(settings) };
    settings.insert("matmul_precision", options.matmul_precision.name());
    settings.insert("compute", road.name());
    // What machines may differ in is `compute` alone; the parts of an output are of one road.
    if road.kernels() == Kernels::Candle {
        settings.insert("kernels", road.kernels().name());
    }
    if road.is_gpu() {
        settings.insert("device", road.device_kind());
    }
    settings.insert("weights", weights.fingerprint()?);
    settings.insert("family", config.family.name());
    settings.insert("config", config.describe());
    let has = |kind| request.tensors.contains(&kind);
    if request.tensors.iter().any(|kind| kind.has_layers()) {
        settings.insert("layer", request.layers.as_ref().map_or("all".into(), ToString::to_string));
    } else if has(TensorKind::LastHiddenState) {
        settings.insert("layer", "-1");
    }
    if let (true, Ok(features)) = (has(TensorKind::ImageFeatures), &config.image_features) {
        settings.insert("image_features", features.describe());
    }
    if request.tensors.iter().any(|kind| kind.has_tokens()) {
        let layout = if request.grid { "grid" } else { "list" };
        settings.insert("tokens", request.kept_tokens().name());
        settings.insert("token_layout", layout);
        settings.insert("class_tokens", config.class_tokens);
        settings.insert("register_tokens", config.register_tokens);
        // What is applied to last_hidden_state; hidden_states have none in any family.
        let normalized = has(TensorKind::LastHiddenState) && config.normalizes_output();
        settings.insert(
            "norm",
            match (normalized, has(TensorKind::HiddenStates)) {
                (false, _) => "none".to_owned(),
                (true, false) => config.final_norm().to_owned(),
                (true, true) => {
                    format!("{} on last_hidden_state, none on hidden_states", config.final_norm())
                }
            },
        );
    }
    Ok(settings)
}
