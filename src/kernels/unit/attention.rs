//! Attention on a tile machine, queries, keys, weights and values rounded to bfloat16.

use std::marker::PhantomData;

use super::{
    BAND, COLUMNS, ROWS, STEP, TileMachine,
    product::{Operands, PANEL_STEP, SUMS, X_PART, sum_tiles},
};
use crate::kernels::{
    head::Head,
    math,
    packed_rows::PackedOut,
    panels::TakePart,
    simd::{Kernel, Simd, round_to_bf16},
    transpose::Transpose,
};

/// The sizes of a head in tiles.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Sizes {
    /// Steps that the tokens fill, and panels of them.
    token_steps: usize,
    /// Steps that the channels fill, and panels of them.
    channel_steps: usize,
}

impl Sizes {
    pub(in crate::kernels) fn new(tokens: usize, head_dim: usize) -> Self {
        Self { token_steps: tokens.div_ceil(STEP), channel_steps: head_dim.div_ceil(STEP) }
    }

    /// Values of a head's keys, and as many of its values.
    fn operand(self) -> usize {
        self.token_steps * self.channel_steps * PANEL_STEP
    }

    /// Values of a head's keys and values.
    pub(in crate::kernels) fn operands(self) -> usize {
        2 * self.operand()
    }

    /// Values that a task needs besides: a band's queries, scores and weights; the keys of a panel while they are packed need less.
    pub(in crate::kernels) fn room(self) -> usize {
        self.channel_steps * (X_PART + BAND * STEP) + self.token_steps * (SUMS + X_PART) + SUMS
    }
}

/// Packs the keys and values of a head as a unit's weights: keys (panels of tokens, steps of channels), values (panels of channels,
/// steps of tokens).
pub(in crate::kernels) struct PackHead<'a> {
    pub(in crate::kernels) head: Head,
    pub(in crate::kernels) sizes: Sizes,
    pub(in crate::kernels) operands: &'a mut [f32],
    pub(in crate::kernels) room: &'a mut [f32],
}

impl Kernel for PackHead<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { head, sizes, operands, room } = self;
        let (tokens, head_dim) = (head.shape.tokens, head.shape.head_dim);
        let (keys, values) = operands.split_at_mut(sizes.operand());
        let words = sizes.channel_steps * STEP / 2;
        for (panel, to) in keys.chunks_exact_mut(words * COLUMNS).enumerate() {
            let first = panel * COLUMNS;
            let count = COLUMNS.min(tokens - first);
            let (rows, halves) = room.split_at_mut(count * head_dim);
            let halves = &mut halves[..count * words];
            for (row, to) in rows.chunks_exact_mut(head_dim).enumerate() {
                to.copy_from_slice(head.part(1, first + row));
            }
            // SAFETY: the rows of pairs are as many and long enough, and fit the panel. Both are inlined here.
            unsafe {
                TakePart { rows, inputs: head_dim, halves, words }.run::<S>();
                Transpose { rows: halves, stride: words, inputs: words, panel: to, columns: COLUMNS }
                    .run::<S>();
            }
        }
        for (panel, to) in values.chunks_exact_mut(sizes.token_steps * PANEL_STEP).enumerate() {
            let channels = panel * COLUMNS..head_dim.min((panel + 1) * COLUMNS);
            for (pair, to) in to.chunks_exact_mut(COLUMNS).enumerate() {
                let value = |token: usize| (token < tokens).then(|| &head.part(2, token)[channels.clone()]);
                to.fill(0.0);
                if let Some(even) = value(2 * pair) {
                    for (to, &even) in to.iter_mut().zip(even) {
                        *to = f32::from_bits(round_to_bf16(even).to_bits() >> 16);
                    }
                }
                if let Some(odd) = value(2 * pair + 1) {
                    for (to, &odd) in to.iter_mut().zip(odd) {
                        *to = f32::from_bits(to.to_bits() | round_to_bf16(odd).to_bits());
                    }
                }
            }
        }
    }
}

/// One task: the result of some queries of a head.
pub(in crate::kernels) struct Mix<'a, M> {
    pub(in crate::kernels) head: Head,
    pub(in crate::kernels) sizes: Sizes,
    pub(in crate::kernels) first_query: usize,
    pub(in crate::kernels) queries: usize,
    /// What [`PackHead`] packed.
    pub(in crate::kernels) operands: &'a [f32],
    /// As long as [`Sizes::room`] says.
    pub(in crate::kernels) room: &'a mut [f32],
    /// (batch · tokens, width)
    pub(in crate::kernels) y: PackedOut,
    pub(in crate::kernels) machine: PhantomData<M>,
}

