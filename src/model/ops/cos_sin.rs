//! Rotations of queries and keys, on tensors.

use candle_core::{D, Device, Result, Tensor};

/// The cosines and sines of the patches of one grid, (patches, head_dim / 2) each.
#[derive(Debug)]
pub(crate) struct CosSin {
    cos: Tensor,
    sin: Tensor,
}

impl CosSin {
    pub(super) fn new(cos: &[f32], sin: &[f32], patches: usize, device: &Device) -> Result<Self> {
        let tensor = |values: &[f32]| Tensor::from_slice(values, (patches, values.len() / patches), device);
        Ok(Self { cos: tensor(cos)?, sin: tensor(sin)? })
    }

    /// Turns queries or keys (B, heads, T, head_dim) of the patches, which stand last; the tokens before them stay.
    pub(super) fn turn(&self, x: &Tensor) -> Result<Tensor> {
        let (patches, half) = self.cos.dims2()?;
        let prefix = x.dim(2)? - patches;
        let turned = x.narrow(2, prefix, patches)?; // (B, H, N, d)
        let (first, second) = (turned.narrow(D::Minus1, 0, half)?, turned.narrow(D::Minus1, half, half)?);
        let part = |a: &Tensor, b: &Tensor| a.broadcast_mul(&self.cos)? + b.broadcast_mul(&self.sin)?;
        let turned = Tensor::cat(&[part(&first, &second.neg()?)?, part(&second, &first)?], 3)?; // (B, H, N, d)
        if prefix == 0 {
            return Ok(turned);
        }
        Tensor::cat(&[x.narrow(2, 0, prefix)?, turned], 2) // (B, H, T, d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{AttentionShape, Isa, Rotation, rotate};

    /// The one on tensors and the one for the kernels turn the same tokens by the same angles.
    #[test]
    fn both_ways_agree() {
        let (batch, heads, head_dim, prefix) = (2, 3, 8, 2);
        for patches in [15, 1] {
            let angles: Vec<f32> = (0..patches * head_dim / 2).map(|index| index as f32 * 0.37).collect();
            let of =
                |function: fn(f32) -> f32| angles.iter().map(|&angle| function(angle)).collect::<Vec<_>>();
            let (cos, sin) = (of(f32::cos), of(f32::sin));
            let on_tensors = CosSin::new(&cos, &sin, patches, &Device::Cpu).unwrap();
            let tokens = prefix + patches;
            let qkv = Tensor::randn(0f32, 1f32, (3, heads, batch, tokens, head_dim), &Device::Cpu).unwrap();
            let mut turned = qkv.flatten_all().unwrap().to_vec1().unwrap();
            let shape = AttentionShape { batch, tokens, heads, head_dim };
            rotate(Isa::best(), &mut turned, shape, &Rotation::new(cos, sin, head_dim / 2));
            let turned = Tensor::from_vec(turned, qkv.shape(), &Device::Cpu).unwrap();
            let part = |qkv: &Tensor, index| {
                qkv.get(index).unwrap().transpose(0, 1).unwrap() // (B, H, T, d)
            };
            let flat = |x: Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for index in 0..2 {
                let want = flat(on_tensors.turn(&part(&qkv, index).contiguous().unwrap()).unwrap());
                assert_eq!(flat(part(&turned, index)), want);
            }
            assert_eq!(flat(part(&turned, 2)), flat(part(&qkv, 2)));
        }
    }
}
