//! `config.json` → [`VisionConfig`]: the sizes of a vision tower, whatever its family.

use serde::Serialize;

use super::{
    error::ModelError,
    image_features::{ImageFeatures, NoImageFeatures},
};
use crate::kernels::Activation;

/// A family of vision towers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// OpenAI's CLIP and its many descendants.
    Clip,
    /// SigLIP, and SigLIP 2 of a fixed resolution, whose checkpoints are SigLIP's.
    Siglip,
    /// DINOv2.
    Dinov2,
    /// DINOv2 with register tokens.
    Dinov2WithRegisters,
}

impl Family {
    /// The name that people use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clip => "CLIP",
            Self::Siglip => "SigLIP",
            Self::Dinov2 => "DINOv2",
            Self::Dinov2WithRegisters => "DINOv2 with registers",
        }
    }

    /// Whether transformers applies the final norm to every token of `last_hidden_state`. CLIP's applies it to
    /// the pooled token alone.
    pub fn normalizes_output(self) -> bool {
        self != Self::Clip
    }

    /// The name of the layer norm after the last block.
    pub fn final_norm(self) -> &'static str {
        match self {
            Self::Clip | Self::Siglip => "post_layernorm",
            Self::Dinov2 | Self::Dinov2WithRegisters => "layernorm",
        }
    }
}

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
    /// What the language model reads, or why there is no such thing. Outputs say it only of the tensor that it makes.
    #[serde(skip)]
    pub image_features: Result<ImageFeatures, NoImageFeatures>,
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
            image_features: Err(NoImageFeatures::NoLanguageModel),
        }
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

    /// Tokens of `image_features` and their width, of an image of `rows` × `columns` patches.
    ///
    /// # Errors
    /// There are none of such an image; the reason.
    pub fn image_features_shape(&self, rows: usize, columns: usize) -> Result<[usize; 2], String> {
        match &self.image_features {
            Ok(features) => {
                features.shape([self.prefix_tokens() + rows * columns, self.hidden_size], self.grid())
            }
            Err(NoImageFeatures::Unsupported(reason)) => Err(reason.clone()),
            Err(NoImageFeatures::NoLanguageModel) => {
                Err("this is a vision tower without a language model and a projector to it".into())
            }
        }
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
