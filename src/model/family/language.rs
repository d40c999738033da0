//! Vision-language models: whose tower is inside, and what its language model reads of it.
//!
//! The rules are those of the classes' `get_image_features` and projectors in transformers 5.23.0. All of these hold a tower of
//! another family under `vision_config`.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::fields::fields;
use crate::model::{
    config::VisionConfig,
    image_features::{Function, ImageFeatures, Of, Step},
};

/// A class of vision-language models.
pub(super) struct LanguageModel {
    /// Its `model_type`.
    pub(super) model_type: &'static str,
    /// The tower's, where `vision_config` has none.
    pub(super) tower: &'static str,
    /// The language model's, where `text_config` has none.
    text: &'static str,
    features: fn(&Fields, &VisionConfig) -> Result<ImageFeatures, String>,
}

/// All that are read.
pub(super) const MODELS: [LanguageModel; 10] = {
    const CLIP: &str = "clip_vision_model";
    const SIGLIP: &str = "siglip_vision_model";
    [
        LanguageModel { model_type: "llava", tower: CLIP, text: "llama", features: llava },
        LanguageModel { model_type: "llava_next", tower: CLIP, text: "llama", features: llava },
        LanguageModel { model_type: "llava_next_video", tower: CLIP, text: "llama", features: llava },
        LanguageModel {
            model_type: "llava_onevision",
            tower: SIGLIP,
            text: "qwen2",
            features: llava_onevision,
        },
        LanguageModel { model_type: "video_llava", tower: CLIP, text: "llama", features: llava },
        LanguageModel { model_type: "vipllava", tower: CLIP, text: "llama", features: vipllava },
        LanguageModel { model_type: "paligemma", tower: SIGLIP, text: "gemma", features: paligemma },
        LanguageModel { model_type: "gemma3", tower: SIGLIP, text: "gemma3_text", features: gemma3 },
        LanguageModel { model_type: "shieldgemma2", tower: SIGLIP, text: "gemma3_text", features: gemma3 },
        LanguageModel { model_type: "aya_vision", tower: SIGLIP, text: "cohere2", features: aya_vision },
    ]
};

impl LanguageModel {
    /// The model of a `model_type`.
    pub(super) fn named(model_type: &str) -> Option<&'static Self> {
        MODELS.iter().find(|model| model.model_type == model_type)
    }

    /// The tower's fields, where the config has none: those that the class gives its tower then.
    pub(super) fn default_tower(&self) -> Value {
        let text = match self.model_type {
            "paligemma" => {
                r#"{"intermediate_size": 4096, "hidden_size": 1152, "patch_size": 14, "image_size": 224,
                    "num_hidden_layers": 27, "num_attention_heads": 16, "vision_use_head": false}"#
            }
            "llava_onevision" => {
                r#"{"hidden_size": 1152, "intermediate_size": 4304, "patch_size": 14, "image_size": 384,
                    "num_hidden_layers": 26, "num_attention_heads": 16, "vision_use_head": false}"#
            }
            "aya_vision" => {
                r#"{"hidden_size": 1152, "intermediate_size": 4304, "patch_size": 14, "image_size": 384,
                    "num_hidden_layers": 26, "num_attention_heads": 14, "vision_use_head": false}"#
            }
            "gemma3" | "shieldgemma2" => "{}",
            "video_llava" => {
                r#"{"intermediate_size": 4096, "hidden_size": 1024, "patch_size": 14, "image_size": 224,
                    "num_hidden_layers": 24, "num_attention_heads": 16, "projection_dim": 768}"#
            }
            _ => {
                r#"{"intermediate_size": 4096, "hidden_size": 1024, "patch_size": 14, "image_size": 336,
                    "num_hidden_layers": 24, "num_attention_heads": 16, "projection_dim": 768}"#
            }
        };
        serde_json::from_str(text).expect("valid JSON")
    }

    /// What the language model reads of `tower`; the error is why that is not supported.
    pub(super) fn image_features(&self, root: &Value, tower: &VisionConfig) -> Result<ImageFeatures, String> {
        let mut fields: Fields = fields(without_nulls(root))?;
        fields.text_config.entry("model_type").or_insert_with(|| self.text.into());
        let features = (self.features)(&fields, tower)?;
        // What contradicts itself is refused now rather than in the forward pass.
        features.shape([tower.tokens(), tower.hidden_size], tower.grid())?;
        Ok(features)
    }
}

/// The fields of these models' configs that decide what the language model reads; each has its own default where there is none.
#[derive(Deserialize)]
struct Fields {
    #[serde(alias = "vision_feature_layers")]
    vision_feature_layer: Option<Layers>,
    vision_feature_select_strategy: Option<String>,
    projector_hidden_act: Option<String>,
    multimodal_projector_bias: Option<bool>,
    projector_layernorm_eps: Option<f64>,
    projection_dim: Option<usize>,
    mm_tokens_per_image: Option<usize>,
    downsample_factor: Option<usize>,
    adapter_layer_norm_eps: Option<f64>,
    alignment_intermediate_size: Option<usize>,
    #[serde(default)]
    text_config: Map<String, Value>,
}

