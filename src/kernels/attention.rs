//! Multi-head attention straight from the fused q, k and v.

use std::{marker::PhantomData, ops::Range, slice};

use rayon::prelude::*;

use super::{
    Compute, Form, Isa, PackedRows,
    compute::{Machine, Unit},
    math,
    memory::SharedOut,
    packed_rows::PackedOut,
    scratch::{Scratch, new_call},
    simd::{Kernel, Simd},
    threads::parts_per_unit,
    tile::{DEPTH, Float32, Keep, LINE, MAX_TILE_ROWS, Operands, ROW_STRIDE, even_split, sum_tiles, tiles},
    transpose::Transpose,
    unit,
};

/// The sizes of a multi-head attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    /// Sequences that attend each to itself.
    pub batch: usize,
    /// Tokens of a sequence.
    pub tokens: usize,
    /// Heads.
    pub heads: usize,
    /// Channels of a head.
    pub head_dim: usize,
}

impl AttentionShape {
    fn width(&self) -> usize {
        self.heads * self.head_dim
    }

    fn rows(&self) -> usize {
        self.batch * self.tokens
    }
}

/// `softmax(q kᵀ / √head_dim) v` of every head, over all tokens, without a mask.
///
/// `qkv` is (3 · heads, batch · tokens, head_dim): q of all heads, then k, then v, as [`PackedLinear::forward_heads`] gives
/// them; the result is (batch · tokens, heads · head_dim). In rayon's current pool.
///
/// [`PackedLinear::forward_heads`]: super::PackedLinear::forward_heads
///
/// # Panics
/// `qkv` is not as long as the shape says.
pub fn attention(compute: impl Into<Compute>, qkv: &[f32], shape: AttentionShape, form: Form) -> PackedRows {
    assert_eq!(qkv.len(), 3 * shape.rows() * shape.width(), "q, k and v of every token");
    let tasks = AttentionTasks::new(compute.into(), SharedOut::new(qkv.as_ptr().cast_mut()), shape);
    // SAFETY: the tasks only read `qkv`, which is as long as the shape says, and write every head of every token once.
    unsafe {
        PackedRows::written(shape.rows(), shape.width(), form, |y| {
            (0..tasks.count()).into_par_iter().with_max_len(1).for_each(|task| tasks.run(task, y));
        })
    }
}

/// An attention cut into tasks, each some queries of a head.
pub(super) struct AttentionTasks {
    compute: Compute,
    /// What [`attention`] takes; it need not be written before a task runs.
    qkv: SharedOut,
    shape: AttentionShape,
    /// How each head's queries are cut. Parts of a head are neighbours, so that a thread seldom has to pack the head again.
    parts: Vec<Range<usize>>,
    call: u64,
}

impl AttentionTasks {
    pub(super) fn new(compute: Compute, qkv: SharedOut, shape: AttentionShape) -> Self {
        let AttentionShape { batch, tokens, heads, .. } = shape;
        // A unit's queries are cut between its bands.
        let unit = match compute.unit {
            Some(Unit { parts: 1, .. }) => unit::BAND,
            _ => 1,
        };
        let units = tokens.div_ceil(unit);
        let parts = even_split(units, parts_per_unit(batch * heads).min(units))
            .map(|(first, count)| first * unit..((first + count) * unit).min(tokens))
            .collect();
        Self { compute, qkv, shape, parts, call: new_call() }
    }

    pub(super) fn count(&self) -> usize {
        self.shape.batch * self.shape.heads * self.parts.len()
    }

    /// # Safety
    /// `qkv` is written, and nobody else has this task's part of `y` (batch · tokens, width).
    pub(super) unsafe fn run(&self, task: usize, y: PackedOut) {
        let queries = self.parts[task % self.parts.len()].clone();
        let head = Head { qkv: self.qkv.as_ptr(), shape: self.shape, index: task / self.parts.len() };
        // SAFETY: by contract; a unit is only named where the CPU has it.
        unsafe {
            match self.compute.unit {
                // More parts than one would cost more than the unit gains on such small products.
                #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
                Some(Unit { machine: Machine::Amx, parts: 1 }) => self.on_unit::<unit::Amx>(head, queries, y),
                Some(Unit { machine: Machine::Plain, parts: 1 }) => {
                    self.on_unit::<unit::Plain>(head, queries, y);
                }
                _ => self.in_float32(head, queries, y),
            }
        }
    }

