//! timm's VisionTransformer: one class with many settings, which each architecture's name stands for.

use candle_core::{Result, Tensor};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    fields::{self, Edge, check_channels, square},
    patch_embedding,
};
use crate::kernels::Activation;
use crate::model::{
    config::{Biases, Family, Mlp, VisionConfig},
    image_features::NoImageFeatures,
    layers::embeddings::{EmbeddingWeights, PatchOrder},
    traits::{FinalNorm, Interpolation, Pooling, PrefixPositions, Traits},
    weights::Source,
};

/// The arguments that each name stands for, read off timm 1.0.31 by `fixtures/timm_architectures.py`.
const ARCHITECTURES: &str = include_str!("timm_architectures.json");

/// What changes no number of a forward pass, or nothing before the classifier.
const PAST: [&str; 11] = [
    "num_classes",
    "drop_rate",
    "pos_drop_rate",
    "patch_drop_rate",
    "proj_drop_rate",
    "attn_drop_rate",
    "drop_path_rate",
    "weight_init",
    "fix_init",
    "strict_img_size",
    "distilled",
];

/// What is not supported unless it is off.
const OFF: [&str; 8] = [
    "qk_norm",
    "scale_attn_norm",
    "scale_mlp_norm",
    "embed_norm_layer",
    "block_fn",
    "attn_layer",
    "dynamic_img_pad",
    "use_naflex",
];

/// The arguments of timm's `VisionTransformer`, with its defaults.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Arguments {
    img_size: Option<Edge>,
    patch_size: Edge,
    in_chans: usize,
    global_pool: String,
    embed_dim: usize,
    depth: usize,
    num_heads: usize,
    mlp_ratio: f64,
    mlp_layer: Option<String>,
    qkv_bias: bool,
    proj_bias: bool,
    init_values: Option<f64>,
    class_token: bool,
    pos_embed: String,
    no_embed_class: bool,
    reg_tokens: usize,
    pre_norm: bool,
    final_norm: bool,
    fc_norm: Option<bool>,
    pool_include_prefix: bool,
    dynamic_img_size: bool,
    norm_layer: Option<String>,
    act_layer: Option<String>,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            img_size: None,
            patch_size: Edge::Square(16),
            in_chans: 3,
            global_pool: "token".into(),
            embed_dim: 768,
            depth: 12,
            num_heads: 12,
            mlp_ratio: 4.0,
            mlp_layer: None,
            qkv_bias: true,
            proj_bias: true,
            init_values: None,
            class_token: true,
            pos_embed: "learn".into(),
            no_embed_class: false,
            reg_tokens: 0,
            pre_norm: false,
            final_norm: true,
            fc_norm: None,
            pool_include_prefix: false,
            dynamic_img_size: false,
            norm_layer: None,
            act_layer: None,
        }
    }
}

/// What a `config.json` of timm says of the architecture.
#[derive(Deserialize)]
struct Checkpoint {
    architecture: String,
    #[serde(default)]
    model_args: Map<String, Value>,
    /// Older files have its fields at the root.
    pretrained_cfg: Option<Pretrained>,
    #[serde(flatten)]
    root: Pretrained,
}

#[derive(Default, Deserialize)]
struct Pretrained {
    input_size: Option<[usize; 3]>,
    #[serde(default)]
    fixed_input_size: bool,
}

/// Reads the root of a `config.json`.
pub(super) fn config(root: Value) -> std::result::Result<VisionConfig, String> {
    let Checkpoint { architecture, model_args, pretrained_cfg, root } = fields::fields(root)?;
    let Pretrained { input_size, fixed_input_size } = pretrained_cfg.unwrap_or(root);
    let image_size =
        input_size.filter(|_| fixed_input_size).map(|[_, height, width]| Edge::Pair([height, width]));
    named(&architecture, model_args, image_size)
}

