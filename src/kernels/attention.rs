//! Multi-head attention straight from the fused q, k and v.

use std::{marker::PhantomData, ops::Range};

use rayon::prelude::*;

use super::{
    AttentionShape, Compute, Form, PackedRows,
    compute::{Machine, Unit},
    head::Head,
    memory::SharedOut,
    mix::{GROUP_ROWS, Mix, Values, blocks_len},
    packed_rows::PackedOut,
    scratch::{Scratch, new_call},
    threads::{TASKS, parts_per_unit},
    tile::even_split,
    unit,
};

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
    assert_eq!(qkv.len(), 3 * shape.len(), "q, k and v of every token");
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
    /// Of which head each takes which queries. Those of a head are neighbours, so that a thread seldom has to pack it again.
    tasks: Vec<(usize, Range<usize>)>,
    /// Whether v of each head is (head_dim / tile columns, batch · tokens, tile columns), so that it need not be packed.
    pub(super) values_in_panels: bool,
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
        let heads = batch * heads;
        let cut = |head: usize, parts: usize| {
            even_split(units, parts.min(units))
                .map(move |(first, count)| (head, first * unit..((first + count) * unit).min(tokens)))
        };
        let parts = parts_per_unit(heads);
        // The last heads, one a thread, are cut smaller, so that threads end at nearly the same time.
        let whole = heads.saturating_sub(rayon::current_num_threads());
        let tasks = (0..heads)
            .flat_map(|head| cut(head, if head < whole { parts } else { parts.max(TASKS) }))
            .collect();
        Self { compute, qkv, shape, tasks, values_in_panels: false, call: new_call() }
    }

    /// The same of a `qkv` whose v lies in panels, if heads are whole panels here.
    pub(super) fn with_values_in_panels(self) -> Self {
        let is_whole = self.shape.head_dim.is_multiple_of(self.compute.isa().tile_columns());
        Self { values_in_panels: self.compute.unit.is_none() && is_whole, ..self }
    }

    pub(super) fn count(&self) -> usize {
        self.tasks.len()
    }

    /// # Safety
    /// `qkv` is written, and nobody else has this task's part of `y` (batch · tokens, width).
    pub(super) unsafe fn run(&self, task: usize, y: PackedOut) {
        let (index, queries) = self.tasks[task].clone();
        let head = Head { qkv: self.qkv.as_ptr(), shape: self.shape, index };
        // SAFETY: by contract; a unit is only named where the CPU has it.
        unsafe {
            match self.compute.unit {
                // More parts than one would cost more than the unit gains on such small products.
                #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
                Some(Unit { machine: Machine::Amx, parts: 1 }) => self.on_unit::<unit::Amx>(head, queries, y),
                Some(Unit { machine: Machine::Plain, parts: 1 }) => {
                    self.on_unit::<unit::Plain>(head, queries, y);
                }
                _ => {
                    // Other threads have the tasks between.
                    let next = self.tasks.get(task + rayon::current_num_threads()).map(|task| task.0);
                    let next = next.filter(|&next| next != index).map(|index| Head { index, ..head });
                    self.in_float32(head, next, queries, y);
                }
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

    /// v of a head where it lies; if not in panels, as many elements as a panel has are taken for one.
    fn values_of(&self, head: &Head, columns: usize) -> Values {
        let AttentionShape { tokens, heads, head_dim, .. } = self.shape;
        let (step, stride) = match self.values_in_panels {
            true => (columns, self.shape.rows() * columns),
            false => (head_dim, tokens * columns),
        };
        let first = (2 * heads + head.index % heads) * self.shape.rows() * head_dim;
        let (row, _) = head.place(0);
        Values { start: self.qkv.as_ptr().wrapping_add(first + row * step), stride }
    }

    /// The queries of a head with its keys and values, while `next` is asked for.
    ///
    /// # Safety
    /// As [`AttentionTasks::run`].
    unsafe fn in_float32(&self, head: Head, next: Option<Head>, queries: Range<usize>, y: PackedOut) {
        let AttentionShape { tokens, head_dim, .. } = self.shape;
        let isa = self.compute.isa();
        let columns = isa.tile_columns();
        let keys_len = tokens.div_ceil(columns) * head_dim * columns;
        let values_len =
            if self.values_in_panels { 0 } else { head_dim.div_ceil(columns) * tokens * columns };
        let (query_len, score_len) = (blocks_len(head_dim), blocks_len(tokens));
        Scratch::with(|scratch| {
            let (packed, sums, stale) = scratch.operand_and_sums(
                (self.call, head.index),
                keys_len + values_len,
                query_len + score_len + GROUP_ROWS * columns,
            );
            let (keys, values) = packed.split_at_mut(keys_len);
            if stale {
                head.pack_keys(isa, keys);
                if !self.values_in_panels {
                    head.pack_values(columns, values);
                }
            }
            let values = match self.values_in_panels {
                true => self.values_of(&head, columns),
                false => Values { start: values.as_ptr(), stride: tokens * columns },
            };
            let (query, sums) = sums.split_at_mut(query_len);
            let (scores, mixed) = sums.split_at_mut(score_len);
            let (first_query, queries) = (queries.start, queries.len());
            let next = next.map(|next| (next, self.values_of(&next, columns)));
            // SAFETY: these queries' part of `y` is this task's own.
            unsafe {
                isa.run(Mix { head, first_query, queries, keys, values, next, query, scores, mixed, y });
            }
        });
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