/// One layer, or several.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a layer, or a list of them")]
enum Layers {
    One(i64),
    Several(Vec<i64>),
}

/// The root's fields but for nulls, which are the same as absent ones.
fn without_nulls(root: &Value) -> Value {
    let given = root.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    Value::Object(given.map(|(field, value)| (field.clone(), value.clone())).collect())
}

impl Fields {
    /// Indices into the tower's hidden states.
    fn layers(&self, tower: &VisionConfig, default: &[i64]) -> Result<Of, String> {
        let layers = match &self.vision_feature_layer {
            None => default,
            Some(Layers::One(layer)) => std::slice::from_ref(layer),
            Some(Layers::Several(layers)) => layers,
        };
        let count = tower.num_hidden_layers as i64 + 1;
        let index = |&layer: &i64| {
            let index = if layer < 0 { layer + count } else { layer };
            let is_there = (0..count).contains(&index);
            is_there.then_some(index as usize).ok_or_else(|| {
                format!(
                    "vision_feature_layer {layer} is none of the tower's, which go from {} to {}",
                    -count,
                    count - 1
                )
            })
        };
        match layers {
            [] => Err("vision_feature_layer names no layer".into()),
            layers => layers.iter().map(index).collect::<Result<_, _>>().map(Of::HiddenStates),
        }
    }

    /// Whether the first token is left out.
    fn drops_first_token(&self, default: &str) -> Result<bool, String> {
        match self.vision_feature_select_strategy.as_deref().unwrap_or(default) {
            "default" => Ok(true),
            "full" => Ok(false),
            other => Err(format!(
                "vision_feature_select_strategy {other:?} is not supported, expected default or full"
            )),
        }
    }

    fn act(&self, default: &str) -> Result<Step, String> {
        let name = self.projector_hidden_act.as_deref().unwrap_or(default);
        Function::from_name("projector_hidden_act", name).map(Step::Function)
    }

    /// The width of the language model, by the config or by its class's default.
    fn text_width(&self) -> Result<usize, String> {
        if let Some(width) = self.text_config.get("hidden_size") {
            let width = width.as_u64().ok_or_else(|| format!("text_config.hidden_size is {width}"))?;
            return checked("text_config.hidden_size", width as usize);
        }
        match self.text_config.get("model_type").and_then(Value::as_str) {
            Some("llama" | "mistral" | "qwen2" | "qwen3") => Ok(4096),
            Some("gemma") => Ok(3072),
            Some("gemma2" | "gemma3_text") => Ok(2304),
            Some("cohere2") => Ok(8192),
            found => Err(format!(
                "text_config has no hidden_size, and the default of model_type {found:?} is not known"
            )),
        }
    }
}

/// Refuses a width that no model has.
fn checked(field: &str, width: usize) -> Result<usize, String> {
    const LARGEST: usize = 1 << 17;
    match width {
        1..=LARGEST => Ok(width),
        _ => Err(format!("{field} is {width}, expected 1 to {LARGEST}")),
    }
}

fn linear(name: &str, outputs: usize, bias: bool) -> Step {
    Step::Linear { name: name.to_owned(), outputs, bias }
}

/// `LlavaMultiModalProjector` and its copies.
fn llava(fields: &Fields, tower: &VisionConfig) -> Result<ImageFeatures, String> {
    llava_with(fields, tower, -2, "default")
}

fn llava_onevision(fields: &Fields, tower: &VisionConfig) -> Result<ImageFeatures, String> {
    llava_with(fields, tower, -1, "full")
}

fn llava_with(
    fields: &Fields,
    tower: &VisionConfig,
    layer: i64,
    strategy: &str,
) -> Result<ImageFeatures, String> {
    let (width, bias) = (fields.text_width()?, fields.multimodal_projector_bias.unwrap_or(true));
    Ok(ImageFeatures {
        of: fields.layers(tower, &[layer])?,
        drops_first_token: fields.drops_first_token(strategy)?,
        projector: vec![
            linear("multi_modal_projector.linear_1", width, bias),
            fields.act("gelu")?,
            linear("multi_modal_projector.linear_2", width, bias),
        ],
    })
}

/// `VipLlavaMultiModalProjector`. There is no strategy to choose: the first token is always left out.
fn vipllava(fields: &Fields, tower: &VisionConfig) -> Result<ImageFeatures, String> {
    let width = fields.text_width()?;
    let eps = fields.projector_layernorm_eps.unwrap_or(1e-5);
    Ok(ImageFeatures {
        of: fields.layers(tower, &[-2, -5, -8, -11, 6])?,
        drops_first_token: true,
        projector: vec![
            Step::LayerNorm { name: "multi_modal_projector.projector_layernorm", eps },
            linear("multi_modal_projector.linear_1", width, true),
            fields.act("gelu")?,
            linear("multi_modal_projector.linear_2", width, true),
        ],
    })
}

