//! `config.json` → [`VisionConfig`]: the sizes of a vision tower, whatever its family.

use std::path::Path;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    ModelError,
    activation::Activation,
    family::{self, Family},
};

/// The shape of a vision tower.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VisionConfig {
    /// Which family's tower it is.
    pub family: Family,
    /// Width of a token.
    pub hidden_size: usize,
    /// Number of transformer blocks.
    pub num_hidden_layers: usize,
    /// Number of attention heads; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Whether query, key and value have biases.
    pub qkv_bias: bool,
    /// Width inside the MLP, after its gate if it has one.
    pub intermediate_size: usize,
    /// What the MLP does between its two layers.
    pub mlp: Mlp,
    /// Edge of the square image that the position embeddings were made for, in pixels.
    pub image_size: usize,
    /// Whether images of other sizes are taken, the position embeddings interpolated: transformers'
    /// `interpolate_pos_encoding`, which DINOv2 always has.
    pub interpolate_pos_encoding: bool,
    /// Edge of a square patch, in pixels.
    pub patch_size: usize,
    /// Class tokens, which stand first: one or none.
    pub class_tokens: usize,
    /// Register tokens, which stand between the class token and the patches.
    pub register_tokens: usize,
    /// Added to the variance in every layer norm.
    pub layer_norm_eps: f64,
    /// Whether `pooler_output` comes from an attention-pooling head, not from the class token.
    pub attention_pool: bool,
    /// Width of `image_embeds`, after the visual projection, in families that have one.
    pub projection_dim: Option<usize>,
}

/// What an MLP does between its two layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mlp {
    /// An activation.
    Plain(Activation),
    /// The first layer gives gate and value side by side; `silu(gate) · value` goes on.
    SwiGlu,
}

impl VisionConfig {
    /// The vision tower of openai/clip-vit-large-patch14.
    pub fn vit_large_patch14() -> Self {
        Self {
            family: Family::Clip,
            hidden_size: 1024,
            num_hidden_layers: 24,
            num_attention_heads: 16,
            qkv_bias: true,
            intermediate_size: 4096,
            mlp: Mlp::Plain(Activation::QuickGelu),
            image_size: 224,
            interpolate_pos_encoding: false,
            patch_size: 14,
            class_tokens: 1,
            register_tokens: 0,
            layer_norm_eps: 1e-5,
            attention_pool: false,
            projection_dim: Some(768),
        }
    }

    /// Reads a `config.json` of a full model (the tower is under `vision_config`) or of a vision model; its
    /// `model_type` names the family.
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
        family::config(serde_json::from_str(text).map_err(|error| format!("not valid JSON: {error}"))?)
    }

    /// All sizes as one line of JSON, for the metadata of an output.
    pub fn describe(&self) -> String {
        serde_json::to_string(self).expect("a config has only string keys")
    }

    /// Whether `pixel_values` of this size fit the tower.
    ///
    /// # Errors
    /// They do not.
    pub fn check(&self, height: usize, width: usize) -> Result<(), ModelError> {
        let fits = if self.interpolate_pos_encoding {
            height.min(width) >= self.patch_size
        } else {
            (height, width) == (self.image_size, self.image_size)
        };
        if fits {
            return Ok(());
        }
        Err(ModelError::PixelShape { expected: self.image_size, height, width })
    }

    /// Patches along one edge of an image of `image_size`.
    pub fn grid(&self) -> usize {
        self.image_size / self.patch_size
    }

    /// Patches of an image of `image_size`.
    pub fn patches(&self) -> usize {
        self.grid() * self.grid()
    }

    /// Tokens that stand before the patches.
    pub fn prefix_tokens(&self) -> usize {
        self.class_tokens + self.register_tokens
    }

    /// Tokens of an image of `image_size`.
    pub fn tokens(&self) -> usize {
        self.prefix_tokens() + self.patches()
    }

    /// Width of one attention head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// Refuses sizes that no tower has or that contradict each other.
    pub(super) fn checked(self) -> Result<Self, String> {
        for (field, value) in [
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("projection_dim", self.projection_dim.unwrap_or(1)),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("image_size", self.image_size),
            ("patch_size", self.patch_size),
            ("num_register_tokens", self.register_tokens + 1),
        ] {
            if value == 0 || value > LARGEST_SIZE {
                return Err(format!("{field} is {value}, expected 1 to {LARGEST_SIZE}"));
            }
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(format!(
                "hidden_size {} is not a multiple of num_attention_heads {}",
                self.hidden_size, self.num_attention_heads
            ));
        }
        if self.patch_size > self.image_size {
            return Err(format!(
                "patch_size {} is larger than image_size {}",
                self.patch_size, self.image_size
            ));
        }
        // Sizes that are each possible can together be more than any machine holds.
        let (width, inner) = (self.hidden_size as f64, self.intermediate_size as f64);
        let weights = self.num_hidden_layers as f64 * width * (4.0 * width + 3.0 * inner);
        if weights > LARGEST_TOWER {
            return Err(format!(
                "its sizes make a tower of {weights:.1e} weights, more than {LARGEST_TOWER:.0e}"
            ));
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps < 1.0) {
            return Err(format!(
                "layer_norm_eps is {}, expected a small positive number",
                self.layer_norm_eps
            ));
        }
        Ok(self)
    }
}

