//! The operations that towers are made of, in two ways: our kernels, and candle's operations on any device.
//!
//! A tower's parts are written once, over [`Ops`]; a layer is of one way from its weights to its outputs, since each way has types of its
//! own. Which one a tower takes is chosen where it is built.

mod activation;
mod attend;
mod cos_sin;
mod heads;
mod kernels;
mod on_candle;
mod on_tensors;

use candle_core::{Result, Tensor};

use super::{
    config::Mlp,
    weights::{LinearWeights, NormWeights},
};
pub(crate) use heads::head_part;
pub(crate) use kernels::KernelOps;
pub(crate) use on_candle::CandleOps;

/// One way to compute. Tensors are where [`Ops::place`] puts them, in float32.
pub(crate) trait Ops: std::fmt::Debug {
    /// `y = x Wᵀ + b`.
    type Linear: std::fmt::Debug;
    /// A layer norm.
    type Norm: std::fmt::Debug;
    /// The angles by which queries and keys are turned.
    type Rotation: std::fmt::Debug;

    /// A tensor of the host, where this way has its own.
    fn place(&self, tensor: &Tensor) -> Result<Tensor>;

    fn linear(&self, weights: LinearWeights) -> Result<Self::Linear>;

    /// A layer of a weight (out, in) of the host, without a bias.
    fn linear_at_hand(&self, weight: &Tensor) -> Result<Self::Linear>;

    fn norm(&self, weights: NormWeights) -> Result<Self::Norm>;

    /// The cosines and sines of each patch, (patches, half of a head's channels) each.
    fn rotation(&self, cos: Vec<f32>, sin: Vec<f32>, patches: usize) -> Result<Self::Rotation>;

    /// `x` (…, in) → (…, out).
    fn multiply(&self, layer: &Self::Linear, x: &Tensor) -> Result<Tensor>;

    /// `x` (…, size) → the same shape.
    fn normalize(&self, norm: &Self::Norm, x: &Tensor) -> Result<Tensor>;

    /// Queries or keys (B, heads, T, head_dim), of which the patches stand last, turned; the tokens before them stay.
    fn turn(&self, rotation: &Self::Rotation, x: &Tensor) -> Result<Tensor>;

    /// The product of matrices, (…, m, k) and (…, k, n) → (…, m, n).
    fn product(&self, a: &Tensor, b: &Tensor) -> Result<Tensor>;

    /// Flattened patches (B, N, in) → tokens (B, P + N, width): `prefix` (P, width) first, `positions` (N, width), if there are any,
    /// added to the others.
    fn embed(
        &self,
        layer: &Self::Linear,
        patches: &Tensor,
        prefix: Option<&Tensor>,
        positions: Option<&Tensor>,
    ) -> Result<Tensor>;

    /// `x + out(softmax(q kᵀ / √head_dim) v)`, q, k and v of `qkv(norm(x))`, (B, T, width). A `rotation` turns q and k.
    fn attention_half(
        &self,
        x: &Tensor,
        norm: &Self::Norm,
        qkv: &Self::Linear,
        heads: usize,
        rotation: Option<&Self::Rotation>,
        out: &Self::Linear,
    ) -> Result<Tensor>;

    /// `x + fc2(activation(fc1(norm(x))))`, (B, T, width); of a gated MLP `fc1` gives the gate, then what it multiplies.
    fn mlp_half(
        &self,
        x: &Tensor,
        norm: &Self::Norm,
        fc1: &Self::Linear,
        kind: Mlp,
        fc2: &Self::Linear,
    ) -> Result<Tensor>;

    /// `x` in the widest type that there is, for sums whose terms cancel out.
    fn widened(&self, x: &Tensor) -> Result<Tensor>;
}
