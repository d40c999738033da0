//! What follows a linear layer, done while its sums are still in the nearest cache.

use super::{
    Activation,
    depth::ROW_STRIDE,
    memory::SharedOut,
    packed_rows::PackedOut,
    simd::{Lanes, Several, Simd},
    tile::Finish,
};

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
    /// (outputs / head_dim, rows, head_dim); what attention multiplies its weights with may lie in panels.
    Heads {
        /// The start.
        y: SharedOut,
        /// Channels of a head.
        head_dim: usize,
        /// Rows of the whole result.
        rows: usize,
        /// The head from which on each is (head_dim / tile columns, rows, tile columns). Of others than whole panels there are
        /// none.
        first_in_panels: usize,
    },
}

/// Where tiles belong in the result.
pub(super) struct Place<'a> {
    /// The first row and column in the result.
    pub(super) row: usize,
    pub(super) column: usize,
    /// How many of a tile's columns the result has.
    pub(super) columns: usize,
    /// The result's row length.
    pub(super) outputs: usize,
    /// A tile's width of biases.
    pub(super) bias: &'a [f32],
    pub(super) destination: Destination<'a>,
}

/// Any place: sums are kept, and finished once their tile is complete.
impl Finish for &Place<'_> {
    #[inline(always)]
    unsafe fn ask<S: Simd>(self, row: usize, column: usize) {
        if let Destination::Packed(y, _) = self.destination {
            // SAFETY: a prefetch may go anywhere.
            unsafe { S::prefetch_write(y.near(self.row + row, self.column + column)) };
        }
    }

    #[inline(always)]
    unsafe fn take<S: Simd>(self, _: usize, _: usize, v: S::V, sums: *mut f32) {
        // SAFETY: the caller's sums have this vector.
        unsafe { S::store(sums, v) }
    }

    #[inline(always)]
    unsafe fn done<S: Simd>(self, row: usize, rows: usize, sums: *const f32, sums_stride: usize) {
        // SAFETY: the caller's.
        unsafe { self.finish::<S>(row, rows, sums, sums_stride) }
    }
}