impl<M: TileMachine> Kernel for Mix<'_, M> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { head, sizes: Sizes { token_steps, channel_steps }, operands, room, .. } = self;
        let (tokens, head_dim) = (head.shape.tokens, head.shape.head_dim);
        let (keys, values) = operands.split_at(operands.len() / 2);
        let (query, room) = room.split_at_mut(channel_steps * X_PART);
        let (scores, room) = room.split_at_mut(token_steps * SUMS);
        let (weights, mixed) = room.split_at_mut(token_steps * X_PART);
        let mixed = mixed.as_mut_ptr();
        // What no query or token fills stays zero.
        query.fill(0.0);
        weights.fill(0.0);
        let scale = (head_dim as f32).sqrt().recip();
        // SAFETY: the parts of the room are as long as the tiles that they hold; the result has `head_dim` channels of this head in
        // each of these tokens.
        unsafe {
            let mut machine = M::new(ROWS);
            for start in (0..self.queries).step_by(BAND) {
                let height = BAND.min(self.queries - start);
                let first = self.first_query + start;
                for row in 0..height {
                    let from = head.part(0, first + row);
                    for channel in (0..head_dim).step_by(S::LANES) {
                        let count = head_dim - channel;
                        let v = S::mul(S::load_first(from.as_ptr().add(channel), count), S::splat(scale));
                        store_half::<S>(query.as_mut_ptr(), row, channel, count, v);
                    }
                }
                for (panel, keys) in keys.chunks_exact(channel_steps * PANEL_STEP).enumerate() {
                    let to = scores[panel * SUMS..].as_mut_ptr();
                    product::<S, M>(&mut machine, height, query, keys, channel_steps, to);
                }
                let mut inverse_sums = [0f32; BAND];
                for (row, inverse) in inverse_sums[..height].iter_mut().enumerate() {
                    *inverse = 1.0 / exponentials::<S>(scores, row, tokens, weights.as_mut_ptr());
                }
                for (panel, values) in values.chunks_exact(token_steps * PANEL_STEP).enumerate() {
                    product::<S, M>(&mut machine, height, weights, values, token_steps, mixed);
                    for (row, &inverse) in inverse_sums[..height].iter().enumerate() {
                        let (token, first_channel) = head.place(first + row);
                        for column in (0..COLUMNS).step_by(S::LANES) {
                            let channel = panel * COLUMNS + column;
                            if channel < head_dim {
                                let v = S::mul(S::load(mixed.add(row * COLUMNS + column)), S::splat(inverse));
                                self.y.store::<S>(token, first_channel + channel, head_dim - channel, v);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A band of `height` rows times a panel.
#[inline(always)]
unsafe fn product<S: Simd, M: TileMachine>(
    machine: &mut M,
    height: usize,
    x: &[f32],
    panel: &[f32],
    steps: usize,
    sums: *mut f32,
) {
    let (x, weights) = (x.as_ptr(), panel.as_ptr());
    let operands = Operands {
        x,
        weights,
        weights_part: 0,
        steps,
        sums,
        accumulate: false,
        finished: None,
        // All is in cache already.
        x_ahead: x,
        x_ahead_from: usize::MAX,
        x_ahead_every: 1,
        ahead: weights,
        ahead_from: usize::MAX,
        ahead_every: 1,
    };
    // SAFETY: the caller's operands have so many steps.
    unsafe {
        if height > ROWS {
            sum_tiles::<S, M, 1, true>(machine, &operands);
        } else {
            sum_tiles::<S, M, 1, false>(machine, &operands);
        }
    }
}

/// Stores the first `count` lanes as bfloat16 in a row of a band.
#[inline(always)]
unsafe fn store_half<S: Simd>(band: *mut f32, row: usize, column: usize, count: usize, v: S::V) {
    // SAFETY: the caller's band has the row; a vector ends in its step, since `LANES` divides it.
    unsafe {
        let to = band.add(column / STEP * X_PART + row * STEP / 2).cast::<u16>().add(column % STEP);
        S::store_bf16(to, count, S::round_to_bf16(v));
    }
}

/// Stores `e^(score - largest score)` of a row of scores, in panels, as weights, and returns their sum before rounding.
#[inline(always)]
unsafe fn exponentials<S: Simd>(scores: &mut [f32], row: usize, count: usize, weights: *mut f32) -> f32 {
    let scores = scores.as_mut_ptr();
    let at = |i: usize| scores.wrapping_add(i / COLUMNS * SUMS + row * COLUMNS + i % COLUMNS);
    // SAFETY: the caller's panels and band have the row; a vector ends in its panel, since `LANES` divides it.
    unsafe {
        // What fills up the last vector must neither be the largest nor count in the sum.
        for i in count..count.next_multiple_of(S::LANES) {
            *at(i) = f32::NEG_INFINITY;
        }
        let mut largest = S::splat(f32::NEG_INFINITY);
        for i in (0..count).step_by(S::LANES) {
            largest = S::max(largest, S::load(at(i)));
        }
        let largest = S::splat(S::largest(largest));
        let mut sum = S::splat(0.0);
        for i in (0..count).step_by(S::LANES) {
            let v = math::exp_of_negative::<S>(S::sub(S::load(at(i)), largest));
            store_half::<S>(weights, row, i, S::LANES, v);
            sum = S::add(sum, v);
        }
        S::sum(sum)
    }
}
