//! open_clip's `open_clip_config.json`: its own VisionTransformer, which is CLIP's with settings, or a model of timm.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    fields::{self, Edge, square},
    timm,
};
use crate::kernels::Activation;
use crate::model::{
    config::{Biases, Family, Mlp, VisionConfig},
    image_features::NoImageFeatures,
    traits::{FinalNorm, Interpolation, Pooling, PrefixPositions, Traits},
};

/// What is read of `model_cfg`; the rest is the text tower's and the loss's.
#[derive(Deserialize)]
struct ModelCfg {
    embed_dim: usize,
    vision_cfg: Map<String, Value>,
    #[serde(default)]
    quick_gelu: bool,
}

/// What changes no number that is read here: what training alone uses, how the position embeddings began (the checkpoint holds
/// them), the shape of answers, the sizes of a pooling that is not supported, and what only lets settings be used.
const PAST: [&str; 10] = [
    "patch_dropout",
    "timm_drop",
    "timm_drop_path",
    "timm_model_pretrained",
    "timm_proj_bias",
    "pos_embed_type",
    "output_tokens",
    "attn_pooler_queries",
    "attn_pooler_heads",
    "block_type",
];

/// open_clip's `CLIPVisionCfg`, with its defaults.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct VisionCfg {
    layers: Layers,
    width: usize,
    head_width: usize,
    mlp_ratio: f64,
    patch_size: Option<Edge>,
    image_size: Edge,
    ls_init_value: Option<f64>,
    attentional_pool: Value,
    no_ln_pre: bool,
    final_ln_after_pool: bool,
    pool_type: String,
    act_kwargs: Option<Map<String, Value>>,
    norm_kwargs: Option<Map<String, Value>>,
    qk_norm: bool,
    scaled_cosine_attn: bool,
    scale_heads: bool,
    scale_attn_inner: bool,
    scale_attn: bool,
    scale_fc: bool,
    timm_model_name: Option<String>,
    timm_pool: String,
    timm_proj: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a number, or a list of them")]
enum Layers {
    Transformer(usize),
    ResNet(Vec<usize>),
}

impl Default for VisionCfg {
    fn default() -> Self {
        Self {
            layers: Layers::Transformer(12),
            width: 768,
            head_width: 64,
            mlp_ratio: 4.0,
            patch_size: Some(Edge::Square(16)),
            image_size: Edge::Square(224),
            ls_init_value: None,
            attentional_pool: Value::Bool(false),
            no_ln_pre: false,
            final_ln_after_pool: false,
            pool_type: "tok".into(),
            act_kwargs: None,
            norm_kwargs: None,
            qk_norm: false,
            scaled_cosine_attn: false,
            scale_heads: false,
            scale_attn_inner: false,
            scale_attn: false,
            scale_fc: false,
            timm_model_name: None,
            timm_pool: "avg".into(),
            timm_proj: Some("linear".into()),
        }
    }
}

/// Reads the value of `model_cfg`.
pub(super) fn config(model_cfg: Value) -> Result<VisionConfig, String> {
    let ModelCfg { embed_dim, mut vision_cfg, quick_gelu } = fields::fields(model_cfg)?;
    vision_cfg.retain(|name, _| !PAST.contains(&name.as_str()));
    let vision_cfg: VisionCfg = fields::fields(Value::Object(vision_cfg))?;
    match &vision_cfg.timm_model_name {
        // Always with the activation of its name, whatever quick_gelu says.
        Some(name) => {
            vision_cfg.of_timm(name).map_err(|reason| reason.replace("architecture", "timm_model_name"))
        }
        None => vision_cfg.of_open_clip(embed_dim, quick_gelu),
    }
}

impl VisionCfg {
    fn of_open_clip(&self, embed_dim: usize, quick_gelu: bool) -> Result<VisionConfig, String> {
        let layers = match &self.layers {
            Layers::Transformer(layers) => *layers,
            Layers::ResNet(layers) => {
                return Err(format!(
                    "layers is {layers:?}: its vision tower is a ResNet, only vision transformers are supported"
                ));
            }
        };
        for (field, is_on) in [
            ("qk_norm", self.qk_norm),
            ("scaled_cosine_attn", self.scaled_cosine_attn),
            ("scale_heads", self.scale_heads),
            ("scale_attn_inner", self.scale_attn_inner),
            ("scale_attn", self.scale_attn),
            ("scale_fc", self.scale_fc),
        ] {
            if is_on {
                return Err(format!("{field} is true, only false is supported"));
            }
        }
        if self.head_width == 0 {
            return Err("head_width is 0, expected 1 or more".into());
        }
        let patch_size = self.patch_size.as_ref().ok_or("patch_size is null, expected a number")?;
        VisionConfig {
            family: Family::Clip,
            hidden_size: self.width,
            num_hidden_layers: layers,
            num_attention_heads: self.width / self.head_width,
            biases: Biases::ALL,
            intermediate_size: (self.width as f64 * self.mlp_ratio).min(1e12) as usize,
            mlp: Mlp::Plain(self.activation(quick_gelu)?),
            image_size: square("image_size", &self.image_size)?,
            interpolate_pos_encoding: false,
            rope_theta: None,
            patch_size: square("patch_size", patch_size)?,
            class_tokens: 1,
            register_tokens: 0,
            layer_norm_eps: self.layer_norm_eps()?,
            attention_pool: false,
            projection_dim: Some(embed_dim),
            image_features: Err(NoImageFeatures::NoLanguageModel),
            traits: Some(self.traits()?),
        }
        .checked()
    }