/// `PaliGemmaMultiModalProjector`. The division by √width, which transformers 4 had here, is the language model's own today.
fn paligemma(fields: &Fields, _: &VisionConfig) -> Result<ImageFeatures, String> {
    let width = checked("projection_dim", fields.projection_dim.unwrap_or(2048))?;
    Ok(of_last(vec![linear("multi_modal_projector.linear", width, true)]))
}

/// `Gemma3MultiModalProjector`.
fn gemma3(fields: &Fields, tower: &VisionConfig) -> Result<ImageFeatures, String> {
    let (tokens, grid) = (fields.mm_tokens_per_image.unwrap_or(256), tower.grid());
    let edge = grid.checked_div(tokens.isqrt()).filter(|&edge| edge > 0);
    let Some(edge) = edge else {
        return Err(format!("mm_tokens_per_image is {tokens}, and there are {grid}x{grid} patches to pool"));
    };
    Ok(of_last(vec![
        Step::AveragePool { edge },
        Step::RmsNorm { name: "multi_modal_projector.mm_soft_emb_norm", eps: tower.layer_norm_eps },
        Step::Product {
            name: "multi_modal_projector.mm_input_projection_weight",
            outputs: fields.text_width()?,
        },
    ]))
}

/// `AyaVisionMultiModalProjector`.
fn aya_vision(fields: &Fields, tower: &VisionConfig) -> Result<ImageFeatures, String> {
    let width = fields.text_width()?;
    let inner = fields.alignment_intermediate_size.unwrap_or(width);
    let inner = checked("alignment_intermediate_size", inner)?;
    let edge = fields.downsample_factor.unwrap_or(2);
    if edge == 0 || edge > 1 << 10 || !inner.is_multiple_of(2) {
        return Err(format!(
            "a projector of downsample_factor {edge} and alignment_intermediate_size {inner} is not supported"
        ));
    }
    let eps = fields.adapter_layer_norm_eps.unwrap_or(1e-6);
    Ok(ImageFeatures {
        of: fields.layers(tower, &[-1])?,
        drops_first_token: fields.drops_first_token("full")?,
        projector: vec![
            Step::PixelShuffle { edge },
            Step::LayerNorm { name: "multi_modal_projector.layernorm", eps },
            linear("multi_modal_projector.linear_1", inner, true),
            Step::Gate,
            linear("multi_modal_projector.linear_2", width, true),
        ],
    })
}

fn of_last(projector: Vec<Step>) -> ImageFeatures {
    ImageFeatures { of: Of::LastHiddenState, drops_first_token: false, projector }
}

#[cfg(test)]
mod tests {
    use super::{super::read::read, *};

    #[test]
    fn where_the_config_is_silent_the_classes_own_settings_hold() {
        let llava = read(r#"{"model_type": "llava"}"#);
        assert_eq!(
            (llava.image_size, llava.tokens(), llava.image_features_shape(24, 24)),
            (336, 577, Ok([576, 4096]))
        );
        assert_eq!(llava.image_features.unwrap().of, Of::HiddenStates(vec![23]));
        let onevision = read(r#"{"model_type": "llava_onevision", "vision_feature_layer": null}"#);
        assert_eq!(onevision.image_features.unwrap().of, Of::HiddenStates(vec![26]));
        let vipllava = read(r#"{"model_type": "vipllava"}"#).image_features.unwrap();
        assert_eq!(
            (vipllava.of, vipllava.drops_first_token),
            (Of::HiddenStates(vec![23, 20, 17, 14, 6]), true)
        );
        let paligemma = read(r#"{"model_type": "paligemma", "vision_config": {"num_hidden_layers": 27}}"#);
        assert_eq!((paligemma.patch_size, paligemma.image_features_shape(14, 14)), (16, Ok([196, 2048])));
        let gemma3 = read(
            r#"{"model_type": "gemma3", "text_config": {"hidden_size": 2560}, "vision_config": {"image_size": 896, "patch_size": 14}}"#,
        );
        assert_eq!(gemma3.image_features_shape(64, 64), Ok([256, 2560]));
        assert!(gemma3.image_features_shape(32, 32).is_err(), "it pools the grid of its own size");
    }

    #[test]
    fn what_follows_a_tower_can_be_unsupported_and_the_tower_is_not() {
        for (settings, part) in [
            (r#""projector_hidden_act": "mish""#, "projector_hidden_act \"mish\""),
            (r#""vision_feature_select_strategy": "cls""#, "vision_feature_select_strategy \"cls\""),
            (r#""vision_feature_layer": 40"#, "vision_feature_layer 40"),
            (r#""vision_feature_layer": []"#, "names no layer"),
            (r#""text_config": {"hidden_size": 0}"#, "text_config.hidden_size is 0"),
            (r#""text_config": {"model_type": "new"}"#, "no hidden_size"),
        ] {
            let config = read(&format!(r#"{{"model_type": "llava", {settings}}}"#));
            assert_eq!(config.tokens(), 577);
            let reason = config.image_features_shape(24, 24).unwrap_err();
            assert!(reason.contains(part), "{settings}: {reason}");
        }
    }
}
