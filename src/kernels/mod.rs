//! What makes the tower fast on a CPU: matrix products over packed weights with what follows them
//! fused, attention straight from the fused q, k and v, layer norm, and vectorised exponentials.
//!
//! Every result of the tower is a pure function of its row of inputs: the order of every sum is fixed, so bytes do
//! not depend on the batch, the number of threads or the rows beside it. Between instruction sets, matrix units and precisions they differ.

// Vector instructions, uninitialised results that parallel tasks fill in, and pointers without a bounds check in the
// innermost loops need it. Shapes are checked once, at the safe functions that this module exports.
#![allow(unsafe_code)]

mod activation;
mod attention;
mod block;
mod compute;
mod depth;
mod embed;
mod epilogue;
mod gated;
mod head;
mod isa;
mod layer_norm;
mod linear;
mod lines;
mod math;
mod memory;
mod mix;
mod packed_rows;
mod panels;
mod peak;
mod precision;
mod product;
#[cfg(test)]
mod refusals;
mod rotary;
mod schedule;
mod scratch;
mod simd;
#[cfg(test)]
mod testing;
mod threads;
mod tile;
mod transpose;
mod unit;

pub use activation::Activation;
pub use attention::attention;
pub use block::{attention_half, gated_half, mlp_half};
pub use compute::Compute;
pub use embed::embed;
pub use epilogue::Epilogue;
pub use gated::gated;
pub use head::AttentionShape;
pub use isa::Isa;
pub use layer_norm::LayerNorm;
pub use linear::PackedLinear;
pub use lines::sum_lines;
pub use memory::Values;
pub use packed_rows::{Form, PackedRows};
pub use peak::{fma_peak, tile_peak};
pub use precision::MatmulPrecision;
pub use rotary::{Rotation, rotate};
pub use threads::physical_cores;
