//! `config.json` → [`VisionConfig`]: which family's it is, and where in it the tower is described.

use std::path::Path;

use serde_json::Value;

use super::{
    clip,
    clips_kin::{self, Kin},
    dinov2, dinov3,
    fields::{text, wrong},
    language::{self, LanguageModel},
    open_clip,
    original_llava::OriginalLlava,
    siglip, siglip2, timm,
};
use crate::{
    bounded, json,
    model::{
        config::{Family, VisionConfig},
        config_file::LARGEST_CONFIG,
        error::ModelError,
        image_features::NoImageFeatures,
    },
};

impl VisionConfig {
    /// Reads a `config.json` of a full model (the tower is under `vision_config`) or of a vision model; its
    /// `model_type` names the family, or its `architecture` a model of timm. Or an `open_clip_config.json`.
    ///
    /// # Errors
    /// The file cannot be read, is not JSON, belongs to another model type, or holds a field whose value this
    /// tower does not support; the error names the file and the field.
    pub fn from_file(path: &Path) -> Result<Self, ModelError> {
        let text = bounded::read_to_string(path, LARGEST_CONFIG)
            .map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
        Self::from_json(&text).map_err(|reason| ModelError::Config { path: path.to_owned(), reason })
    }

    /// Parses the text of a `config.json`; the error is the reason alone.
    pub(crate) fn from_json(text: &str) -> Result<Self, String> {
        config(serde_json::from_str(text).map_err(|error| json::reason(text.as_bytes(), &error))?)
    }
}

/// Reads the root of a `config.json`; the error is the reason alone.
fn config(mut root: Value) -> Result<VisionConfig, String> {
    if let Some(model_cfg) = root.get_mut("model_cfg").map(Value::take) {
        return open_clip::config(model_cfg);
    }
    if let Some(model) = OriginalLlava::of(&root) {
        let tower = model?.mm_vision_tower;
        return Err(format!("its vision tower is another model, {tower}, without which it cannot be opened"));
    }
    if !root.is_object() {
        return Err(wrong(".", Some(&root), "an object"));
    }
    if let Some(fields) = vision_config(&root).filter(|fields| !fields.is_object()) {
        return Err(wrong("vision_config", Some(fields), "an object"));
    }
    let model_type = text(&root, "model_type")?.map(str::to_owned);
    match model_type.as_deref() {
        None | Some("timm_wrapper") if root.get("architecture").is_some() => timm::config(root),
        None if vision_config(&root).is_none() => {
            Err("has neither model_type nor vision_config, so it is no config of a vision tower".into())
        }
        None | Some("clip") => clip::whole(&root, nested(&root, "clip_vision_model")?),
        Some("clip_vision_model") => clip::config(root),
        Some("siglip") => siglip::config(nested(&root, "siglip_vision_model")?),
        Some("siglip_vision_model") => siglip::config(root),
        Some("dinov2") => dinov2::config(root, Family::Dinov2),
        Some("dinov2_with_registers") => dinov2::config(root, Family::Dinov2WithRegisters),
        Some("dinov3_vit") => dinov3::config(root),
        Some("siglip2") => siglip2::config(nested(&root, "siglip2_vision_model")?),
        Some("siglip2_vision_model") => siglip2::config(root),
        Some(other) => match (Kin::whole(other), Kin::alone(other), LanguageModel::named(other)) {
            (Some(kin), ..) => kin.config_of_whole(&root, nested(&root, kin.tower)?),
            (_, Some(kin), _) => kin.config(root),
            (_, _, Some(model)) => inside(root, model),
            (None, None, None) => Err(refusal(other, &root)),
        },
    }
}

