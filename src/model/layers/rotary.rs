//! Rotary position embedding over the coordinates of patches: what turns queries and keys in every block.

use std::{
    f64::consts::TAU,
    sync::{Arc, Mutex, PoisonError},
};

use candle_core::Result;

use crate::model::{config::VisionConfig, ops::Ops};

/// The rotary position embedding of a tower, for grids of any shape.
#[derive(Debug)]
pub(crate) struct Rotary<R> {
    /// Radians for a whole turn's share of a coordinate, (head_dim / 4).
    inverse_periods: Vec<f32>,
    /// The last grid that was asked for: a run's images are mostly of one size.
    last: Mutex<Option<Grid<R>>>,
}

/// Rows and columns, and the angles of their patches.
type Grid<R> = ((usize, usize), Arc<R>);

impl<R> Rotary<R> {
    /// A tower's, if its config has one.
    pub(crate) fn new(config: &VisionConfig) -> Option<Self> {
        let theta = config.rope_theta?;
        let count = config.head_dim() / 4;
        let inverse_period = |index: usize| {
            // As torch has them, in float32: 1 / theta ** arange(0, 1, 4 / head_dim).
            let exponent = (index as f64 * (1.0 / count as f64)) as f32;
            1.0 / theta.powf(f64::from(exponent)) as f32
        };
        let inverse_periods = (0..count).map(inverse_period).collect();
        Some(Self { inverse_periods, last: Mutex::default() })
    }

    /// Of a grid of `rows` × `columns`.
    pub(crate) fn at<O: Ops<Rotation = R>>(&self, ops: &O, rows: usize, columns: usize) -> Result<Arc<R>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((grid, rotation)) = &*last
            && *grid == (rows, columns)
        {
            return Ok(rotation.clone());
        }
        let angles = self.angles(rows, columns);
        let of = |function: fn(f64) -> f64| -> Vec<f32> {
            angles.iter().map(|&angle| function(f64::from(angle)) as f32).collect()
        };
        let rotation = Arc::new(ops.rotation(of(f64::cos), of(f64::sin), rows * columns)?);
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

#[cfg(test)]
mod tests {
    use super::*;

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
        let angles = Rotary::<()>::new(&config).unwrap().angles(2, 4);
        let turn = TAU as f32;
        let want = [0.5 * turn, 0.05 * turn, 0.25 * turn, 0.025 * turn];
        for (found, want) in angles[6 * 4..7 * 4].iter().zip(want) {
            assert!((found - want).abs() < 1e-6, "{found} for {want}");
        }
        assert_eq!(angles.len(), 8 * 4);
    }
}
