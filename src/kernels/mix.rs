//! Attention's innermost part: scores, their softmax, and the values that it mixes.

use std::array::from_fn;

use super::{
    AttentionShape,
    depth::{DEPTH, ROW_STRIDE},
    head::Head,
    math,
    packed_rows::PackedOut,
    simd::{Kernel, Lanes, MAX_LANES, Several, Simd},
    tile::{Finish, Float32, Keep, KeepFor, LINE, Operands, strips, sum_tiles},
};

/// The length of a tile's rows of `depth` elements, in the micro-kernel's blocks.
pub(super) fn blocks_len(depth: usize) -> usize {
    depth.div_ceil(DEPTH) * BLOCK
}

/// From one depth block of a tile's rows to the next.
const BLOCK: usize = GROUP_ROWS * ROW_STRIDE;

/// Rows of a group of tiles, at most: their scores of some hundred keys stay in a first-level cache of 32 KB.
pub(super) const GROUP_ROWS: usize = 28;

/// v in panels of (tokens, columns).
#[derive(Clone, Copy)]
pub(super) struct Values {
    pub(super) start: *const f32,
    /// From panel to panel.
    pub(super) stride: usize,
}

/// One task: the result of some queries of a head.
pub(super) struct Mix<'a> {
    pub(super) head: Head,
    pub(super) first_query: usize,
    pub(super) queries: usize,
    pub(super) keys: &'a [f32],
    pub(super) values: Values,
    /// What this thread probably mixes then, its v as it comes.
    pub(super) next: Option<(Head, Values)>,
    /// A tile's queries, then its scores, in blocks; then its mixed values (`TILE_ROWS`, columns).
    pub(super) query: &'a mut [f32],
    pub(super) scores: &'a mut [f32],
    pub(super) mixed: &'a mut [f32],
    /// (batch · tokens, width)
    pub(super) y: PackedOut,
}

