//! CLIP: a class token, a norm before the first block, none on `last_hidden_state`.

use candle_core::Result;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    fields::{self, Edge, check_channels, square},
    patch_embedding, place_class_token,
};
use crate::kernels::Activation;
use crate::model::{
    config::{Biases, Family, Mlp, VisionConfig},
    image_features::NoImageFeatures,
    layers::{
        block_names::BlockNames,
        embeddings::{EmbeddingWeights, PatchOrder},
    },
    weights::Source,
};

pub(super) const BLOCK: BlockNames = BlockNames {
    layers: "encoder.layers",
    norms: ["layer_norm1", "layer_norm2"],
    qkv: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    out: "self_attn.out_proj",
    mlp: ["mlp.fc1", "mlp.fc2"],
    gate: None,
    layer_scales: None,
};
pub(super) const SCALED_BLOCK: BlockNames =
    BlockNames { layer_scales: Some(["layer_scale1.lambda1", "layer_scale2.lambda1"]), ..BLOCK };

/// transformers' `CLIPVisionConfig`, its defaults those of ViT-B/32.
#[derive(Deserialize, Serialize)]
#[serde(default)]
struct Fields {
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

impl Default for Fields {
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

/// Reads the config of a CLIPModel, in which `tower` are the fields of its tower.
pub(super) fn whole(root: &Value, tower: Value) -> std::result::Result<VisionConfig, String> {
    const DEFAULT_WIDTH: usize = 512;
    config(projecting(root, tower, DEFAULT_WIDTH)?)
}

/// The fields of a tower with the width of the projection that the whole model in `root` has; `default_width` where it says none.
pub(super) fn projecting(
    root: &Value,
    mut tower: Value,
    default_width: usize,
) -> std::result::Result<Value, String> {
    const WIDTH: &str = "projection_dim";
    if let Some(older) = root.get("vision_config_dict").filter(|older| older.is_object()) {
        // CLIPConfig takes the older spelling, what it is silent on by default, and CLIPVisionConfig the newer one.
        let read = |fields: &Value| fields::fields::<Fields>(fields.clone()).map(|fields| json!(fields));
        let (newer, older) = (read(&tower)?, read(older)?);
        for (field, newer) in newer.as_object().into_iter().flatten().filter(|(field, _)| *field != WIDTH) {
            let older = &older[field];
            if older != newer {
                return Err(format!(
                    "{field} is {newer} in vision_config, but {older} by vision_config_dict, where absent fields have defaults"
                ));
            }
        }
    }
    // The projection is as wide as the outer config says, or by default, whatever the tower's says.
    if let Some(tower) = tower.as_object_mut() {
        let width = root.get(WIDTH).cloned().unwrap_or_else(|| default_width.into());
        tower.insert(WIDTH.to_owned(), width);
    }
    Ok(tower)
}

pub(super) fn config(fields: Value) -> std::result::Result<VisionConfig, String> {
    let fields: Fields = fields::fields(fields)?;
    check_channels(fields.num_channels)?;
    VisionConfig {
        family: Family::Clip,
        hidden_size: fields.hidden_size,
        num_hidden_layers: fields.num_hidden_layers,
        num_attention_heads: fields.num_attention_heads,
        biases: Biases::ALL,
        intermediate_size: fields.intermediate_size,
        mlp: Mlp::Plain(Activation::from_name(&fields.hidden_act)?),
        image_size: square("image_size", &fields.image_size)?,
        interpolate_pos_encoding: false,
        rope_theta: None,
        patch_size: square("patch_size", &fields.patch_size)?,
        class_tokens: 1,
        register_tokens: 0,
        layer_norm_eps: fields.layer_norm_eps,
        attention_pool: false,
        projection_dim: Some(fields.projection_dim),
        image_features: Err(NoImageFeatures::NoLanguageModel),
        traits: None,
    }
    .checked()
}

pub(super) fn embeddings(config: &VisionConfig, source: &Source) -> Result<EmbeddingWeights> {
    let source = source.pp("embeddings");
    let width = config.hidden_size;
    let class = source.get(width, "class_embedding")?.reshape((1, width))?;
    let positions = source.get((1 + config.patches(), width), "position_embedding.weight")?;
    let (class, positions) = place_class_token(&class, &positions)?;
    let patch_embedding = patch_embedding(config, &source.pp("patch_embedding"), false)?;
    let order = PatchOrder::ChannelsFirst;
    Ok(EmbeddingWeights { patch_embedding, order, prefix: Some(class), positions: Some(positions) })
}
