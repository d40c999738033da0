//! What follows a linear layer, done while its sums are still in the nearest cache.

use super::{Activation, memory::SharedOut, packed_rows::PackedOut, simd::Simd};

/// What becomes of `x Wᵀ + b`.
#[derive(Clone, Copy, Debug)]
pub enum Epilogue<'a> {
    /// Nothing more.
    None,
    /// `residual + x Wᵀ + b`, the residual (rows, outputs).
    AddResidual(&'a [f32]),
}

/// Where results go.
#[derive(Clone, Copy)]
pub(super) enum Destination<'a> {
    /// (rows, outputs)
    RowMajor(SharedOut, Epilogue<'a>),
    /// The next product's input, behind an activation.
    Packed(PackedOut, Activation),
}

/// Where a tile belongs in the result.
pub(super) struct Place<'a> {
    /// The tile's first row and column in the result.
    pub(super) row: usize,
    pub(super) column: usize,
    /// The tile's rows, and how many of its columns the result has.
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// The result's row length.
    pub(super) outputs: usize,
    /// A tile's width of biases.
    pub(super) bias: &'a [f32],
    pub(super) destination: Destination<'a>,
}

/// Writes a tile's finished sums, rows of `width`, which is a multiple of a vector, to the result.
///
/// # Safety
/// `sums`, the bias, the result and the residual hold what [`Place`] says; the CPU has the instruction set.
#[inline(always)]
pub(super) unsafe fn finish_tile<S: Simd>(sums: *const f32, width: usize, place: &Place) {
    for row in 0..place.rows {
        for column in (0..width).step_by(S::LANES) {
            let count = place.columns.saturating_sub(column);
            // SAFETY: `count` columns are left in each of `rows` rows.
            unsafe {
                let sum = S::load(sums.add(row * width + column));
                let v = S::add(sum, S::load(place.bias.as_ptr().add(column)));
                let (row, column) = (place.row + row, place.column + column);
                match place.destination {
                    Destination::RowMajor(y, epilogue) => {
                        let at = row * place.outputs + column;
                        let v = match epilogue {
                            Epilogue::None => v,
                            Epilogue::AddResidual(residual) => {
                                S::add(S::load_first(residual.as_ptr().wrapping_add(at), count), v)
                            }
                        };
                        S::store_first(y.as_ptr().wrapping_add(at), count, v);
                    }
                    Destination::Packed(y, activation) => {
                        y.store::<S>(row, column, count, activation.apply::<S>(v));
                    }
                }
            }
        }
    }
}