    fn activation(&self, quick_gelu: bool) -> Result<Activation, String> {
        let options = self.act_kwargs.as_ref().filter(|options| !options.is_empty());
        match (quick_gelu, options.map(|options| (options.len(), options.get("approximate")))) {
            (true, None) => Ok(Activation::QuickGelu),
            (false, None) => Ok(Activation::Gelu),
            (false, Some((1, Some(Value::String(word))))) if word == "none" => Ok(Activation::Gelu),
            (false, Some((1, Some(Value::String(word))))) if word == "tanh" => Ok(Activation::GeluTanh),
            _ => Err(format!(
                "act_kwargs is {}, only approximate \"tanh\" without quick_gelu is supported",
                Value::Object(self.act_kwargs.clone().unwrap_or_default())
            )),
        }
    }

    /// torch's own where it says none.
    fn layer_norm_eps(&self) -> Result<f64, String> {
        let Some(options) = self.norm_kwargs.as_ref().filter(|options| !options.is_empty()) else {
            return Ok(1e-5);
        };
        options.get("eps").filter(|_| options.len() == 1).and_then(Value::as_f64).ok_or_else(|| {
            format!("norm_kwargs is {}, only eps is supported", Value::Object(options.clone()))
        })
    }

    fn traits(&self) -> Result<Traits, String> {
        let is_attentional = match &self.attentional_pool {
            Value::Bool(is_on) => *is_on,
            Value::String(word) => !word.is_empty(),
            other => !other.is_null(),
        };
        let (pooling, final_norm) = match (self.pool_type.as_str(), self.final_ln_after_pool) {
            _ if is_attentional => {
                let reason = "the config says attentional_pool, whose many queries are not supported";
                (Pooling::Absent(reason), FinalNorm::Pooling)
            }
            // One token is the same normalized before and after.
            ("tok", _) => (Pooling::ClassToken, FinalNorm::Pooling),
            ("avg", false) => (Pooling::Mean, FinalNorm::Pooling),
            ("avg", true) => (Pooling::Mean, FinalNorm::Pooled),
            ("none", _) => (
                Pooling::Absent("the config says pool_type \"none\", so nothing pools the tokens"),
                FinalNorm::Pooling,
            ),
            (other, _) => return Err(format!("pool_type is {other:?}, expected tok, avg or none")),
        };
        Ok(Traits {
            pre_norm: !self.no_ln_pre,
            layer_scale: self.ls_init_value.is_some(),
            final_norm,
            pooling,
            pools_prefix: false,
            prefix_positions: PrefixPositions::ClassToken,
            // open_clip stretches them so where it loads a checkpoint at another size.
            interpolation: Interpolation::BicubicAntialiased,
        })
    }