    /// # Safety
    /// As [`AttentionTasks::run`], and the CPU has the machine.
    unsafe fn on_unit<M: unit::TileMachine>(&self, head: Head, queries: Range<usize>, y: PackedOut) {
        let isa = self.compute.isa();
        let sizes = unit::Sizes::new(self.shape.tokens, self.shape.head_dim);
        Scratch::with(|scratch| {
            let (operands, room, stale) =
                scratch.operand_and_sums((self.call, head.index), sizes.operands(), sizes.room());
            // SAFETY: these queries' part of `y` is this task's own.
            unsafe {
                if stale {
                    isa.run(unit::PackHead { head, sizes, operands: &mut *operands, room: &mut *room });
                }
                let (first_query, queries) = (queries.start, queries.len());
                let machine = PhantomData::<M>;
                isa.run(unit::Mix { head, sizes, first_query, queries, operands, room, y, machine });
            }
        });
    }

    /// # Safety
    /// As [`AttentionTasks::run`].
    unsafe fn in_float32(&self, head: Head, queries: Range<usize>, y: PackedOut) {
        let AttentionShape { tokens, head_dim, .. } = self.shape;
        let isa = self.compute.isa();
        let columns = isa.tile_columns();
        let keys_len = tokens.div_ceil(columns) * head_dim * columns;
        let values_len = head_dim.div_ceil(columns) * tokens * columns;
        let (query_len, score_len) = (blocks_len(head_dim), blocks_len(tokens));
        Scratch::with(|scratch| {
            let (packed, sums, stale) = scratch.operand_and_sums(
                (self.call, head.index),
                keys_len + values_len,
                query_len + score_len + MAX_TILE_ROWS * columns,
            );
            let (keys, values) = packed.split_at_mut(keys_len);
            if stale {
                head.pack_keys(isa, keys);
                head.pack_values(columns, values);
            }
            let (query, sums) = sums.split_at_mut(query_len);
            let (scores, mixed) = sums.split_at_mut(score_len);
            let (first_query, queries) = (queries.start, queries.len());
            // SAFETY: these queries' part of `y` is this task's own.
            unsafe { isa.run(Mix { head, first_query, queries, keys, values, query, scores, mixed, y }) };
        });
    }
}

/// The length of a tile's rows of `depth` elements, in the micro-kernel's blocks.
fn blocks_len(depth: usize) -> usize {
    depth.div_ceil(DEPTH) * BLOCK
}

/// From one depth block of a tile's rows to the next.
const BLOCK: usize = MAX_TILE_ROWS * ROW_STRIDE;

/// One head of one sequence.
#[derive(Clone, Copy)]
pub(super) struct Head {
    /// Written, and as long as the shape says.
    qkv: *const f32,
    pub(super) shape: AttentionShape,
    /// Counted through all sequences.
    index: usize,
}

impl Head {
    /// The token's row and the head's first channel in the result.
    pub(super) fn place(&self, token: usize) -> (usize, usize) {
        let AttentionShape { tokens, heads, head_dim, .. } = self.shape;
        (self.index / heads * tokens + token, self.index % heads * head_dim)
    }

    /// q (part 0), k (1) or v (2) of the tokens from one on, (tokens, head_dim).
    fn rows(&self, part: usize, token: usize) -> &[f32] {
        let AttentionShape { tokens, heads, head_dim, .. } = self.shape;
        let (row, _) = self.place(token);
        let first = (part * heads + self.index % heads) * self.shape.rows() + row;
        // SAFETY: the part's rows of this sequence are within `qkv`.
        unsafe { slice::from_raw_parts(self.qkv.add(first * head_dim), (tokens - token) * head_dim) }
    }

    /// A token's q (part 0), k (1) or v (2).
    pub(super) fn part(&self, part: usize, token: usize) -> &[f32] {
        &self.rows(part, token)[..self.shape.head_dim]
    }

    /// k of every token, transposed into panels (panels, head_dim, columns); missing tokens are zero.
    fn pack_keys(&self, isa: Isa, keys: &mut [f32]) {
        let AttentionShape { tokens, head_dim, .. } = self.shape;
        let columns = isa.tile_columns();
        for (panel, keys) in keys.chunks_exact_mut(head_dim * columns).enumerate() {
            let count = columns.min(tokens - panel * columns);
            let rows = &self.rows(1, panel * columns)[..count * head_dim];
            // SAFETY: the panel has room for the channels of all columns.
            unsafe {
                isa.run(Transpose { rows, stride: head_dim, inputs: head_dim, panel: keys, columns });
            };
        }
    }

    /// v of every token in panels (panels, tokens, columns); missing channels are zero.
    fn pack_values(&self, columns: usize, values: &mut [f32]) {
        for (panel, values) in values.chunks_exact_mut(self.shape.tokens * columns).enumerate() {
            for (token, to) in values.chunks_exact_mut(columns).enumerate() {
                let value = &self.part(2, token)[panel * columns..];
                let (to, padding) = to.split_at_mut(value.len().min(columns));
                to.copy_from_slice(&value[..to.len()]);
                padding.fill(0.0);
            }
        }
    }
}