/// Reads a vision-language model's config: the tower's, and what the language model reads of it.
fn inside(root: Value, model: &LanguageModel) -> Result<VisionConfig, String> {
    let fields = vision_config(&root).cloned().unwrap_or_else(|| model.default_tower());
    let found = text(&fields, "model_type")?.unwrap_or(model.tower).to_owned();
    let tower = match found.as_str() {
        "clip_vision_model" => clip::config(fields),
        "siglip_vision_model" => siglip::config(fields),
        "dinov2" => dinov2::config(fields, Family::Dinov2),
        "dinov2_with_registers" => dinov2::config(fields, Family::Dinov2WithRegisters),
        other => Err(format!(
            "the vision tower of this {} is a {other:?}, which is not supported, expected clip_vision_model, \
             siglip_vision_model, dinov2 or dinov2_with_registers",
            model.model_type
        )),
    }?;
    // A tower can be had whatever follows it.
    let image_features = model.image_features(&root, &tower).map_err(NoImageFeatures::Unsupported);
    Ok(VisionConfig { image_features, ..tower })
}

/// Why a `model_type` is not supported: what was found, and what could have been.
fn refusal(model_type: &str, root: &Value) -> String {
    let tower = vision_config(root).map(|tower| tower.get("model_type").and_then(Value::as_str));
    let found = match tower {
        Some(Some(tower)) => format!("is not supported; its vision_config is a {tower:?}"),
        Some(None) => "is not supported; its vision_config names no model_type".to_owned(),
        None => "is not supported; it has no vision_config, as a model of text alone has none".to_owned(),
    };
    let models: Vec<&str> = language::MODELS.iter().map(|model| model.model_type).collect();
    let kin = |of: fn(&Kin) -> &'static str| clips_kin::ALL.iter().map(of).collect::<Vec<_>>().join(", ");
    format!(
        "model_type {model_type:?} {found}; supported are clip, {}, siglip, siglip2, dinov2, dinov2_with_registers, dinov3_vit, \
         clip_vision_model, {}, siglip_vision_model, siglip2_vision_model, and the towers of {}",
        kin(|kin| kin.model_type),
        kin(|kin| kin.tower),
        models.join(", ")
    )
}

/// The vision half of a full model's config; the first CLIP configs wrote it under another name.
fn vision_config(root: &Value) -> Option<&Value> {
    let named = |name| root.get(name).filter(|value: &&Value| !value.is_null());
    named("vision_config").or_else(|| named("vision_config_dict"))
}

/// The fields of the tower in a full model's config; without any, its class's defaults hold.
fn nested(root: &Value, expected: &str) -> Result<Value, String> {
    let fields = vision_config(root).cloned().unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    // transformers reads one or the other, by the class that is loaded; where they agree, so do all classes.
    let older = root.get("vision_config_dict").and_then(Value::as_object);
    for (field, value) in older.into_iter().flatten() {
        if let Some(newer) = fields.get(field).filter(|newer| *newer != value) {
            return Err(format!("{field} is {newer} in vision_config, but {value} in vision_config_dict"));
        }
    }
    match text(&fields, "model_type")? {
        Some(inner) if inner != expected => {
            Err(format!("vision_config has model_type {inner:?}, expected {expected:?}"))
        }
        _ => Ok(fields),
    }
}

