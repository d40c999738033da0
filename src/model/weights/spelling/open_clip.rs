//! open_clip's own VisionTransformer, whose names are those of OpenAI's CLIP: `visual.transformer.resblocks.0.ln_1.weight`.

use super::{
    Form::{Part, Transposed, Whole},
    Rule, Spelling,
};

pub(super) static SPELLING: Spelling = Spelling {
    prefix: "visual.",
    blocks: ["transformer.resblocks.", "vision_model.encoder.layers."],
    block: &BLOCK,
    rest: &REST,
};

static BLOCK: [Rule; 18] = [
    ("ln_1.weight", "layer_norm1.weight", Whole),
    ("ln_1.bias", "layer_norm1.bias", Whole),
    ("attn.in_proj_weight", "self_attn.q_proj.weight", Part { index: 0, of: 3 }),
    ("attn.in_proj_weight", "self_attn.k_proj.weight", Part { index: 1, of: 3 }),
    ("attn.in_proj_weight", "self_attn.v_proj.weight", Part { index: 2, of: 3 }),
    ("attn.in_proj_bias", "self_attn.q_proj.bias", Part { index: 0, of: 3 }),
    ("attn.in_proj_bias", "self_attn.k_proj.bias", Part { index: 1, of: 3 }),
    ("attn.in_proj_bias", "self_attn.v_proj.bias", Part { index: 2, of: 3 }),
    ("attn.out_proj.weight", "self_attn.out_proj.weight", Whole),
    ("attn.out_proj.bias", "self_attn.out_proj.bias", Whole),
    ("ls_1.gamma", "layer_scale1.lambda1", Whole),
    ("ln_2.weight", "layer_norm2.weight", Whole),
    ("ln_2.bias", "layer_norm2.bias", Whole),
    ("mlp.c_fc.weight", "mlp.fc1.weight", Whole),
    ("mlp.c_fc.bias", "mlp.fc1.bias", Whole),
    ("mlp.c_proj.weight", "mlp.fc2.weight", Whole),
    ("mlp.c_proj.bias", "mlp.fc2.bias", Whole),
    ("ls_2.gamma", "layer_scale2.lambda1", Whole),
];

static REST: [Rule; 8] = [
    ("conv1.weight", "vision_model.embeddings.patch_embedding.weight", Whole),
    ("class_embedding", "vision_model.embeddings.class_embedding", Whole),
    ("positional_embedding", "vision_model.embeddings.position_embedding.weight", Whole),
    ("ln_pre.weight", "vision_model.pre_layrnorm.weight", Whole),
    ("ln_pre.bias", "vision_model.pre_layrnorm.bias", Whole),
    ("ln_post.weight", "vision_model.post_layernorm.weight", Whole),
    ("ln_post.bias", "vision_model.post_layernorm.bias", Whole),
    // open_clip multiplies from the left: `pooled @ proj`.
    ("proj", "visual_projection.weight", Transposed),
];
