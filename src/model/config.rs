//! `config.json` → [`VisionConfig`]: the sizes of a CLIP vision tower.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::{ModelError, activation::Activation};

/// The shape of a CLIP vision tower, as transformers' `CLIPVisionConfig` names it.
///
/// Absent fields take that class's defaults, which are those of ViT-B/32.
#[derive(Clone, Debug, PartialEq)]
pub struct VisionConfig {
    /// Width of a token.
    pub hidden_size: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Width of `image_embeds`, after the visual projection.
    pub projection_dim: usize,
    /// Number of transformer blocks.
    pub num_hidden_layers: usize,
    /// Number of attention heads; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Edge of the square input, in pixels.
    pub image_size: usize,
    /// Edge of a square patch, in pixels.
    pub patch_size: usize,
    /// Activation inside the MLP.
    pub hidden_act: Activation,
    /// Added to the variance in every layer norm.
    pub layer_norm_eps: f64,
}

impl VisionConfig {
    /// The vision tower of openai/clip-vit-large-patch14.
    pub fn vit_large_patch14() -> Self {
        Self {
            hidden_size: 1024,
            intermediate_size: 4096,
            projection_dim: 768,
            num_hidden_layers: 24,
            num_attention_heads: 16,
            image_size: 224,
            patch_size: 14,
            hidden_act: Activation::QuickGelu,
            layer_norm_eps: 1e-5,
        }
    }

    /// Reads a `config.json`: a `CLIPConfig` (the tower is under `vision_config`) or a `CLIPVisionConfig`.
    ///
    /// # Errors
    /// The file cannot be read, is not JSON, belongs to another model type, or holds a field whose value this
    /// tower does not support; the error names the file and the field.
    pub fn from_file(path: &Path) -> Result<Self, ModelError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
        Self::from_json(&text).map_err(|reason| ModelError::Config { path: path.to_owned(), reason })
    }

    /// Parses the text of a `config.json`; the error is the reason alone.
    pub(crate) fn from_json(text: &str) -> Result<Self, String> {
        let root: Value = serde_json::from_str(text).map_err(|error| format!("not valid JSON: {error}"))?;
        let model_type = root.get("model_type").and_then(Value::as_str);
        // The first CLIP configs wrote the tower under another name.
        let vision = root.get("vision_config").or_else(|| root.get("vision_config_dict"));
        let fields = match (model_type, vision) {
            (Some("clip"), None | Some(Value::Null)) => Value::Object(serde_json::Map::new()),
            (Some("clip") | None, Some(vision)) => vision.clone(),
            (Some("clip_vision_model"), _) => root,
            (Some(other), _) => {
                return Err(format!(
                    "model_type {other:?} is not supported, expected \"clip\" or \"clip_vision_model\""
                ));
            }
            (None, None) => {
                return Err("has neither model_type nor vision_config, so it is not a CLIP config".into());
            }
        };
        if let Some(inner) = fields.get("model_type").and_then(Value::as_str)
            && inner != "clip_vision_model"
        {
            return Err(format!("vision_config has model_type {inner:?}, expected \"clip_vision_model\""));
        }
        let raw: RawConfig = serde_json::from_value(fields).map_err(|error| error.to_string())?;
        raw.check()
    }

    /// Whether `pixel_values` of this size fit the tower.
    ///
    /// # Errors
    /// They do not.
    pub fn check(&self, height: usize, width: usize) -> Result<(), ModelError> {
        if height == self.image_size && width == self.image_size {
            return Ok(());
        }
        Err(ModelError::PixelShape { expected: self.image_size, height, width })
    }

    /// Patches along one edge.
    pub fn grid(&self) -> usize {
        self.image_size / self.patch_size
    }

    /// Tokens of one image: the class token and one per patch.
    pub fn tokens(&self) -> usize {
        1 + self.grid() * self.grid()
    }

    /// Width of one attention head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }
}