/// One task: the result of some queries of a head.
struct Mix<'a> {
    head: Head,
    first_query: usize,
    queries: usize,
    keys: &'a [f32],
    values: &'a [f32],
    /// A tile's queries, then its scores, in blocks; then its mixed values (`TILE_ROWS`, columns).
    query: &'a mut [f32],
    scores: &'a mut [f32],
    mixed: &'a mut [f32],
    /// (batch · tokens, width)
    y: PackedOut,
}

impl Kernel for Mix<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let AttentionShape { tokens, head_dim, .. } = self.head.shape;
        let columns = 2 * S::LANES;
        let (query, scores) = (self.query.as_mut_ptr(), self.scores.as_mut_ptr());
        let mixed = self.mixed.as_mut_ptr();
        for (start, height) in tiles::<S>(self.queries) {
            let first = self.first_query + start;
            // SAFETY: a tile has at most `MAX_TILE_ROWS` rows, for which the three parts have room; a panel of
            // scores ends in the block where it begins, since `columns` divides `DEPTH`; panels are laid out as
            // packed, and the result has `head_dim` channels of this head in each token.
            unsafe {
                for row in 0..height {
                    // A store to a line that has to be fetched first holds up those behind it.
                    let (token, first_channel) = self.head.place(first + row);
                    for channel in (0..head_dim).step_by(LINE) {
                        S::prefetch_write(self.y.near(token, first_channel + channel));
                    }
                    scale_query::<S>(self.head.part(0, first + row), query.add(row * ROW_STRIDE));
                }
                for (panel, keys) in self.keys.chunks_exact(head_dim * columns).enumerate() {
                    let column = panel * columns;
                    let to = scores.add(column / DEPTH * BLOCK + column % DEPTH);
                    sum_blocks::<S>(height, query, keys.as_ptr(), head_dim, to, ROW_STRIDE);
                }
                let mut inverse_sums = [0f32; MAX_TILE_ROWS];
                for (row, inverse) in inverse_sums[..height].iter_mut().enumerate() {
                    *inverse = 1.0 / exponentials::<S>(scores.add(row * ROW_STRIDE), tokens);
                }
                for (panel, values) in self.values.chunks_exact(tokens * columns).enumerate() {
                    sum_blocks::<S>(height, scores, values.as_ptr(), tokens, mixed, columns);
                    for (row, &inverse) in inverse_sums[..height].iter().enumerate() {
                        let (token, first_channel) = self.head.place(first + row);
                        for column in [0, S::LANES] {
                            let channel = panel * columns + column;
                            let v = S::mul(S::load(mixed.add(row * columns + column)), S::splat(inverse));
                            let count = head_dim.saturating_sub(channel);
                            self.y.store::<S>(token, first_channel + channel, count, v);
                        }
                    }
                }
            }
        }
    }
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

/// A tile summed over all depth blocks: rows in blocks of [`BLOCK`] times one panel.
#[inline(always)]
unsafe fn sum_blocks<S: Simd>(
    rows: usize,
    x: *const f32,
    panel: *const f32,
    depth: usize,
    sums: *mut f32,
    sums_stride: usize,
) {
    for start in (0..depth).step_by(DEPTH) {
        // SAFETY: the caller's layout.
        unsafe {
            let weights = panel.add(start * 2 * S::LANES);
            let operands = Operands {
                x: x.add(start / DEPTH * BLOCK),
                weights,
                depth: DEPTH.min(depth - start),
                sums,
                sums_stride,
                accumulate: start > 0,
                ahead: weights, // which is in cache already
                ahead_lines: 0,
                x_ahead: x,
                x_ahead_lines: 0,
            };
            sum_tiles::<S, Float32>(rows, 1, operands, Keep);
        }
    }
}

