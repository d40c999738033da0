//! Rotary position embedding over the coordinates of patches: what turns queries and keys in every block.

use std::{
    f64::consts::TAU,
    sync::{Arc, Mutex, PoisonError},
};

use candle_core::{D, Device, Result, Tensor};

use crate::kernels;
use crate::model::config::VisionConfig;

/// The rotary position embedding of a tower, for grids of any shape.
#[derive(Debug)]
pub(crate) struct Rotary {
    /// Radians for a whole turn's share of a coordinate, (head_dim / 4).
    inverse_periods: Vec<f32>,
    device: Device,
    /// The last grid that was asked for: a run's images are mostly of one size.
    last: Mutex<Option<Grid>>,
}

/// Rows and columns, and the angles of their patches.
type Grid = ((usize, usize), Arc<Rotation>);

impl Rotary {
    /// A tower's, if its config has one.
    pub(crate) fn new(config: &VisionConfig, device: &Device) -> Option<Self> {
        let theta = config.rope_theta?;
        let count = config.head_dim() / 4;
        let inverse_period = |index: usize| {
            // As torch has them, in float32: 1 / theta ** arange(0, 1, 4 / head_dim).
            let exponent = (index as f64 * (1.0 / count as f64)) as f32;
            1.0 / theta.powf(f64::from(exponent)) as f32
        };
        let inverse_periods = (0..count).map(inverse_period).collect();
        Some(Self { inverse_periods, device: device.clone(), last: Mutex::default() })
    }

    /// Of a grid of `rows` × `columns`.
    pub(crate) fn at(&self, rows: usize, columns: usize) -> Result<Arc<Rotation>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((grid, rotation)) = &*last
            && *grid == (rows, columns)
        {
            return Ok(rotation.clone());
        }
        let rotation = Arc::new(Rotation::new(self.angles(rows, columns), rows * columns, &self.device)?);
        *last = Some(((rows, columns), rotation.clone()));
        Ok(rotation)
    }

    /// The angles of each patch, (rows · columns, head_dim / 2): those of its row, then those of its column.
    fn angles(&self, rows: usize, columns: usize) -> Vec<f32> {
        // The coordinate of a patch's centre between -1 and 1, and its angles, in float32 in the order of transformers'
        // DINOv3ViTRopePositionEmbedding, which has them so whatever the model's own type.
        let angles = |count: usize| -> Vec<Vec<f32>> {
            let coordinate = |index: usize| 2.0 * ((index as f32 + 0.5) / count as f32) - 1.0;
            let turned = |index| {
                self.inverse_periods.iter().map(move |&inverse| TAU as f32 * coordinate(index) * inverse)
            };
            (0..count).map(|index| turned(index).collect()).collect()
        };
        let (down, across) = (angles(rows), angles(columns));
        down.iter()
            .flat_map(|row| across.iter().map(move |column| [row.as_slice(), column].concat()))
            .flatten()
            .collect()
    }
}

/// The angles of the patches of one grid.
#[derive(Debug)]
pub(crate) struct Rotation {
    /// For the kernels.
    pub(crate) kernel: kernels::Rotation,
    /// (patches, head_dim / 2)
    cos: Tensor,
    sin: Tensor,
}

impl Rotation {
    /// `angles` are (patches, head_dim / 2).
    fn new(angles: Vec<f32>, patches: usize, device: &Device) -> Result<Self> {
        let half = angles.len() / patches;
        let of = |function: fn(f64) -> f64| -> Vec<f32> {
            angles.iter().map(|&angle| function(f64::from(angle)) as f32).collect()
        };
        let (cos, sin) = (of(f64::cos), of(f64::sin));
        let tensor = |values: &[f32]| Tensor::from_slice(values, (patches, half), device);
        Ok(Self { cos: tensor(&cos)?, sin: tensor(&sin)?, kernel: kernels::Rotation::new(cos, sin, half) })
    }

    /// Turns queries or keys (B, heads, T, head_dim) of the patches, which stand last; the tokens before them stay.
    pub(crate) fn turn(&self, x: &Tensor) -> Result<Tensor> {
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
    use crate::kernels::{AttentionShape, Isa, rotate};

    /// The one for candle and the one for the kernels turn the same tokens by the same angles.
    #[test]
    fn both_ways_agree() {
        let (batch, heads, head_dim, prefix) = (2, 3, 8, 2);
        let config = VisionConfig {
            rope_theta: Some(100.0),
            hidden_size: heads * head_dim,
            num_attention_heads: heads,
            ..VisionConfig::vit_large_patch14()
        };
        let rotary = Rotary::new(&config, &Device::Cpu).unwrap();
        for (rows, columns) in [(3, 5), (5, 3), (1, 1)] {
            let rotation = rotary.at(rows, columns).unwrap();
            let tokens = prefix + rows * columns;
            let qkv = Tensor::randn(0f32, 1f32, (3, heads, batch, tokens, head_dim), &Device::Cpu).unwrap();
            let mut turned = qkv.flatten_all().unwrap().to_vec1().unwrap();
            let shape = AttentionShape { batch, tokens, heads, head_dim };
            rotate(Isa::best(), &mut turned, shape, &rotation.kernel);
            let turned = Tensor::from_vec(turned, qkv.shape(), &Device::Cpu).unwrap();
            let part = |qkv: &Tensor, index| {
                qkv.get(index).unwrap().transpose(0, 1).unwrap() // (B, H, T, d)
            };
            let flat = |x: Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for index in 0..2 {
                let want = flat(rotation.turn(&part(&qkv, index).contiguous().unwrap()).unwrap());
                assert_eq!(flat(part(&turned, index)), want);
            }
            assert_eq!(flat(part(&turned, 2)), flat(part(&qkv, 2)));
        }
    }

    /// `DINOv3ViTRopePositionEmbedding` with rope_theta 100 and heads of 8: of the patch in the second row and third column of
    /// 2 × 4, the coordinates are 0.5 and 0.25.
    #[test]
    fn angles_are_those_of_the_patchs_centre() {
        let config = VisionConfig {
            rope_theta: Some(100.0),
            hidden_size: 8,
            num_attention_heads: 1,
            ..VisionConfig::vit_large_patch14()
        };
        let angles = Rotary::new(&config, &Device::Cpu).unwrap().angles(2, 4);
        let turn = TAU as f32;
        let want = [0.5 * turn, 0.05 * turn, 0.25 * turn, 0.025 * turn];
        for (found, want) in angles[6 * 4..7 * 4].iter().zip(want) {
            assert!((found - want).abs() < 1e-6, "{found} for {want}");
        }
        assert_eq!(angles.len(), 8 * 4);
    }
}
