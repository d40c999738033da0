//! `config.json` → [`VisionConfig`]: the sizes of a vision tower, whatever its family.

use serde::Serialize;

use super::{
    error::ModelError,
    image_features::{ImageFeatures, NoImageFeatures},
    traits::{FinalNorm, Interpolation, Pooling, PrefixPositions, Traits},
};
use crate::kernels::Activation;

/// A family of vision towers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// OpenAI's CLIP and its many descendants.
    Clip,
    /// MetaCLIP 2, whose tower is CLIP's, as those of the next three are.
    #[serde(rename = "metaclip_2")]
    MetaClip2,
    /// Chinese-CLIP.
    #[serde(rename = "chinese_clip")]
    ChineseClip,
    /// AltCLIP.
    #[serde(rename = "altclip")]
    AltClip,
    /// CLIPSeg, which stretches its position embeddings unasked.
    #[serde(rename = "clipseg")]
    ClipSeg,
    /// SigLIP, and SigLIP 2 of a fixed resolution, whose checkpoints are SigLIP's.
    Siglip,
    /// SigLIP 2 of variable resolution: pictures of their own shape.
    Siglip2,
    /// DINOv2.
    Dinov2,
    /// DINOv2 with register tokens.
    Dinov2WithRegisters,
    /// DINOv3's vision transformers.
    Dinov3,
    /// timm's VisionTransformer, in its many variants.
    Timm,
}

impl Family {
    /// The name that people use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clip => "CLIP",
            Self::MetaClip2 => "MetaCLIP 2",
            Self::ChineseClip => "Chinese-CLIP",
            Self::AltClip => "AltCLIP",
            Self::ClipSeg => "CLIPSeg",
            Self::Siglip => "SigLIP",
            Self::Siglip2 => "SigLIP 2 NaFlex",
            Self::Dinov2 => "DINOv2",
            Self::Dinov2WithRegisters => "DINOv2 with registers",
            Self::Dinov3 => "DINOv3",
            Self::Timm => "timm ViT",
        }
    }

    /// Whether the tower is CLIP's, whatever the rest of the model.
    pub(super) fn has_clips_tower(self) -> bool {
        matches!(self, Self::Clip | Self::MetaClip2 | Self::ChineseClip | Self::AltClip | Self::ClipSeg)
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
    /// Which linear layers of a block have biases.
    pub biases: Biases,
    /// Width inside the MLP, after its gate if it has one.
    pub intermediate_size: usize,
    /// What the MLP does between its two layers.
    pub mlp: Mlp,
    /// Edge of the square image that the position embeddings were made for, in pixels.
    pub image_size: usize,
    /// Whether images of other sizes are taken, the position embeddings interpolated: transformers'
    /// `interpolate_pos_encoding`, which CLIPSeg, DINOv2, DINOv3 and SigLIP 2 NaFlex always have.
    pub interpolate_pos_encoding: bool,
    /// Base of the rotary position embedding's periods; none where position embeddings are learned.
    pub rope_theta: Option<f64>,
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
    /// What the checkpoint decides that transformers leaves to the class; none where it is as in the family's class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traits: Option<Traits>,
}

/// What an MLP does between its two layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mlp {
    /// An activation.
    Plain(Activation),
    /// The first layer gives gate and value side by side; `activation(gate) · value` goes on.
    Gated(Activation),
}

/// Which linear layers of a block have a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Biases {
    /// The query's.
    pub query: bool,
    /// The key's.
    pub key: bool,
    /// The value's.
    pub value: bool,
    /// That of the attention's output.
    pub proj: bool,
    /// Those of the MLP.
    pub mlp: bool,
}

impl Biases {
    /// Every layer has one.
    pub const ALL: Self = Self { query: true, key: true, value: true, proj: true, mlp: true };
}

impl VisionConfig {
    /// The vision tower of openai/clip-vit-large-patch14.
    pub fn vit_large_patch14() -> Self {
        Self {
            family: Family::Clip,
            hidden_size: 1024,
            num_hidden_layers: 24,
            num_attention_heads: 16,
            biases: Biases::ALL,
            intermediate_size: 4096,
            mlp: Mlp::Plain(Activation::QuickGelu),
            image_size: 224,
            interpolate_pos_encoding: false,
            rope_theta: None,
            patch_size: 14,
            class_tokens: 1,
            register_tokens: 0,
            layer_norm_eps: 1e-5,
            attention_pool: false,
            projection_dim: Some(768),
            image_features: Err(NoImageFeatures::NoLanguageModel),
            traits: None,
        }
    }

    /// All sizes as one line of JSON, for the metadata of an output.
    pub fn describe(&self) -> String {
        serde_json::to_string(self).expect("a config has only string keys")
    }