impl Kernel for Mix<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let AttentionShape { tokens, head_dim, .. } = self.head.shape;
        let columns = 2 * S::LANES;
        let (query, scores) = (self.query.as_mut_ptr(), self.scores.as_mut_ptr());
        let mixed = self.mixed.as_mut_ptr();
        for group in groups::<S>(self.queries) {
            let first = self.first_query + group.start;
            // Each tile asks for its share of what is next.
            let share = |from: *const f32, len: usize| {
                let lines = len.div_ceil(LINE).div_ceil(group.of);
                (from.wrapping_add(group.before * lines * LINE), lines)
            };
            let nothing = (std::ptr::null(), 0);
            // SAFETY: a group has at most `GROUP_ROWS` rows, for which the three parts have room; a panel of
            // scores ends in the block where it begins, since `columns` divides `DEPTH`; panels are laid out as
            // packed, and the result has `head_dim` channels of this head in each token.
            unsafe {
                for row in 0..group.rows() {
                    scale_query::<S>(self.head.part(0, first + row), query.add(row * ROW_STRIDE));
                }
                for (panel, keys) in self.keys.chunks_exact(head_dim * columns).enumerate() {
                    let column = panel * columns;
                    let sums = scores.add(column / DEPTH * BLOCK + column % DEPTH);
                    let ahead = |part| match self.next {
                        Some((next, _)) => share(next.rows(part, column).as_ptr(), columns * head_dim),
                        None => nothing,
                    };
                    let ahead = [ahead(1), ahead(0)];
                    let product = Blocks {
                        x: query,
                        panel: keys.as_ptr(),
                        depth: head_dim,
                        sums,
                        sums_stride: ROW_STRIDE,
                    };
                    // Of 257 tokens the last panel has one.
                    if tokens - column > S::LANES {
                        product.sum::<S, 2>(&group, ahead, Keep);
                    } else {
                        product.sum::<S, 1>(&group, ahead, Keep);
                    }
                }
                let mut inverse_sums = [0f32; GROUP_ROWS];
                exponentials::<S>(&mut inverse_sums[..group.rows()], scores, tokens);
                for panel in 0..head_dim.div_ceil(columns) {
                    let ahead = self.next.map_or(nothing, |(_, next)| {
                        share(next.start.wrapping_add(panel * next.stride), tokens * columns)
                    });
                    let values = self.values.start.wrapping_add(panel * self.values.stride);
                    let product =
                        Blocks { x: scores, panel: values, depth: tokens, sums: mixed, sums_stride: columns };
                    let (token, first_channel) = self.head.place(first);
                    let channel = first_channel + panel * columns;
                    match self.y.float32_at(token, channel) {
                        Some(y) if head_dim.is_multiple_of(columns) => {
                            let scaled = ScaledRows { scales: inverse_sums.as_ptr(), y };
                            product.sum::<S, 2>(&group, [nothing, ahead], scaled);
                        }
                        _ => {
                            for row in 0..group.rows() {
                                for channel in (channel..channel + columns).step_by(LINE) {
                                    S::prefetch_write(self.y.near(token + row, channel));
                                }
                            }
                            product.sum::<S, 2>(&group, [nothing, ahead], Keep);
                            for (row, &inverse) in inverse_sums[..group.rows()].iter().enumerate() {
                                for column in [0, S::LANES] {
                                    let v =
                                        S::mul(S::load(mixed.add(row * columns + column)), S::splat(inverse));
                                    let count = head_dim.saturating_sub(panel * columns + column);
                                    self.y.store::<S>(token + row, channel + column, count, v);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Tiles of one height below each other that go through all panels together, so that a panel comes into the nearest cache once
/// for them.
struct Group {
    /// The first row.
    start: usize,
    height: usize,
    tiles: usize,
    /// Tiles of the task before this one, and of the whole task.
    before: usize,
    of: usize,
}

impl Group {
    fn rows(&self) -> usize {
        self.height * self.tiles
    }
}

/// Cuts a task's queries into groups.
#[inline(always)]
fn groups<S: Simd>(queries: usize) -> impl Iterator<Item = Group> {
    let of = queries.div_ceil(S::TILE_ROWS);
    let most = GROUP_ROWS / S::TILE_ROWS;
    let mut before = 0;
    strips::<S>(queries)
        .flat_map(move |(start, height, tiles)| {
            (0..tiles).step_by(most).map(move |tile| (start + tile * height, height, most.min(tiles - tile)))
        })
        .map(move |(start, height, tiles)| {
            before += tiles;
            Group { start, height, tiles, before: before - tiles, of }
        })
}

/// Puts a query times `1 / √head_dim` into blocks.
#[inline(always)]
unsafe fn scale_query<S: Simd>(query: &[f32], to: *mut f32) {
    // SAFETY: the caller's blocks have room for the query; a vector ends in its block, since `LANES` divides
    // `DEPTH`.
    unsafe {
        let scale = S::splat((query.len() as f32).sqrt().recip());
        for channel in (0..query.len()).step_by(S::LANES) {
            let v = S::load_first(query.as_ptr().add(channel), query.len() - channel);
            S::store(to.add(channel / DEPTH * BLOCK + channel % DEPTH), S::mul(v, scale));
        }
    }
}

/// Rows in blocks of [`BLOCK`] times one panel, or its first vector.
struct Blocks {
    x: *const f32,
    panel: *const f32,
    depth: usize,
    sums: *mut f32,
    sums_stride: usize,
}

impl Blocks {
    /// A tile summed over all depth blocks. Meanwhile it asks for as many cache lines from two places on.
    #[inline(always)]
    unsafe fn sum<S: Simd, const VECTORS: usize>(
        self,
        group: &Group,
        ahead: [(*const f32, usize); 2],
        finish: impl Finish,
    ) {
        let Self { x, panel, depth, sums, sums_stride } = self;
        for start in (0..depth).step_by(DEPTH) {
            let [(ahead, ahead_lines), (x_ahead, x_ahead_lines)] =
                if start == 0 { ahead } else { [(x, 0); 2] };
            let operands = Operands {
                x: x.wrapping_add(start / DEPTH * BLOCK),
                weights: panel.wrapping_add(start * 2 * S::LANES),
                depth: DEPTH.min(depth - start),
                sums,
                sums_stride,
                accumulate: start > 0,
                ahead,
                ahead_lines,
                x_ahead,
                x_ahead_lines,
                x_ahead_step: x_ahead_lines * LINE,
            };
            // SAFETY: the caller's layout.
            unsafe {
                if start + DEPTH < depth {
                    sum_tiles::<S, Float32, VECTORS>(group.height, group.tiles, operands, KeepFor(finish));
                } else {
                    sum_tiles::<S, Float32, VECTORS>(group.height, group.tiles, operands, finish);
                }
            }
        }
    }
}

/// Each row goes, times its scale, to one of [`ROW_STRIDE`] apart.
#[derive(Clone, Copy)]
struct ScaledRows {
    scales: *const f32,
    y: *mut f32,
}

impl Finish for ScaledRows {
    #[inline(always)]
    unsafe fn ask<S: Simd>(self, row: usize, column: usize) {
        // SAFETY: a prefetch may go anywhere.
        unsafe { S::prefetch_write(self.y.wrapping_add(row * ROW_STRIDE + column)) };
    }

    #[inline(always)]
    unsafe fn take<S: Simd>(self, row: usize, column: usize, v: S::V, _: *mut f32) {
        // SAFETY: there are a scale and a row of the result for each of a tile.
        unsafe { S::store(self.y.add(row * ROW_STRIDE + column), S::mul(v, S::splat(*self.scales.add(row)))) }
    }

    #[inline(always)]
    unsafe fn done<S: Simd>(self, _: usize, _: usize, _: *const f32, _: usize) {}
}

/// Replaces each row of scores, in blocks, by `e^(score - largest score)`, and gives the inverse of its sum.
#[inline(always)]
unsafe fn exponentials<S: Simd>(inverse_sums: &mut [f32], scores: *mut f32, count: usize) {
    // SAFETY: the caller's blocks have room for whole vectors; a vector ends in its block, since `LANES` divides
    // `DEPTH`.
    unsafe {
        // Negative in the lanes of the last vector that a row has.
        let rest: [f32; MAX_LANES] = from_fn(|lane| if lane < count % S::LANES { -1.0 } else { 1.0 });
        let rest = S::load(rest.as_ptr());
        // The largest of all rows first: one after the other, each row would wait for its own.
        for (row, largest) in inverse_sums.iter_mut().enumerate() {
            let row = scores.add(row * ROW_STRIDE);
            // What fills up the last vector must neither be the largest nor count in the sum.
            if !count.is_multiple_of(S::LANES) {
                let i = count / S::LANES * S::LANES;
                let last = row.add(i / DEPTH * BLOCK + i % DEPTH);
                S::store(last, S::select_negative(rest, S::load(last), S::splat(f32::NEG_INFINITY)));
            }
            let mut vector = S::splat(f32::NEG_INFINITY);
            for i in (0..count).step_by(S::LANES) {
                vector = S::max(vector, S::load(row.add(i / DEPTH * BLOCK + i % DEPTH)));
            }
            *largest = S::largest(vector);
        }
        for (row, inverse) in inverse_sums.iter_mut().enumerate() {
            let row = scores.add(row * ROW_STRIDE);
            let (largest, mut sum) = (*inverse, S::splat(0.0));
            let mut i = 0;
            while i < count {
                let at = row.add(i / DEPTH * BLOCK + i % DEPTH);
                // A block is whole fours of vectors, which need not wait for each other.
                if i + Several::<S, 4>::LANES <= count {
                    let v = exponential::<Several<S, 4>>(at, largest);
                    for v in v {
                        sum = S::add(sum, v);
                    }
                    i += Several::<S, 4>::LANES;
                } else {
                    sum = S::add(sum, exponential::<S>(at, largest));
                    i += S::LANES;
                }
            }
            *inverse = 1.0 / S::sum(sum);
        }
    }
}

/// Replaces some scores by `e^(score - largest)`, and gives them.
#[inline(always)]
unsafe fn exponential<L: Lanes>(scores: *mut f32, largest: f32) -> L::V {
    // SAFETY: the caller's scores are as many as there are lanes.
    unsafe {
        let v = math::exp_of_negative::<L>(L::sub(L::load(scores), L::splat(largest)));
        L::store(scores, v);
        v
    }
}
