//! timm's VisionTransformer: `blocks.0.norm1.weight`.

use super::{
    Form::{Leading, Part, Stacked, Whole},
    Rule, Spelling,
};

/// As timm saves it.
pub(super) static SPELLING: Spelling = behind("");

/// As open_clip saves it with a text tower.
pub(super) static IN_OPEN_CLIP: Spelling = behind("visual.trunk.");

/// As transformers' TimmWrapperModel saves it.
pub(super) static IN_TRANSFORMERS: Spelling = behind("timm_model.");

const fn behind(prefix: &'static str) -> Spelling {
    Spelling { prefix, blocks: ["blocks.", "vision_model.encoder.layers."], block: &BLOCK, rest: &REST }
}

static BLOCK: [Rule; 18] = [
    ("norm1.weight", "layer_norm1.weight", Whole),
    ("norm1.bias", "layer_norm1.bias", Whole),
    ("attn.qkv.weight", "self_attn.q_proj.weight", Part { index: 0, of: 3 }),
    ("attn.qkv.weight", "self_attn.k_proj.weight", Part { index: 1, of: 3 }),
    ("attn.qkv.weight", "self_attn.v_proj.weight", Part { index: 2, of: 3 }),
    ("attn.qkv.bias", "self_attn.q_proj.bias", Part { index: 0, of: 3 }),
    ("attn.qkv.bias", "self_attn.k_proj.bias", Part { index: 1, of: 3 }),
    ("attn.qkv.bias", "self_attn.v_proj.bias", Part { index: 2, of: 3 }),
    ("attn.proj.weight", "self_attn.out_proj.weight", Whole),
    ("attn.proj.bias", "self_attn.out_proj.bias", Whole),
    ("ls1.gamma", "layer_scale1.lambda1", Whole),
    ("norm2.weight", "layer_norm2.weight", Whole),
    ("norm2.bias", "layer_norm2.bias", Whole),
    ("mlp.fc1.weight", "mlp.fc1.weight", Whole),
    ("mlp.fc1.bias", "mlp.fc1.bias", Whole),
    ("mlp.fc2.weight", "mlp.fc2.weight", Whole),
    ("mlp.fc2.bias", "mlp.fc2.bias", Whole),
    ("ls2.gamma", "layer_scale2.lambda1", Whole),
];

static REST: [Rule; 24] = [
    ("patch_embed.proj.weight", "vision_model.embeddings.patch_embedding.weight", Whole),
    ("patch_embed.proj.bias", "vision_model.embeddings.patch_embedding.bias", Whole),
    ("cls_token", "vision_model.embeddings.class_embedding", Leading(2)),
    ("reg_token", "vision_model.embeddings.register_tokens", Leading(1)),
    ("pos_embed", "vision_model.embeddings.position_embedding.weight", Leading(1)),
    ("norm_pre.weight", "vision_model.pre_layrnorm.weight", Whole),
    ("norm_pre.bias", "vision_model.pre_layrnorm.bias", Whole),
    ("norm.weight", "vision_model.post_layernorm.weight", Whole),
    ("norm.bias", "vision_model.post_layernorm.bias", Whole),
    ("fc_norm.weight", "vision_model.fc_norm.weight", Whole),
    ("fc_norm.bias", "vision_model.fc_norm.bias", Whole),
    ("attn_pool.latent", "vision_model.head.probe", Whole),
    // torch's MultiheadAttention, which transformers has there, holds the three in one.
    (
        "attn_pool.q.weight",
        "vision_model.head.attention.in_proj_weight",
        Stacked { first: 0, count: 1, of: 3 },
    ),
    (
        "attn_pool.kv.weight",
        "vision_model.head.attention.in_proj_weight",
        Stacked { first: 1, count: 2, of: 3 },
    ),
    ("attn_pool.q.bias", "vision_model.head.attention.in_proj_bias", Stacked { first: 0, count: 1, of: 3 }),
    ("attn_pool.kv.bias", "vision_model.head.attention.in_proj_bias", Stacked { first: 1, count: 2, of: 3 }),
    ("attn_pool.proj.weight", "vision_model.head.attention.out_proj.weight", Whole),
    ("attn_pool.proj.bias", "vision_model.head.attention.out_proj.bias", Whole),
    ("attn_pool.norm.weight", "vision_model.head.layernorm.weight", Whole),
    ("attn_pool.norm.bias", "vision_model.head.layernorm.bias", Whole),
    ("attn_pool.mlp.fc1.weight", "vision_model.head.mlp.fc1.weight", Whole),
    ("attn_pool.mlp.fc1.bias", "vision_model.head.mlp.fc1.bias", Whole),
    ("attn_pool.mlp.fc2.weight", "vision_model.head.mlp.fc2.weight", Whole),
    ("attn_pool.mlp.fc2.bias", "vision_model.head.mlp.fc2.bias", Whole),
];
