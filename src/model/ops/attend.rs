//! Attention a piece at a time, so that its scores take a bounded part of memory.

use candle_core::{Result, Tensor};

use super::Ops;

/// The most scores that are there at once: 64 MB.
pub(super) const MOST: usize = 1 << 24;

/// `softmax(q kᵀ) v`, each of q, k and v (B, heads, T, head_dim), q scaled: as many heads at a time as there are `most` scores of, or a
/// part of a head's rows.
pub(super) fn attend(ops: &impl Ops, [q, k, v]: [&Tensor; 3], most: usize) -> Result<Tensor> {
    let (_, _, rows, _) = q.dims4()?;
    let keys = k.dim(2)?;
    let [queries, k, v] = [q.flatten(0, 1)?, k.flatten(0, 1)?, v.flatten(0, 1)?]; // (B · H, T, d)
    let heads = queries.dim(0)?;
    let heads_at_once = (most / (rows * keys)).clamp(1, heads);
    let rows_at_once = (most / keys).clamp(1, rows);
    let mut mixed = Vec::new();
    for head in (0..heads).step_by(heads_at_once) {
        let count = heads_at_once.min(heads - head);
        let (k, v) = (k.narrow(0, head, count)?.t()?, v.narrow(0, head, count)?);
        let queries = queries.narrow(0, head, count)?;
        let part = |row: usize| {
            let q = queries.narrow(1, row, rows_at_once.min(rows - row))?.contiguous()?;
            let weights = candle_nn::ops::softmax_last_dim(&ops.product(&q, &k)?)?;
            ops.product(&weights, &v)
        };
        let parts = (0..rows).step_by(rows_at_once).map(part).collect::<Result<Vec<_>>>()?;
        mixed.push(Tensor::cat(&parts, 1)?);
    }
    Tensor::cat(&mixed, 0)?.reshape(q.shape())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ops::CandleOps;
    use candle_core::Device;

    #[test]
    fn pieces_are_the_whole() {
        let ops = CandleOps::of_cpu();
        let shape = (2, 3, 17, 8);
        let [q, k, v] = [0; 3].map(|_| Tensor::randn(0f32, 1f32, shape, &Device::Cpu).unwrap());
        let flat = |most| {
            let mixed = attend(&ops, [&q, &k, &v], most).unwrap();
            assert_eq!(mixed.dims4().unwrap(), shape);
            mixed.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let whole = flat(MOST);
        // All heads but one, one head.
        for most in [5 * 17 * 17, 17 * 17] {
            assert_eq!(flat(most), whole, "{most}");
        }
        // All but a row of it, a row: candle may add up in another order.
        for most in [16 * 17, 17, 1] {
            for (found, want) in flat(most).into_iter().zip(&whole) {
                assert!((found - want).abs() < 1e-6, "{most}: {found} for {want}");
            }
        }
        let plain = candle_nn::ops::softmax_last_dim(&q.matmul(&k.t().unwrap()).unwrap()).unwrap();
        assert_eq!(plain.matmul(&v).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap(), whole);
    }
}
