//! The parts of a tower: each holds its weights and turns tokens into tokens.
//!
//! A wrong number is looked for here, a slow one in `kernels`. A layer knows its config, where its weights come from and what it is
//! computed with (`ops`), not on which device, and not the family: that reads the weights and says their names.

mod attention;
mod attention_pool;
pub(super) mod block_names;
pub(super) mod embeddings;
pub(super) mod encoder;
pub(super) mod head;
mod mlp;
mod pooling;
pub(super) mod positions;
pub(super) mod projector;
pub(super) mod rotary;
