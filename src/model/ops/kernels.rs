//! Our kernels, on the CPU.

use std::{ops::Deref, sync::Arc};

use candle_core::{DType, Device, Result, Tensor};

use super::{Ops, cos_sin::CosSin, on_tensors};
use crate::kernels::{
    self, AttentionShape, Compute, Epilogue, Form, Isa, LayerNorm, PackedLinear, attention_half, gated_half,
    mlp_half,
};
use crate::model::{
    config::Mlp,
    weights::{LinearWeights, Loaded, NormWeights, Spares, Streamed, pack},
};

/// What our kernels compute with.
#[derive(Debug)]
pub(crate) struct KernelOps {
    compute: Compute,
    /// Where linear layers are read anew in every forward pass, the memory that they share for it.
    spares: Option<Arc<Spares>>,
}

impl KernelOps {
    pub(crate) fn loaded(compute: Compute) -> Self {
        Self { compute, spares: None }
    }

    /// Linear layers stay in their files, and every forward pass reads them.
    pub(crate) fn streamed(compute: Compute) -> Self {
        Self { compute, spares: Some(Arc::default()) }
    }
}

#[derive(Debug)]
pub(crate) enum Linear {
    /// Packed as it is read. The weight as it was is not kept.
    Packed(PackedLinear),
    /// Read when it is needed.
    Streamed(Streamed),
}

/// A layer ready for the kernels.
enum Ready<'a> {
    Kept(&'a PackedLinear),
    Loaded(Loaded<'a>),
}

impl Deref for Ready<'_> {
    type Target = PackedLinear;

    fn deref(&self) -> &PackedLinear {
        match self {
            Self::Kept(layer) => layer,
            Self::Loaded(layer) => layer,
        }
    }
}

impl Linear {
    fn ready(&self) -> Result<Ready<'_>> {
        Ok(match self {
            Self::Packed(layer) => Ready::Kept(layer),
            Self::Streamed(layer) => Ready::Loaded(layer.load()?),
        })
    }
}

/// For the attention half, and for the same on tensors where its attention is wanted.
#[derive(Debug)]
pub(crate) struct Rotation {
    kernel: kernels::Rotation,
    on_tensors: CosSin,
}

impl Ops for KernelOps {
    type Linear = Linear;
    type Norm = LayerNorm;
    type Rotation = Rotation;

    fn place(&self, tensor: &Tensor) -> Result<Tensor> {
        tensor.to_device(&Device::Cpu)
    }

    fn linear(&self, LinearWeights { rows, bias }: LinearWeights) -> Result<Linear> {
        let bias = bias.map(|bias| bias.to_vec1()).transpose()?;
        Ok(match &self.spares {
            Some(spares) => Linear::Streamed(Streamed::new(rows, bias, self.compute, spares.clone())),
            None => Linear::Packed(pack(&rows, bias.as_deref(), self.compute, None)?),
        })
    }

    fn linear_at_hand(&self, weight: &Tensor) -> Result<Linear> {
        let (inputs, weight) = (weight.dim(1)?, weight.flatten_all()?.to_vec1()?);
        Ok(Linear::Packed(PackedLinear::from_rows(self.compute, inputs, &weight, None)))
    }

    fn norm(&self, NormWeights { weight, bias, eps }: NormWeights) -> Result<LayerNorm> {
        Ok(LayerNorm::new(Isa::best(), weight.to_vec1()?, bias.to_vec1()?, eps as f32))
    }

    fn rotation(&self, cos: Vec<f32>, sin: Vec<f32>, patches: usize) -> Result<Rotation> {
        let on_tensors = CosSin::new(&cos, &sin, patches, &Device::Cpu)?;
        let half = cos.len() / patches;
        Ok(Rotation { kernel: kernels::Rotation::new(cos, sin, half), on_tensors })
    }

    fn multiply(&self, layer: &Linear, x: &Tensor) -> Result<Tensor> {
        let layer = layer.ready()?;
        on_tensors::apply(x, layer.outputs(), |x| layer.forward(&layer.pack_input(x), Epilogue::None))
    }

    fn normalize(&self, norm: &LayerNorm, x: &Tensor) -> Result<Tensor> {
        on_tensors::apply(x, norm.width(), |x| norm.forward(x, Form::Float32).to_vec().into())
    }

    fn turn(&self, rotation: &Rotation, x: &Tensor) -> Result<Tensor> {
        rotation.on_tensors.turn(x)
    }

    fn product(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        a.matmul(b)
    }

    fn embed(
        &self,
        layer: &Linear,
        patches: &Tensor,
        prefix: Option<&Tensor>,
        positions: Option<&Tensor>,
    ) -> Result<Tensor> {
        let prefix = prefix.map(|prefix| prefix.flatten_all()?.to_vec1());
        let prefix = prefix.transpose()?.unwrap_or_default();
        on_tensors::embed(patches, &*layer.ready()?, &prefix, positions)
    }

    fn attention_half(
        &self,
        x: &Tensor,
        norm: &LayerNorm,
        qkv: &Linear,
        heads: usize,
        rotation: Option<&Rotation>,
        out: &Linear,
    ) -> Result<Tensor> {
        let (qkv, out) = (qkv.ready()?, out.ready()?);
        let (batch, tokens, width) = x.dims3()?;
        let shape = AttentionShape { batch, tokens, heads, head_dim: width / heads };
        let rotation = rotation.map(|rotation| &rotation.kernel);
        on_tensors::apply(x, width, |x| attention_half(x, norm, &qkv, shape, rotation, &out))
    }

    fn mlp_half(
        &self,
        x: &Tensor,
        norm: &LayerNorm,
        fc1: &Linear,
        kind: Mlp,
        fc2: &Linear,
    ) -> Result<Tensor> {
        let (fc1, fc2) = (fc1.ready()?, fc2.ready()?);
        on_tensors::apply(x, norm.width(), |x| match kind {
            Mlp::Plain(activation) => mlp_half(x, norm, &fc1, activation, &fc2),
            Mlp::Gated(activation) => gated_half(x, norm, &fc1, activation, &fc2),
        })
    }

    fn widened(&self, x: &Tensor) -> Result<Tensor> {
        x.to_dtype(DType::F64)
    }
}
