//! LLaVA as its authors save it: a language model and a projector, and the name of the vision tower, which is another model.
//!
//! The rules are those of `llava/model/multimodal_encoder/clip_encoder.py`, `multimodal_projector/builder.py` and
//! `llava/mm_utils.py`.

use serde::Deserialize;
use serde_json::Value;

use super::fields::fields;
use crate::model::{
    config::{Family, VisionConfig},
    image_features::{Function, ImageFeatures, Of, Step},
};
use crate::processor::Fit;

/// The fields that decide what the language model reads. All have the class's own default, or none.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct OriginalLlava {
    /// The vision tower: a directory, or its name on the hub.
    #[serde(alias = "vision_tower")]
    pub(crate) mm_vision_tower: String,
    hidden_size: Option<usize>,
    #[serde(default = "linear")]
    mm_projector_type: String,
    mm_vision_select_layer: Option<i64>,
    #[serde(default = "patch")]
    mm_vision_select_feature: String,
    image_aspect_ratio: Option<String>,
}

fn linear() -> String {
    "linear".into()
}

fn patch() -> String {
    "patch".into()
}

impl OriginalLlava {
    /// The fields of a `config.json`, if it is such a model's.
    pub(crate) fn of(root: &Value) -> Option<Result<Self, String>> {
        let is_one =
            root.get("mm_vision_tower").is_some_and(Value::is_string) && root.get("vision_config").is_none();
        is_one.then(|| {
            let given = root.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
            fields(Value::Object(given.map(|(field, value)| (field.clone(), value.clone())).collect()))
        })
    }

    /// How its pictures become squares: `image_aspect_ratio`.
    pub(crate) fn fit(&self) -> Fit {
        match self.image_aspect_ratio.as_deref() {
            Some("pad") => Fit::Pad,
            // The whole picture, beside which it would have tiles.
            Some(other) if other.starts_with("anyres") => Fit::Squash,
            _ => Fit::Auto,
        }
    }

    /// What the language model reads of `tower`; the error is why that is not supported.
    pub(crate) fn image_features(&self, tower: &VisionConfig) -> Result<ImageFeatures, String> {
        if tower.family != Family::Clip {
            return Err(format!(
                "the vision tower {} is a {}, whose features original LLaVA checkpoints take in ways of their own",
                self.mm_vision_tower,
                tower.family.name()
            ));
        }
        let width = self.hidden_size.ok_or("the config has no hidden_size")?;
        let layer = self.mm_vision_select_layer.ok_or("the config has no mm_vision_select_layer")?;
        let count = tower.num_hidden_layers as i64 + 1;
        let index = if layer < 0 { layer + count } else { layer };
        if !(0..count).contains(&index) {
            return Err(format!(
                "mm_vision_select_layer {layer} is none of the tower's, which go from {} to {}",
                -count,
                count - 1
            ));
        }
        Ok(ImageFeatures {
            of: Of::HiddenStates(vec![index as usize]),
            drops_first_token: match self.mm_vision_select_feature.as_str() {
                "patch" => true,
                "cls_patch" => false,
                other => {
                    return Err(format!(
                        "mm_vision_select_feature {other:?} is not supported, expected patch or cls_patch"
                    ));
                }
            },
            projector: projector(&self.mm_projector_type, width)?,
        })
    }
}

/// `build_vision_projector`: one layer, or several with the exact GELU between them.
fn projector(kind: &str, width: usize) -> Result<Vec<Step>, String> {
    let layer = |name: String| Step::Linear { name, outputs: width, bias: true };
    let depth = kind
        .strip_prefix("mlp")
        .and_then(|kind| kind.strip_suffix("x_gelu"))
        .and_then(|depth| depth.parse().ok());
    match (kind, depth) {
        ("linear", _) => Ok(vec![layer("mm_projector".into())]),
        ("identity", _) => Ok(Vec::new()),
        (_, Some(depth @ 1..=16)) => {
            let mut steps = vec![layer("mm_projector.0".into())];
            for index in 1..depth {
                steps.push(Step::Function(Function::from_name("mm_projector_type", "gelu")?));
                steps.push(layer(format!("mm_projector.{}", 2 * index)));
            }
            Ok(steps)
        }
        _ => Err(format!(
            "mm_projector_type {kind:?} is not supported, expected linear, mlp2x_gelu and its like, or identity"
        )),
    }
}