impl Place<'_> {
    /// Writes finished sums, whose rows are a multiple of a vector and `sums_stride` apart, to rows from `first` on.
    ///
    /// # Safety
    /// `sums`, the bias, the result and the residual hold what [`Place`] says; the CPU has the instruction set.
    #[inline(always)]
    pub(super) unsafe fn finish<S: Simd>(
        &self,
        first: usize,
        rows: usize,
        sums: *const f32,
        sums_stride: usize,
    ) {
        for row in 0..rows {
            for column in (0..self.bias.len()).step_by(S::LANES) {
                let count = self.columns.saturating_sub(column);
                // SAFETY: `count` columns are left in each of `rows` rows.
                unsafe {
                    let sum = S::load(sums.add(row * sums_stride + column));
                    let v = S::add(sum, S::load(self.bias.as_ptr().add(column)));
                    let (row, column) = (self.row + first + row, self.column + column);
                    match self.destination {
                        Destination::RowMajor(y, epilogue) => {
                            let at = row * self.outputs + column;
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
                        Destination::Heads { y, head_dim, rows, .. } => {
                            let lanes = S::to_array(v);
                            for (column, lane) in (column..).zip(&lanes[..count.min(S::LANES)]) {
                                *y.as_ptr().add(in_heads(row, column, head_dim, rows)) = *lane;
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Where an element lies in (heads, rows, head_dim).
fn in_heads(row: usize, column: usize, head_dim: usize, rows: usize) -> usize {
    (column / head_dim * rows + row) * head_dim + column % head_dim
}

/// A place with rows for all columns of its tiles: their sums go there straight from the registers.
#[derive(Clone, Copy)]
pub(super) struct WholeRows<'a> {
    bias: &'a [f32],
    /// Where the first row's columns begin; null without a residual.
    residual: *const f32,
    y: *mut f32,
    /// From row to row.
    stride: usize,
}

impl<'a> WholeRows<'a> {
    /// If the place is one, for tiles of so many columns.
    #[inline(always)]
    pub(super) fn of(place: &Place<'a>, columns: usize) -> Option<Self> {
        let null = std::ptr::null();
        let (y, residual, first, stride) = match place.destination {
            Destination::RowMajor(y, epilogue) => {
                let first = place.row * place.outputs + place.column;
                let residual = match epilogue {
                    Epilogue::None => null,
                    Epilogue::AddResidual(residual) => residual[first..].as_ptr(),
                };
                (y, residual, first, place.outputs)
            }
            Destination::Heads { y, head_dim, rows, first_in_panels } if head_dim.is_multiple_of(columns) => {
                if place.column / head_dim < first_in_panels {
                    (y, null, in_heads(place.row, place.column, head_dim, rows), head_dim)
                } else {
                    (y, null, place.column * rows + place.row * columns, columns)
                }
            }
            _ => return None,
        };
        let y = y.as_ptr().wrapping_add(first);
        (place.columns == columns).then_some(Self { bias: place.bias, residual, y, stride })
    }
}

impl Finish for WholeRows<'_> {
    #[inline(always)]
    unsafe fn ask<S: Simd>(self, row: usize, column: usize) {
        let at = row * self.stride + column;
        // SAFETY: a prefetch may go anywhere.
        unsafe {
            S::prefetch_write(self.y.wrapping_add(at));
            if !self.residual.is_null() {
                S::prefetch(self.residual.wrapping_add(at));
            }
        }
    }

    #[inline(always)]
    unsafe fn take<S: Simd>(self, row: usize, column: usize, v: S::V, _: *mut f32) {
        let at = row * self.stride + column;
        // SAFETY: the place has all columns of these rows.
        unsafe {
            let mut v = S::add(v, S::load(self.bias.as_ptr().add(column)));
            if !self.residual.is_null() {
                v = S::add(S::load(self.residual.add(at)), v);
            }
            S::store(self.y.add(at), v);
        }
    }

    #[inline(always)]
    unsafe fn done<S: Simd>(self, _: usize, _: usize, _: *const f32, _: usize) {}
}

/// A place in the next product's float32 input, with rows for all columns of its tiles.
#[derive(Clone, Copy)]
pub(super) struct Activated<'a> {
    bias: &'a [f32],
    activation: Activation,
    /// Where the first row's columns begin.
    y: *mut f32,
}

impl<'a> Activated<'a> {
    /// If the place is one, for tiles of so many columns.
    #[inline(always)]
    pub(super) fn of(place: &Place<'a>, columns: usize) -> Option<Self> {
        let Destination::Packed(y, activation) = place.destination else { return None };
        let y = y.float32_at(place.row, place.column)?;
        (place.columns == columns).then_some(Self { bias: place.bias, activation, y })
    }

    /// [`Finish::done`] for an activation that the compiler knows.
    #[inline(always)]
    unsafe fn apply<S: Simd>(
        self,
        activation: Activation,
        row: usize,
        rows: usize,
        sums: *const f32,
        stride: usize,
    ) {
        // SAFETY: the caller's sums, and the place's rows.
        unsafe {
            // A tile's rows follow each other.
            debug_assert_eq!(stride, 2 * S::LANES);
            let y = |i: usize| self.y.add((row + i) * ROW_STRIDE);
            let pairs = rows / 2 * 2;
            for i in (0..pairs).step_by(2) {
                let v = activation.apply::<Several<S, 4>>(Several::<S, 4>::load(sums.add(i * stride)));
                for (half, v) in v.into_iter().enumerate() {
                    S::store(y(i + half / 2).add(half % 2 * S::LANES), v);
                }
            }
            if pairs < rows {
                Several::<S, 2>::store(
                    y(pairs),
                    activation.apply::<Several<S, 2>>(Several::<S, 2>::load(sums.add(pairs * stride))),
                );
            }
        }
    }
}

impl Finish for Activated<'_> {
    #[inline(always)]
    unsafe fn ask<S: Simd>(self, row: usize, column: usize) {
        // SAFETY: a prefetch may go anywhere.
        unsafe { S::prefetch_write(self.y.wrapping_add(row * ROW_STRIDE + column)) };
    }

    #[inline(always)]
    unsafe fn take<S: Simd>(self, _: usize, column: usize, v: S::V, sums: *mut f32) {
        // SAFETY: the bias has the tile's columns, and the caller's sums this vector.
        unsafe { S::store(sums, S::add(v, S::load(self.bias.as_ptr().add(column)))) }
    }

    #[inline(always)]
    unsafe fn done<S: Simd>(self, row: usize, rows: usize, sums: *const f32, sums_stride: usize) {
        macro_rules! apply {
            ($($activation:ident)*) => {
                match self.activation {
                    // SAFETY: by contract.
                    $(Activation::$activation => unsafe {
                        self.apply::<S>(Activation::$activation, row, rows, sums, sums_stride);
                    },)*
                }
            };
        }
        apply!(QuickGelu Gelu GeluTanh Silu);
    }
}