    /// What the tower does around its blocks.
    pub fn traits(&self) -> Traits {
        self.traits.clone().unwrap_or_else(|| self.class_traits())
    }

    /// What the family's transformers class does.
    fn class_traits(&self) -> Traits {
        let is_clip = self.family.has_clips_tower();
        Traits {
            pre_norm: is_clip,
            layer_scale: matches!(self.family, Family::Dinov2 | Family::Dinov2WithRegisters | Family::Dinov3),
            final_norm: if is_clip { FinalNorm::Pooling } else { FinalNorm::Tokens },
            pooling: match (self.attention_pool, self.class_tokens) {
                (true, _) => Pooling::Attention,
                (false, 0) => {
                    Pooling::Absent("the config says vision_use_head false, so nothing pools the tokens")
                }
                (false, _) => Pooling::ClassToken,
            },
            pools_prefix: false,
            prefix_positions: PrefixPositions::ClassToken,
            interpolation: match self.family {
                Family::Siglip2 => Interpolation::BilinearAntialiased,
                Family::Dinov2WithRegisters => Interpolation::BicubicAntialiased,
                _ => Interpolation::Bicubic,
            },
        }
    }

    /// Whether the final norm is applied to every token of `last_hidden_state`. CLIP's is to the pooled token alone.
    pub fn normalizes_output(&self) -> bool {
        self.traits().final_norm == FinalNorm::Tokens
    }

    /// Whether there is a `pooler_output`.
    pub fn pools(&self) -> bool {
        !matches!(self.traits().pooling, Pooling::Absent(_))
    }

    /// The name of the layer norm after the last block.
    pub fn final_norm(&self) -> &'static str {
        match self.family {
            Family::Clip
            | Family::MetaClip2
            | Family::ChineseClip
            | Family::AltClip
            | Family::ClipSeg
            | Family::Siglip
            | Family::Siglip2 => "post_layernorm",
            Family::Dinov2 | Family::Dinov2WithRegisters => "layernorm",
            Family::Dinov3 => "norm",
            Family::Timm if self.traits().final_norm == FinalNorm::Pooled => "fc_norm",
            Family::Timm => "post_layernorm",
        }
    }

    /// Whether `pixel_values` of this size fit the tower.
    ///
    /// # Errors
    /// They do not.
    pub fn check(&self, height: usize, width: usize) -> Result<(), ModelError> {
        if self.interpolate_pos_encoding {
            let patch_size = self.patch_size;
            let fits = height.min(width) >= patch_size;
            return if fits { Ok(()) } else { Err(ModelError::NoPatch { patch_size, height, width }) };
        }
        let expected = self.image_size;
        let fits = (height, width) == (expected, expected);
        if fits { Ok(()) } else { Err(ModelError::PixelShape { expected, height, width }) }
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
        for (field, value, largest) in [
            ("hidden_size", self.hidden_size, LARGEST_WIDTH),
            ("intermediate_size", self.intermediate_size, LARGEST_WIDTH),
            ("projection_dim", self.projection_dim.unwrap_or(1), LARGEST_WIDTH),
            ("num_hidden_layers", self.num_hidden_layers, MOST_LAYERS),
            ("num_attention_heads", self.num_attention_heads, LARGEST_WIDTH),
            ("image_size", self.image_size, LARGEST_EDGE),
            ("patch_size", self.patch_size, LARGEST_EDGE),
            ("num_register_tokens", self.register_tokens.saturating_add(1), MOST_TOKENS),
        ] {
            if value == 0 || value > largest {
                return Err(format!("{field} is {value}, expected 1 to {largest}"));
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
        if self.tokens() > MOST_TOKENS {
            return Err(format!(
                "image_size {} and patch_size {} make {} tokens, expected at most {MOST_TOKENS}",
                self.image_size,
                self.patch_size,
                self.tokens()
            ));
        }
        // Sizes that are each possible can together be more than any machine holds.
        let (width, inner) = (self.hidden_size as f64, self.intermediate_size as f64);
        let patch = 3.0 * (self.patch_size as f64).powi(2);
        let weights = self.num_hidden_layers as f64 * width * (4.0 * width + 3.0 * inner)
            + width * (patch + self.tokens() as f64 + self.projection_dim.unwrap_or(0) as f64);
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

// Larger values than any tower has are taken for a damaged file, before they become an allocation.

/// The widest layer: several times that of the largest towers, whose MLPs have 25,600.
const LARGEST_WIDTH: usize = 1 << 18;
/// The most blocks: many times those of the deepest towers, which have 64.
const MOST_LAYERS: usize = 1 << 10;
/// The longest edge of an image or a patch.
const LARGEST_EDGE: usize = 1 << 14;
/// The most tokens of an image: attention over more fits no machine.
const MOST_TOKENS: usize = 1 << 20;
