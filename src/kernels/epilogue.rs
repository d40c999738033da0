//! What follows a linear layer, done while its sums are still in the nearest cache.

use super::{Activation, simd::Simd};

/// What becomes of `x Wᵀ + b`.
#[derive(Clone, Copy, Debug)]
pub enum Epilogue<'a> {
    /// Nothing more.
    None,
    /// `activation(x Wᵀ + b)`.
    Activation(Activation),
    /// `residual + x Wᵀ + b`, the residual (rows, outputs).
    AddResidual(&'a [f32]),
}

/// Where a tile belongs in the result.
pub(super) struct Place<'a> {
    /// The tile's first element in the result.
    pub(super) y: *mut f32,
    /// The same place's offset from the result's start, where the residual has its value.
    pub(super) offset: usize,
    /// The result's row length.
    pub(super) stride: usize,
    /// The tile's rows, and how many of its columns the result has.
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// A tile's width of biases.
    pub(super) bias: *const f32,
    pub(super) epilogue: Epilogue<'a>,
}

/// Writes a tile's finished sums, rows of two vectors, to the result.
///
/// # Safety
/// `sums`, the bias, the result and the residual hold what [`Place`] says; the CPU has the instruction set.
#[inline(always)]
pub(super) unsafe fn finish_tile<S: Simd>(sums: *const f32, place: &Place) {
    for row in 0..place.rows {
        for column in [0, S::LANES] {
            let count = place.columns.saturating_sub(column);
            let at = row * place.stride + column;
            // SAFETY: `count` columns are left in each of `rows` rows.
            unsafe {
                let sum = S::load(sums.add(row * 2 * S::LANES + column));
                let v = S::add(sum, S::load(place.bias.add(column)));
                let v = match place.epilogue {
                    Epilogue::None => v,
                    Epilogue::Activation(activation) => activation.apply::<S>(v),
                    Epilogue::AddResidual(residual) => {
                        let residual = residual.as_ptr().wrapping_add(place.offset + at);
                        S::add(S::load_first(residual, count), v)
                    }
                };
                S::store_first(place.y.wrapping_add(at), count, v);
            }
        }
    }
}