/// The architecture of a name, with other arguments than its own for some; `image_size` is what the weights were made for, where
/// the arguments do not say.
pub(super) fn named(
    architecture: &str,
    arguments: Map<String, Value>,
    image_size: Option<Edge>,
) -> std::result::Result<VisionConfig, String> {
    let table: Map<String, Value> = serde_json::from_str(ARCHITECTURES).expect("a table of this crate");
    // A tag behind a point names weights.
    let name = architecture.split('.').next().unwrap_or_default();
    let Some(Value::Object(mut all)) = table.get(name).cloned() else {
        return Err(format!(
            "architecture {architecture:?} is not supported, expected one of timm's VisionTransformer, such as \
             vit_base_patch16_224, vit_base_patch14_reg4_dinov2 or vit_base_patch16_siglip_224"
        ));
    };
    all.extend(arguments);
    for name in OFF {
        match all.remove(name) {
            None | Some(Value::Null | Value::Bool(false)) => {}
            Some(Value::String(word))
                if word.is_empty() || (name, word.as_str()) == ("attn_layer", "attn") => {}
            Some(value) => {
                return Err(format!("architecture {architecture:?}: {name} {value} is not supported"));
            }
        }
    }
    if all.get("distilled") == Some(&Value::Bool(true)) {
        return Err(format!("architecture {architecture:?}: a distillation token is not supported"));
    }
    all.retain(|name, _| !PAST.contains(&name.as_str()));
    let arguments: Arguments = fields::fields(Value::Object(all))?;
    arguments
        .config(image_size, interpolation(name))
        .map_err(|reason| format!("architecture {architecture:?}: {reason}"))
}

impl Arguments {
    fn config(
        self,
        image_size: Option<Edge>,
        interpolation: Interpolation,
    ) -> std::result::Result<VisionConfig, String> {
        check_channels(self.in_chans)?;
        if !self.proj_bias {
            return Err("proj_bias false is not supported".into());
        }
        if self.pos_embed != "learn" {
            return Err(format!("pos_embed {:?} is not supported, expected \"learn\"", self.pos_embed));
        }
        let inner = (self.embed_dim as f64 * self.mlp_ratio).min(1e12) as usize;
        let (mlp, intermediate_size) = self.mlp(inner)?;
        let traits = self.traits(interpolation)?;
        VisionConfig {
            family: Family::Timm,
            hidden_size: self.embed_dim,
            num_hidden_layers: self.depth,
            num_attention_heads: self.num_heads,
            biases: Biases { query: self.qkv_bias, key: self.qkv_bias, value: self.qkv_bias, ..Biases::ALL },
            intermediate_size,
            mlp,
            image_size: square("img_size", &self.img_size.or(image_size).unwrap_or(Edge::Square(224)))?,
            interpolate_pos_encoding: self.dynamic_img_size,
            rope_theta: None,
            patch_size: square("patch_size", &self.patch_size)?,
            class_tokens: self.class_token.into(),
            register_tokens: self.reg_tokens,
            layer_norm_eps: layer_norm_eps(self.norm_layer.as_deref())?,
            attention_pool: traits.pooling == Pooling::Attention,
            projection_dim: None,
            image_features: Err(NoImageFeatures::NoLanguageModel),
            traits: Some(traits),
        }
        .checked()
    }

    /// What the MLP does, and the width inside, where its first layer is `inner` wide.
    fn mlp(&self, inner: usize) -> std::result::Result<(Mlp, usize), String> {
        let act = self.act_layer.as_deref();
        match (self.mlp_layer.as_deref(), act) {
            (None, None | Some("gelu")) => Ok((Mlp::Plain(Activation::Gelu), inner)),
            (None, Some("gelu_tanh")) => Ok((Mlp::Plain(Activation::GeluTanh), inner)),
            (None, Some("quick_gelu")) => Ok((Mlp::Plain(Activation::QuickGelu), inner)),
            // One layer gives both halves.
            (Some("SwiGLUPacked"), Some("silu")) if inner.is_multiple_of(2) => {
                Ok((Mlp::Gated(Activation::Silu), inner / 2))
            }
            (None, Some(act)) => {
                Err(format!("act_layer {act:?} is not supported, expected gelu, gelu_tanh or quick_gelu"))
            }
            (Some(layer), _) => Err(format!(
                "mlp_layer {layer:?} with act_layer {:?} and a width of {inner} is not supported",
                act.unwrap_or("gelu")
            )),
        }
    }

    fn traits(&self, interpolation: Interpolation) -> std::result::Result<Traits, String> {
        let pooling = match self.global_pool.as_str() {
            "token" if self.class_token => Pooling::ClassToken,
            "avg" => Pooling::Mean,
            "max" => Pooling::Max,
            "avgmax" => Pooling::MeanMax,
            "map" => Pooling::Attention,
            "" => Pooling::Absent("the config says global_pool \"\", so nothing pools the tokens"),
            "prr" => Pooling::Absent("the config says global_pool \"prr\", which is not supported"),
            other => {
                return Err(format!(
                    "global_pool {other:?} is not supported with class_token {}",
                    self.class_token
                ));
            }
        };
        let is_reduced = matches!(pooling, Pooling::Mean | Pooling::Max | Pooling::MeanMax);
        let final_norm = match self.fc_norm.unwrap_or(is_reduced) {
            _ if !self.final_norm => FinalNorm::Absent,
            true => FinalNorm::Pooled,
            false => FinalNorm::Tokens,
        };
        Ok(Traits {
            pre_norm: self.pre_norm,
            layer_scale: self.init_values.is_some_and(|value| value != 0.0),
            final_norm,
            pooling,
            pools_prefix: self.pool_include_prefix,
            prefix_positions: if self.no_embed_class {
                PrefixPositions::Absent
            } else {
                PrefixPositions::All
            },
            interpolation,
        })
    }
}