/// More weights than the largest vision tower has, several times over.
const LARGEST_TOWER: f64 = 5e10;

/// Larger values than any tower has are taken for a damaged file, before they become an allocation.
const LARGEST_SIZE: usize = 1 << 20;

/// The fields of a config, by their names; the error names the field that is wrong.
pub(super) fn fields<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, String> {
    serde_path_to_error::deserialize(value).map_err(|error| format!("{}: {}", error.path(), error.inner()))
}

/// An edge length: transformers accepts an integer or a pair.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a number, or a pair of them")]
pub(super) enum Edge {
    Square(usize),
    Pair([usize; 2]),
}

pub(super) fn square(field: &str, edge: &Edge) -> Result<usize, String> {
    match *edge {
        Edge::Square(edge) => Ok(edge),
        Edge::Pair([height, width]) if height == width => Ok(height),
        Edge::Pair([height, width]) => {
            Err(format!("{field} is [{height}, {width}], only squares are supported"))
        }
    }
}

pub(super) fn check_channels(num_channels: usize) -> Result<(), String> {
    if num_channels != 3 {
        return Err(format!("num_channels is {num_channels}, only 3 (RGB) is supported"));
    }
    Ok(())
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

        let dinov2 = VisionConfig::from_json(r#"{"model_type": "dinov2", "image_size": 518}"#).unwrap();
        assert_eq!((dinov2.family, dinov2.intermediate_size, dinov2.tokens()), (Family::Dinov2, 3072, 1370));
        let text = r#"{"model_type": "dinov2_with_registers", "patch_size": 14, "use_swiglu_ffn": true, "hidden_size": 1536}"#;
        let giant = VisionConfig::from_json(text).unwrap();
        assert_eq!((giant.mlp, giant.intermediate_size), (Mlp::SwiGlu, 4096));
        assert_eq!((giant.prefix_tokens(), giant.tokens()), (5, 261));
    }

    #[test]
    fn what_the_tower_cannot_do_is_refused_by_name() {
        for (text, part) in [
            (r#"{"model_type": "vit"}"#, "model_type \"vit\""),
            (r#"{"model_type": "siglip2"}"#, "NaFlex"),
            (
                r#"{"model_type": "siglip", "vision_config": {"model_type": "clip_vision_model"}}"#,
                "siglip_vision",
            ),
            (r#"{"model_type": "siglip_vision_model", "hidden_act": "relu"}"#, "hidden_act \"relu\""),
            (r#"{"model_type": "dinov2", "head_dim": 32}"#, "head_dim is 32"),
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