/// An edge length: transformers accepts an integer or a pair.
#[derive(Deserialize)]
#[serde(untagged)]
enum Edge {
    Square(usize),
    Pair([usize; 2]),
}

#[derive(Deserialize)]
#[serde(default)]
struct RawConfig {
    hidden_size: usize,
    intermediate_size: usize,
    projection_dim: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_channels: usize,
    image_size: Edge,
    patch_size: Edge,
    hidden_act: String,
    layer_norm_eps: f64,
}

/// The defaults of transformers' `CLIPVisionConfig`.
impl Default for RawConfig {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            projection_dim: 512,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            image_size: Edge::Square(224),
            patch_size: Edge::Square(32),
            hidden_act: "quick_gelu".into(),
            layer_norm_eps: 1e-5,
        }
    }
}

/// Larger values than any tower has are taken for a damaged file, before they become an allocation.
const LARGEST_SIZE: usize = 1 << 20;

impl RawConfig {
    fn check(self) -> Result<VisionConfig, String> {
        let config = VisionConfig {
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            projection_dim: self.projection_dim,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            image_size: square("image_size", &self.image_size)?,
            patch_size: square("patch_size", &self.patch_size)?,
            hidden_act: Activation::from_name(&self.hidden_act)?,
            layer_norm_eps: self.layer_norm_eps,
        };
        for (field, value) in [
            ("hidden_size", config.hidden_size),
            ("intermediate_size", config.intermediate_size),
            ("projection_dim", config.projection_dim),
            ("num_hidden_layers", config.num_hidden_layers),
            ("num_attention_heads", config.num_attention_heads),
            ("image_size", config.image_size),
            ("patch_size", config.patch_size),
        ] {
            if value == 0 || value > LARGEST_SIZE {
                return Err(format!("{field} is {value}, expected 1 to {LARGEST_SIZE}"));
            }
        }
        if self.num_channels != 3 {
            return Err(format!("num_channels is {}, only 3 (RGB) is supported", self.num_channels));
        }
        if !config.hidden_size.is_multiple_of(config.num_attention_heads) {
            return Err(format!(
                "hidden_size {} is not a multiple of num_attention_heads {}",
                config.hidden_size, config.num_attention_heads
            ));
        }
        if config.patch_size > config.image_size {
            return Err(format!(
                "patch_size {} is larger than image_size {}",
                config.patch_size, config.image_size
            ));
        }
        if !(config.layer_norm_eps > 0.0 && config.layer_norm_eps < 1.0) {
            return Err(format!(
                "layer_norm_eps is {}, expected a small positive number",
                config.layer_norm_eps
            ));
        }
        Ok(config)
    }
}

fn square(field: &str, edge: &Edge) -> Result<usize, String> {
    match *edge {
        Edge::Square(edge) => Ok(edge),
        Edge::Pair([height, width]) if height == width => Ok(height),
        Edge::Pair([height, width]) => {
            Err(format!("{field} is [{height}, {width}], only squares are supported"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_fields_are_those_of_vit_b_32() {
        let config = VisionConfig::from_json(r#"{"model_type": "clip_vision_model"}"#).unwrap();
        assert_eq!((config.hidden_size, config.patch_size, config.tokens()), (768, 32, 50));
        assert_eq!(config, VisionConfig::from_json(r#"{"model_type": "clip"}"#).unwrap());
    }

    #[test]
    fn the_tower_of_a_full_model_is_under_vision_config() {
        let text = r#"{"model_type": "clip", "hidden_size": 1, "projection_dim": 768, "vision_config": {
            "model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096,
            "projection_dim": 768, "num_hidden_layers": 24, "num_attention_heads": 16, "patch_size": 14}}"#;
        assert_eq!(VisionConfig::from_json(text).unwrap(), VisionConfig::vit_large_patch14());
    }

    #[test]
    fn what_the_tower_cannot_do_is_refused_by_name() {
        for (text, part) in [
            (r#"{"model_type": "siglip"}"#, "model_type \"siglip\""),
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
