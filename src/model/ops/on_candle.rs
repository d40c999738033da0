//! candle's operations, on any device.

use candle_core::{D, DType, Device, Result, Tensor};

use super::{
    Ops,
    attend::{MOST, attend},
    cos_sin::CosSin,
    heads::head_part,
};
use crate::device::OnCandle;
use crate::model::{
    config::Mlp,
    weights::{LinearWeights, NormWeights},
};

/// Where candle computes, and in what types.
#[derive(Debug)]
pub(crate) struct CandleOps {
    device: Device,
    /// What the operands of products are rounded to.
    products: DType,
}

#[derive(Debug)]
pub(crate) struct Linear {
    /// (outputs, inputs), in the type of products.
    weight: Tensor,
    /// (outputs)
    bias: Option<Tensor>,
}

impl CandleOps {
    pub(crate) fn new(on: &OnCandle) -> Self {
        Self { device: on.device().clone(), products: on.product_dtype() }
    }

    #[cfg(test)]
    pub(super) fn of_cpu() -> Self {
        Self { device: Device::Cpu, products: DType::F32 }
    }
}

impl Ops for CandleOps {
    type Linear = Linear;
    type Norm = NormWeights;
    type Rotation = CosSin;

    fn place(&self, tensor: &Tensor) -> Result<Tensor> {
        tensor.to_device(&self.device)
    }

    fn linear(&self, LinearWeights { rows, bias }: LinearWeights) -> Result<Linear> {
        let weight = rows.to_device(&self.device)?.to_dtype(self.products)?;
        Ok(Linear { weight, bias: bias.map(|bias| self.place(&bias)).transpose()? })
    }

    fn linear_at_hand(&self, weight: &Tensor) -> Result<Linear> {
        Ok(Linear { weight: self.place(&weight.contiguous()?)?.to_dtype(self.products)?, bias: None })
    }

    fn norm(&self, NormWeights { weight, bias, eps }: NormWeights) -> Result<NormWeights> {
        Ok(NormWeights { weight: self.place(&weight)?, bias: self.place(&bias)?, eps })
    }

    fn rotation(&self, cos: Vec<f32>, sin: Vec<f32>, patches: usize) -> Result<CosSin> {
        CosSin::new(&cos, &sin, patches, &self.device)
    }