    /// The model of timm that open_clip's `TimmModel` makes.
    fn of_timm(&self, name: &str) -> Result<VisionConfig, String> {
        let edge = square("image_size", &self.image_size)?;
        let own = timm::named(name, Map::new(), Some(Edge::Square(edge)))?;
        // With a projection of its own behind the model, it changes the pooling once the model is made; the norm stays where it is.
        let is_projected = matches!(self.timm_proj.as_deref(), Some("linear" | "mlp"));
        if is_projected && self.timm_pool.is_empty() {
            return Ok(own);
        }
        let mut arguments = Map::new();
        arguments.insert("global_pool".into(), self.timm_pool.clone().into());
        if is_projected {
            arguments.insert("fc_norm".into(), (own.traits().final_norm == FinalNorm::Pooled).into());
        }
        timm::named(name, arguments, Some(Edge::Square(edge)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<VisionConfig, String> {
        config(serde_json::from_str(text).unwrap())
    }

    fn vision(fields: &str) -> Result<VisionConfig, String> {
        parse(&format!(r#"{{"embed_dim": 512, "vision_cfg": {{{fields}}}, "text_cfg": {{"width": 9}}}}"#))
    }

    #[test]
    fn sizes_are_those_of_the_class() {
        let big = vision(
            r#""layers": 48, "width": 1664, "head_width": 104, "mlp_ratio": 4.9231, "patch_size": 14"#,
        )
        .unwrap();
        assert_eq!((big.num_attention_heads, big.intermediate_size, big.tokens()), (16, 8192, 257));
        assert_eq!((big.mlp, big.layer_norm_eps), (Mlp::Plain(Activation::Gelu), 1e-5));
        assert_eq!(big.projection_dim, Some(512));
        let openai = parse(
            r#"{"embed_dim": 768, "quick_gelu": true,
                "vision_cfg": {"image_size": 224, "layers": 24, "width": 1024, "patch_size": 14}, "text_cfg": {}}"#,
        )
        .unwrap();
        let class = VisionConfig::vit_large_patch14();
        assert_eq!(VisionConfig { traits: None, ..openai.clone() }, class);
        assert_eq!(
            openai.traits(),
            Traits { interpolation: Interpolation::BicubicAntialiased, ..class.traits() }
        );
    }

    #[test]
    fn settings_are_followed() {
        let clipa = vision(
            r#""no_ln_pre": true, "pool_type": "avg", "final_ln_after_pool": true, "patch_dropout": 0.5"#,
        )
        .unwrap();
        let traits = clipa.traits();
        assert_eq!(
            (traits.pre_norm, traits.pooling, traits.final_norm),
            (false, Pooling::Mean, FinalNorm::Pooled)
        );
        let scaled = vision(
            r#""ls_init_value": 1e-4, "norm_kwargs": {"eps": 1e-6}, "act_kwargs": {"approximate": "tanh"}"#,
        )
        .unwrap();
        assert!(scaled.traits().layer_scale);
        assert_eq!((scaled.layer_norm_eps, scaled.mlp), (1e-6, Mlp::Plain(Activation::GeluTanh)));
        let coca = vision(r#""attentional_pool": true, "output_tokens": true"#).unwrap();
        assert!(!coca.pools() && coca.traits().pre_norm);
    }

    #[test]
    fn a_model_of_timm_is_pooled_as_open_clip_pools_it() {
        let siglip = vision(
            r#""image_size": 256, "timm_model_name": "vit_base_patch16_siglip_256", "timm_pool": "map", "timm_proj": "none""#,
        )
        .unwrap();
        assert_eq!(
            (siglip.family, siglip.tokens(), siglip.traits().pooling),
            (Family::Timm, 256, Pooling::Attention)
        );
        let normed = |fields: &str| {
            let traits =
                vision(&format!(r#""timm_model_name": "vit_base_patch16_224", {fields}"#)).unwrap().traits();
            (traits.pooling, traits.final_norm)
        };
        assert_eq!(normed(r#""timm_pool": "avg", "timm_proj": """#), (Pooling::Mean, FinalNorm::Pooled));
        assert_eq!(normed(r#""timm_pool": "avg""#), (Pooling::Mean, FinalNorm::Tokens));
        assert_eq!(normed(r#""timm_pool": """#), (Pooling::ClassToken, FinalNorm::Tokens));
        assert_eq!(
            normed(r#""timm_pool": "token", "timm_proj": null"#),
            (Pooling::ClassToken, FinalNorm::Tokens)
        );
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (fields, part) in [
            (r#""layers": [3, 4, 6, 3], "patch_size": null"#, "ResNet"),
            (r#""qk_norm": true"#, "qk_norm"),
            (r#""scale_fc": true"#, "scale_fc"),
            (r#""pool_type": "max""#, "pool_type is \"max\""),
            (r#""act_kwargs": {"inplace": true}"#, "act_kwargs"),
            (r#""norm_kwargs": {"bias": false}"#, "norm_kwargs"),
            (r#""rotary": true"#, "rotary"),
            (r#""head_width": 0"#, "head_width"),
            (r#""head_width": 7, "width": 50"#, "multiple of num_attention"),
            (r#""image_size": [224, 336]"#, "only squares"),
            (r#""timm_model_name": "convnext_base""#, "timm_model_name \"convnext_base\""),
            (r#""timm_model_name": "vit_base_patch16_224", "timm_pool": "abs_attn""#, "abs_attn"),
        ] {
            let reason = vision(fields).unwrap_err();
            assert!(reason.contains(part), "{fields}: {reason}");
        }
        assert!(parse(r#"{"embed_dim": 512}"#).unwrap_err().contains("vision_cfg"));
    }
}