/// What tests of the families begin with.
#[cfg(test)]
pub(super) fn read(text: &str) -> VisionConfig {
    VisionConfig::from_json(text).expect(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Activation;
    use crate::model::config::{Biases, Mlp};

    #[test]
    fn absent_fields_are_those_of_vit_b_32() {
        let config = VisionConfig::from_json(r#"{"model_type": "clip_vision_model"}"#).unwrap();
        assert_eq!((config.hidden_size, config.patch_size, config.tokens()), (768, 32, 50));
        assert_eq!(config, VisionConfig::from_json(r#"{"model_type": "clip"}"#).unwrap());
    }

    #[test]
    fn an_older_spelling_that_disagrees_is_refused() {
        let text = |patch_size: u32| {
            format!(
                r#"{{"model_type": "clip", "vision_config": {{"patch_size": 14}},
                    "vision_config_dict": {{"patch_size": {patch_size}}}}}"#
            )
        };
        assert_eq!(VisionConfig::from_json(&text(14)).unwrap().patch_size, 14);
        let reason = VisionConfig::from_json(&text(16)).unwrap_err();
        assert!(
            reason.contains("patch_size is 14 in vision_config, but 16 in vision_config_dict"),
            "{reason}"
        );
    }

    /// `CLIPConfig` fills the older spelling up with defaults and takes it, `CLIPVisionConfig` takes the newer.
    #[test]
    fn an_older_spelling_that_is_silent_means_the_defaults() {
        let parse = |newer: &str, older: &str| {
            VisionConfig::from_json(&format!(
                r#"{{"model_type": "clip", "vision_config": {{{newer}}}, "vision_config_dict": {{{older}}}}}"#
            ))
        };
        let same = r#""hidden_act": "quick_gelu", "patch_size": 32, "projection_dim": 768"#;
        assert_eq!(parse(same, r#""hidden_size": 768"#).unwrap().patch_size, 32);
        for (newer, older, expected) in [
            (r#""hidden_act": "gelu""#, "", r#"hidden_act is "gelu" in vision_config, but "quick_gelu" by"#),
            ("", r#""patch_size": 14"#, "patch_size is 32 in vision_config, but 14 by vision_config_dict"),
        ] {
            let reason = parse(newer, older).unwrap_err();
            assert!(reason.contains(expected), "{reason}");
        }
    }

    /// As `CLIPModel` makes its projection: laion/CLIP-ViT-bigG-14 says 1280 outside and nothing inside.
    #[test]
    fn the_projection_is_as_wide_as_the_outer_config_says() {
        let width = |text: &str| VisionConfig::from_json(text).unwrap().projection_dim;
        for inner in ["", r#""projection_dim": 512"#] {
            let text =
                format!(r#"{{"model_type": "clip", "projection_dim": 1280, "vision_config": {{{inner}}}}}"#);
            assert_eq!(width(&text), Some(1280));
        }
        let inner = r#"{"model_type": "clip", "vision_config": {"projection_dim": 20}}"#;
        assert_eq!(width(inner), Some(512), "CLIPConfig's default");
        assert_eq!(width(r#"{"model_type": "clip_vision_model", "projection_dim": 20}"#), Some(20));
    }

    #[test]
    fn the_tower_of_a_full_model_is_under_vision_config() {
        let text = r#"{"model_type": "clip", "hidden_size": 1, "projection_dim": 768, "vision_config": {
            "model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096,
            "projection_dim": 768, "num_hidden_layers": 24, "num_attention_heads": 16, "patch_size": 14}}"#;
        assert_eq!(VisionConfig::from_json(text).unwrap(), VisionConfig::vit_large_patch14());
    }

    #[test]
    fn the_model_type_names_the_family_and_its_defaults() {
        let siglip = VisionConfig::from_json(r#"{"model_type": "siglip"}"#).unwrap();
        assert_eq!(siglip, VisionConfig::from_json(r#"{"model_type": "siglip_vision_model"}"#).unwrap());
        assert_eq!((siglip.family, siglip.tokens(), siglip.prefix_tokens()), (Family::Siglip, 196, 0));
        assert!(siglip.attention_pool);

        let naflex = VisionConfig::from_json(r#"{"model_type": "siglip2"}"#).unwrap();
        assert_eq!(naflex, VisionConfig::from_json(r#"{"model_type": "siglip2_vision_model"}"#).unwrap());
        assert_eq!((naflex.family, naflex.patches(), naflex.image_size), (Family::Siglip2, 256, 256));

        let dinov2 = VisionConfig::from_json(r#"{"model_type": "dinov2", "image_size": 518}"#).unwrap();
        assert_eq!((dinov2.family, dinov2.intermediate_size, dinov2.tokens()), (Family::Dinov2, 3072, 1370));
        let text = r#"{"model_type": "dinov2_with_registers", "patch_size": 14, "use_swiglu_ffn": true, "hidden_size": 1536}"#;
        let giant = VisionConfig::from_json(text).unwrap();
        assert_eq!((giant.mlp, giant.intermediate_size), (Mlp::Gated(Activation::Silu), 4096));
        assert_eq!((giant.prefix_tokens(), giant.tokens()), (5, 261));

        let dinov3 = VisionConfig::from_json(r#"{"model_type": "dinov3_vit"}"#).unwrap();
        assert_eq!((dinov3.family, dinov3.hidden_size, dinov3.tokens()), (Family::Dinov3, 384, 197));
        assert_eq!((dinov3.biases, dinov3.rope_theta), (Biases { key: false, ..Biases::ALL }, Some(100.0)));
        assert_eq!(dinov3.mlp, Mlp::Plain(Activation::Gelu));
        let text = r#"{"model_type": "dinov3_vit", "use_gated_mlp": true, "hidden_act": "silu", "num_register_tokens": 4}"#;
        let huge = VisionConfig::from_json(text).unwrap();
        assert_eq!((huge.mlp, huge.prefix_tokens()), (Mlp::Gated(Activation::Silu), 5));
    }

    #[test]
    fn what_the_tower_cannot_do_is_refused_by_name() {
        for (text, part) in [
            (r#"{"model_type": "vit"}"#, "model_type \"vit\""),
            (r#"{"model_type": "siglip2_vision_model", "num_patches": 255}"#, "num_patches is 255"),
            (r#"{"model_type": "siglip2", "vision_config": {"num_patches": 0}}"#, "num_patches is 0"),
            (r#"{"model_type": "llama"}"#, "no vision_config, as a model of text alone"),
            (
                r#"{"model_type": "qwen2_vl", "vision_config": {"model_type": "qwen2_vl"}}"#,
                "vision_config is a \"qwen2_vl\"",
            ),
            (r#"{"model_type": "llava", "vision_config": {"model_type": "pixtral"}}"#, "is a \"pixtral\""),
            (r#"{"model_type": "llava", "mm_vision_tower": "a/b"}"#, "another model, a/b"),
            (
                r#"{"model_type": "siglip", "vision_config": {"model_type": "clip_vision_model"}}"#,
                "siglip_vision",
            ),
            (r#"{"model_type": "siglip_vision_model", "hidden_act": "relu"}"#, "hidden_act \"relu\""),
            (r#"{"model_type": "dinov2", "head_dim": 32}"#, "head_dim is 32"),
            (r#"{"model_type": "dinov3_convnext"}"#, "dinov3_convnext"),
            (r#"{"model_type": "dinov3_vit", "hidden_size": 36}"#, "a multiple of 4"),
            (r#"{"model_type": "dinov3_vit", "rope_theta": 0}"#, "rope_theta is 0"),
            (r#"{"model_type": "dinov3_vit", "hidden_act": "mish"}"#, "hidden_act \"mish\""),
            (r#"{"model_type": "dinov2", "mlp_ratio": 0}"#, "intermediate_size is 0"),
            (r#"{"model_type": "dinov2", "num_channels": 1}"#, "num_channels is 1"),
            (
                r#"{"model_type": "dinov2_with_registers", "num_register_tokens": 2000000}"#,
                "num_register_tokens",
            ),
            (r#"{"model_type": "clip", "vision_config": {"model_type": "bert"}}"#, "\"bert\""),
            ("{}", "neither model_type nor vision_config"),
            ("[", "not valid JSON"),
            (r#"{"model_type": "clip_vision_model", "hidden_act": "swish9"}"#, "hidden_act \"swish9\""),
            (r#"{"model_type": "clip_vision_model", "num_channels": 4}"#, "num_channels is 4"),
            (r#"{"model_type": "clip_vision_model", "num_attention_heads": 7}"#, "multiple of num_attention"),
            (r#"{"model_type": "clip_vision_model", "patch_size": 0}"#, "patch_size is 0"),
            (r#"{"model_type": "clip_vision_model", "patch_size": 225}"#, "larger than image_size"),
            (r#"{"model_type": "clip_vision_model", "image_size": [224, 336]}"#, "only squares"),
            (r#"{"model_type": "clip_vision_model", "hidden_size": -1}"#, "-1"),
            (r#"{"model_type": "clip_vision_model", "layer_norm_eps": 0}"#, "layer_norm_eps is 0"),
        ] {
            let reason = VisionConfig::from_json(text).unwrap_err();
            assert!(reason.contains(part), "{text}: {reason}");
        }
    }
}