/// How `create_model` stretches the position embeddings of an architecture: `_create_vision_transformer`.
fn interpolation(name: &str) -> Interpolation {
    let is_aligned =
        ["base_patch16_radio_v3", "huge_patch16_radio_v3"].iter().any(|part| name.contains(part));
    match name.contains("radio") || name.contains("flexi") {
        true if is_aligned => Interpolation::BilinearAligned,
        true => Interpolation::Bilinear,
        false => Interpolation::BicubicAntialiased,
    }
}

/// The epsilon of a norm's name, timm's own where it says none.
fn layer_norm_eps(name: Option<&str>) -> std::result::Result<f64, String> {
    let eps = name.and_then(|name| name.strip_prefix("layernorm(eps=")?.strip_suffix(')')?.parse().ok());
    match (name, eps) {
        (None | Some("layernorm"), _) => Ok(1e-6),
        (_, Some(eps)) => Ok(eps),
        (Some(name), None) => Err(format!("norm_layer {name:?} is not supported, expected layernorm")),
    }
}

pub(super) fn embeddings(config: &VisionConfig, source: &Source) -> Result<EmbeddingWeights> {
    let source = source.pp("embeddings");
    let (width, count) = (config.hidden_size, config.prefix_tokens());
    let Traits { pre_norm, prefix_positions, .. } = config.traits();
    let with_positions = if prefix_positions == PrefixPositions::All { count } else { 0 };
    let positions = source.get((with_positions + config.patches(), width), "position_embedding.weight")?;
    let mut prefix = Vec::new();
    if config.class_tokens > 0 {
        prefix.push(source.get(width, "class_embedding")?.reshape((1, width))?);
    }
    if config.register_tokens > 0 {
        prefix.push(source.get((config.register_tokens, width), "register_tokens")?);
    }
    let prefix = match prefix.is_empty() {
        true => None,
        false => Some(Tensor::cat(&prefix, 0)?), // (P, width)
    };
    let prefix = match prefix {
        Some(prefix) if with_positions > 0 => Some((prefix + positions.narrow(0, 0, count)?)?),
        prefix => prefix,
    };
    let positions = positions.narrow(0, with_positions, config.patches())?.contiguous()?; // (N, width)
    // A norm before the first block takes the bias's place.
    let patch_embedding = patch_embedding(config, &source.pp("patch_embedding"), !pre_norm)?;
    let order = PatchOrder::ChannelsFirst;
    Ok(EmbeddingWeights { patch_embedding, order, prefix, positions: Some(positions) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> std::result::Result<VisionConfig, String> {
        config(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn a_name_stands_for_sizes_and_settings() {
        let siglip = parse(
            r#"{"architecture": "vit_so400m_patch14_siglip_384", "num_classes": 0, "global_pool": "map",
                "pretrained_cfg": {"input_size": [3, 384, 384], "fixed_input_size": true, "tag": "webli"}}"#,
        )
        .unwrap();
        assert_eq!(
            (siglip.hidden_size, siglip.num_hidden_layers, siglip.intermediate_size),
            (1152, 27, 4304)
        );
        assert_eq!((siglip.tokens(), siglip.prefix_tokens()), (27 * 27, 0));
        assert_eq!(siglip.traits().pooling, Pooling::Attention);
        assert_eq!((siglip.mlp, siglip.layer_norm_eps), (Mlp::Plain(Activation::Gelu), 1e-6));

        let giant = parse(
            r#"{"architecture": "vit_giant_patch14_reg4_dinov2",
                "pretrained_cfg": {"input_size": [3, 518, 518], "fixed_input_size": true}}"#,
        )
        .unwrap();
        assert_eq!(
            (giant.num_attention_heads, giant.mlp, giant.intermediate_size),
            (24, Mlp::Gated(Activation::Silu), 4096)
        );
        assert_eq!((giant.prefix_tokens(), giant.patches()), (5, 37 * 37));
        assert_eq!(giant.traits().prefix_positions, PrefixPositions::Absent);

        let clip = parse(
            r#"{"architecture": "vit_large_patch14_clip_quickgelu_336.openai", "input_size": [3, 336, 336],
            "fixed_input_size": true}"#,
        )
        .unwrap();
        assert_eq!((clip.mlp, clip.layer_norm_eps), (Mlp::Plain(Activation::QuickGelu), 1e-5));
        assert_eq!((clip.traits().pre_norm, clip.image_size), (true, 336));
    }

    #[test]
    fn arguments_come_before_those_of_the_name() {
        let text = r#"{"architecture": "vit_base_patch14_dinov2", "model_args": {"img_size": 224, "init_values": null,
            "global_pool": "avg", "depth": 3, "drop_path_rate": 0.1, "qk_norm": false}, "pretrained_cfg": {}}"#;
        let found = parse(text).unwrap();
        assert_eq!((found.image_size, found.num_hidden_layers, found.hidden_size), (224, 3, 768));
        let traits = found.traits();
        assert_eq!((traits.layer_scale, traits.final_norm), (false, FinalNorm::Pooled));
        assert_eq!((found.final_norm(), found.normalizes_output()), ("fc_norm", false));
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        let with = |arguments: &str| {
            format!(r#"{{"architecture": "vit_tiny_patch16_224", "model_args": {{{arguments}}}}}"#)
        };
        for (text, part) in [
            (r#"{"architecture": "convnext_base"}"#.to_owned(), "convnext_base"),
            (r#"{"architecture": "vit_base_patch16_dinov3"}"#.to_owned(), "vit_base_patch16_dinov3"),
            (r#"{"architecture": "vit_base_patch16_xp_224"}"#.to_owned(), "qk_norm"),
            (r#"{"architecture": "aimv2_large_patch14_224"}"#.to_owned(), "embed_norm_layer"),
            (r#"{"architecture": "deit_tiny_distilled_patch16_224"}"#.to_owned(), "distillation token"),
            (r#"{"architecture": "vit_dwee_patch16_reg1_gap_256"}"#.to_owned(), "attn_layer"),
            (with(r#""qk_norm": true"#), "qk_norm"),
            (with(r#""norm_layer": "rmsnorm""#), "rmsnorm"),
            (with(r#""act_layer": "relu""#), "act_layer \"relu\""),
            (with(r#""mlp_layer": "SwiGLUPacked""#), "SwiGLUPacked"),
            (with(r#""proj_bias": false"#), "proj_bias"),
            (with(r#""in_chans": 1"#), "num_channels is 1"),
            (with(r#""class_token": false"#), "global_pool \"token\""),
            (with(r#""pos_embed": "none""#), "pos_embed"),
            (with(r#""img_size": [224, 448]"#), "only squares"),
            (with(r#""rotary": true"#), "rotary"),
        ] {
            let reason = parse(&text).unwrap_err();
            assert!(reason.contains(part), "{text}: {reason}");
        }
    }

    /// As timm 1.0.31's `_create_vision_transformer` calls `checkpoint_filter_fn`.
    #[test]
    fn a_name_says_how_position_embeddings_are_stretched() {
        for (name, expected) in [
            ("flexivit_base", Interpolation::Bilinear),
            ("vit_base_patch16_radio_v3", Interpolation::BilinearAligned),
            ("vit_huge_patch16_radio_v3", Interpolation::BilinearAligned),
            ("vit_large_patch16_radio_v3", Interpolation::Bilinear),
            ("vit_so400m_patch16_radio_v4.c_radio", Interpolation::Bilinear),
            ("vit_base_patch16_224", Interpolation::BicubicAntialiased),
        ] {
            let found = named(name, Map::new(), None).unwrap().traits().interpolation;
            assert_eq!(found, expected, "{name}");
        }
    }

    /// Each name is read, or refused for what it stands for.
    #[test]
    fn no_name_of_the_table_is_misread() {
        let table: Map<String, Value> = serde_json::from_str(ARCHITECTURES).unwrap();
        let (read, refused): (Vec<_>, Vec<_>) =
            table.keys().map(|name| named(name, Map::new(), None)).partition(std::result::Result::is_ok);
        assert!(read.len() > 130, "{}", read.len());
        for reason in refused.into_iter().filter_map(std::result::Result::err) {
            let known = [
                "block_fn",
                "attn_layer",
                "norm_layer",
                "distillation",
                "scale_attn_norm",
                "qk_norm",
                "embed_norm",
            ];
            assert!(known.iter().any(|word| reason.contains(word)), "{reason}");
        }
    }
}
