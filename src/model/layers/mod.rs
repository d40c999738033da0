//! The parts of a tower: each holds its weights and turns tokens into tokens.
//!
//! A wrong number is looked for here, a slow one in `kernels`, which these call on a CPU. A layer knows its config and where its
//! weights come from, not the family: that reads the weights and says their names.

mod activation;
mod attention;
mod attention_pool;
pub(super) mod block_names;
mod cpu;
pub(super) mod embeddings;
pub(super) mod encoder;
pub(super) mod head;
pub(super) mod layer_norm;
mod layer_scale;
pub(super) mod linear;
mod mlp;
mod pooling;
pub(super) mod positions;
pub(super) mod projector;
pub(super) mod rotary;