/// Replaces a row of scores, in blocks, by `e^(score - largest score)` and returns their sum.
#[inline(always)]
unsafe fn exponentials<S: Simd>(row: *mut f32, count: usize) -> f32 {
    // SAFETY: the caller's blocks have room for whole vectors; a vector ends in its block, since `LANES` divides
    // `DEPTH`.
    unsafe {
        // What fills up the last vector must neither be the largest nor count in the sum.
        for i in count..count.next_multiple_of(S::LANES) {
            *row.add(i / DEPTH * BLOCK + i % DEPTH) = f32::NEG_INFINITY;
        }
        let mut largest = S::splat(f32::NEG_INFINITY);
        for i in (0..count).step_by(S::LANES) {
            largest = S::max(largest, S::load(row.add(i / DEPTH * BLOCK + i % DEPTH)));
        }
        let largest = S::splat(S::largest(largest));
        let mut sum = S::splat(0.0);
        for i in (0..count).step_by(S::LANES) {
            let at = row.add(i / DEPTH * BLOCK + i % DEPTH);
            let v = math::exp::<S>(S::sub(S::load(at), largest));
            S::store(at, v);
            sum = S::add(sum, v);
        }
        S::sum(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{noise, relative_error, same_bytes, same_on_all_threads};

    /// Whether operands are rounded to bfloat16.
    fn on_unit(compute: Compute) -> bool {
        compute.tolerance() > 1e3
    }

    /// The attention by its definition, in float64.
    fn plain(qkv: &[f32], shape: AttentionShape) -> Vec<f64> {
        let AttentionShape { batch, tokens, heads, head_dim } = shape;
        let width = shape.width();
        let at = |sequence: usize, token: usize, part: usize, head: usize, channel: usize| {
            let row = (part * heads + head) * batch * tokens + sequence * tokens + token;
            f64::from(qkv[row * head_dim + channel])
        };
        let mut y = vec![0.0; batch * tokens * width];
        for (s, h) in (0..batch).flat_map(|s| (0..heads).map(move |h| (s, h))) {
            for query in 0..tokens {
                let score = |key: usize| -> f64 {
                    (0..head_dim).map(|c| at(s, query, 0, h, c) * at(s, key, 1, h, c)).sum()
                };
                let scores: Vec<f64> = (0..tokens).map(|key| score(key) / (head_dim as f64).sqrt()).collect();
                let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
                let sum: f64 = weights.iter().sum();
                for c in 0..head_dim {
                    let mixed: f64 = (0..tokens).map(|key| weights[key] * at(s, key, 2, h, c)).sum();
                    y[(s * tokens + query) * width + h * head_dim + c] = mixed / sum;
                }
            }
        }
        y
    }

    #[test]
    fn every_shape_matches_the_plain_attention() {
        for (batch, tokens, heads, head_dim) in [
            (1, 1, 1, 1),
            (2, 5, 3, 4),
            (1, 17, 2, 64),
            (1, 50, 3, 80),
            (2, 33, 1, 31),
            (1, 257, 2, 64),
            (1, 300, 1, 33),
            (1, 20, 1, 300),
            (0, 4, 2, 8),
        ] {
            let shape = AttentionShape { batch, tokens, heads, head_dim };
            let mut qkv = noise(1, batch * tokens * 3 * shape.width());
            for value in &mut qkv {
                *value *= 4.0; // scores far enough apart that the softmax is not flat
            }
            let want = plain(&qkv, shape);
            for compute in Compute::all() {
                let error = relative_error(&attention(compute, &qkv, shape, Form::Float32).to_vec(), &want);
                assert!(
                    error < if on_unit(compute) { 1e-2 } else { 2e-6 },
                    "{compute:?} {shape:?}: {error:e}"
                );
                println!("{compute:?} {shape:?} {error:e}");
            }
        }
    }

    #[test]
    fn large_scores_do_not_overflow() {
        let shape = AttentionShape { batch: 1, tokens: 40, heads: 1, head_dim: 16 };
        let qkv: Vec<f32> = noise(1, 40 * 48).into_iter().map(|v| v * 100.0).collect();
        for compute in Compute::all() {
            let error =
                relative_error(&attention(compute, &qkv, shape, Form::Float32).to_vec(), &plain(&qkv, shape));
            assert!(error < if on_unit(compute) { 0.2 } else { 1e-3 }, "{compute:?}: {error:e}"); // scores near 10^4 are rounded to 10^-3
        }
    }

    #[test]
    fn a_sequence_has_the_same_bytes_in_any_batch() {
        let alone = AttentionShape { batch: 1, tokens: 70, heads: 3, head_dim: 20 };
        let image = noise(1, alone.tokens * 3 * alone.width());
        for compute in Compute::all() {
            let want = same_on_all_threads(|| attention(compute, &image, alone, Form::Float32).to_vec());
            for (batch, place) in [(3, 1), (8, 7)] {
                let mut qkv = noise(2, batch * image.len());
                let part = alone.tokens * alone.head_dim;
                for (all, one) in qkv.chunks_exact_mut(batch * part).zip(image.chunks_exact(part)) {
                    all[place * part..][..part].copy_from_slice(one);
                }
                let shape = AttentionShape { batch, ..alone };
                let got = same_on_all_threads(|| attention(compute, &qkv, shape, Form::Float32).to_vec());
                assert!(same_bytes(&got[place * want.len()..][..want.len()], &want), "{compute:?}");
            }
        }
    }
}