    fn multiply(&self, Linear { weight, bias }: &Linear, x: &Tensor) -> Result<Tensor> {
        let (outputs, inputs) = weight.dims2()?;
        let mut shape = x.dims().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = outputs;
        }
        // candle's function for a product depends on how many rows there are. An image by itself has the same ones in every batch; on a GPU
        // that would leave most of it idle, so that there all batches have one size.
        let images = if self.device.is_cpu() { x.dim(0)? } else { 1 };
        let x = x.reshape((images, (), inputs))?;
        let products = (0..images).map(|image| self.product(&x.get(image)?, &weight.t()?));
        let y = Tensor::cat(&products.collect::<Result<Vec<_>>>()?, 0)?.reshape(shape)?;
        match bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }

    fn normalize(&self, NormWeights { weight, bias, eps }: &NormWeights, x: &Tensor) -> Result<Tensor> {
        // candle adds up a part of a batch in another order than what lies in one piece.
        let x = &x.contiguous()?;
        // The variance is taken from centred values: candle's own norm takes E[x²] - E[x]², which loses all digits of values far from
        // zero. Of centred ones it loses none, and it is one launch in place of eight; on a CPU its plain sums are less exact.
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        if !self.device.is_cpu() {
            return candle_nn::ops::layer_norm(&centred, weight, bias, *eps as f32);
        }
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        centred.broadcast_div(&(variance + *eps)?.sqrt()?)?.broadcast_mul(weight)?.broadcast_add(bias)
    }

    fn turn(&self, rotation: &CosSin, x: &Tensor) -> Result<Tensor> {
        rotation.turn(x)
    }

    fn product(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        /// Of fewer rows candle adds up in another order than of many, and an image would depend on its batch.
        const FEWEST: usize = 16;
        let rows = a.dim(D::Minus2)?;
        if rows < FEWEST {
            let filled = a.pad_with_zeros(D::Minus2, 0, FEWEST - rows)?;
            return self.product(&filled, b)?.narrow(D::Minus2, 0, rows)?.contiguous();
        }
        a.to_dtype(self.products)?.matmul(&b.to_dtype(self.products)?)?.to_dtype(DType::F32)
    }

    fn embed(
        &self,
        layer: &Linear,
        patches: &Tensor,
        prefix: Option<&Tensor>,
        positions: Option<&Tensor>,
    ) -> Result<Tensor> {
        let mut patches = self.multiply(layer, patches)?; // (B, N, width)
        if let Some(positions) = positions {
            patches = patches.broadcast_add(positions)?;
        }
        let Some(prefix) = prefix else { return Ok(patches) };
        let (prefix_tokens, width) = prefix.dims2()?;
        let prefix = prefix.expand((patches.dim(0)?, prefix_tokens, width))?; // (B, P, width)
        Tensor::cat(&[&prefix, &patches], 1) // (B, P + N, width)
    }

    fn attention_half(
        &self,
        x: &Tensor,
        norm: &NormWeights,
        qkv: &Linear,
        heads: usize,
        rotation: Option<&CosSin>,
        out: &Linear,
    ) -> Result<Tensor> {
        let qkv = self.multiply(qkv, &self.normalize(norm, x)?)?; // (B, T, 3·width)
        let part = |index: usize| head_part(&qkv, [index, 3], heads); // (B, H, T, d)
        let turned = |x: Tensor| match rotation {
            Some(rotation) => rotation.turn(&x),
            None => Ok(x),
        };
        let (q, k, v) = (turned(part(0)?)?, turned(part(1)?)?, part(2)?);
        let q = (&q * (q.dim(3)? as f64).powf(-0.5))?;
        let mixed = attend(self, [&q, &k, &v], MOST)?; // (B, H, T, d)
        x + self.multiply(out, &mixed.transpose(1, 2)?.flatten_from(2)?)?
    }

    fn mlp_half(
        &self,
        x: &Tensor,
        norm: &NormWeights,
        fc1: &Linear,
        kind: Mlp,
        fc2: &Linear,
    ) -> Result<Tensor> {
        let inner = self.multiply(fc1, &self.normalize(norm, x)?)?;
        let inner = match kind {
            Mlp::Plain(activation) => activation.forward(&inner)?, // (B, T, inner)
            Mlp::Gated(activation) => {
                let halves = inner.chunk(2, D::Minus1)?; // gate and value, (B, T, inner) each
                (activation.forward(&halves[0].contiguous()?)? * &halves[1])?
            }
        };
        x + self.multiply(fc2, &inner)?
    }

    fn widened(&self, x: &Tensor) -> Result<Tensor> {
        // Metal has no float64.
        if self.device.is_metal() { Ok(x.clone()) } else { x.to_dtype(DType::F64) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Why a GPU centres values before candle's own norm sees them, which takes the variance of what lies far from zero out of two large
    /// numbers that are nearly one.
    #[test]
    fn candles_norm_is_exact_of_centred_values_alone() {
        let (rows, width) = (64, 1024);
        let one = Tensor::ones(width, DType::F32, &Device::Cpu).unwrap();
        let zero = one.zeros_like().unwrap();
        for mean in [0.0, 1.0, 100.0, 1000.0] {
            let wave =
                |index: usize| mean + (index as f32 * 12.9898).sin() * (1.0 + (index % 7) as f32 / 7.0);
            let values: Vec<f32> = (0..rows * width).map(wave).collect();
            let x = Tensor::from_vec(values, (rows, width), &Device::Cpu).unwrap();
            let normalized = |x: &Tensor| {
                let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1).unwrap()).unwrap();
                let variance = centred.sqr().unwrap().mean_keepdim(D::Minus1).unwrap();
                centred.broadcast_div(&(variance + 1e-5).unwrap().sqrt().unwrap()).unwrap()
            };
            let exact = normalized(&x.to_dtype(DType::F64).unwrap());
            let error = |x: &Tensor| {
                let found = candle_nn::ops::layer_norm(x, &one, &zero, 1e-5).unwrap();
                let norm =
                    |x: &Tensor| x.sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap().sqrt();
                norm(&(found.to_dtype(DType::F64).unwrap() - &exact).unwrap()) / norm(&exact)
            };
            let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1).unwrap()).unwrap();
            assert!(error(&centred) < 5e-7, "{mean}: {}", error(&centred));
            let is_far = mean >= 100.0;
            assert_eq!(error(&x) > 1e-4 || error(&x).is_nan(), is_far, "{mean}: {}", error(&x));
        }
    }
}
