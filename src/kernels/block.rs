//! The two halves of a pre-norm transformer block, each from one residual stream to the next.

use std::{ops::Range, slice};

use super::{
    Activation, AttentionShape, LayerNorm, PackedLinear, PackedRows, Rotation,
    attention::AttentionTasks,
    epilogue::{Destination, Epilogue},
    gated,
    memory::{Aligned, SharedOut, Values, written},
    packed_rows::PackedOut,
    schedule::{After, Schedule},
    threads::chunks,
    tile::even_split,
};

/// `x + out(attention(qkv(norm(x))))`, for `x` (batch, tokens, width). A `rotation` turns q and k before the attention.
///
/// # Panics
/// `x` or a layer does not have the sizes that the shape says, or layers are packed for different ways to compute.
pub fn attention_half(
    x: &[f32],
    norm: &LayerNorm,
    qkv: &PackedLinear,
    shape: AttentionShape,
    rotation: Option<&Rotation>,
    out: &PackedLinear,
) -> Values {
    assert_eq!(x.len(), shape.len(), "the residual stream of the shape");
    let width = shape.width();
    assert_eq!(norm.width(), width, "a norm of the residual stream");
    assert_eq!([qkv.inputs(), qkv.outputs()], [width, 3 * width], "q, k and v of the residual stream");
    assert_eq!([out.inputs(), out.outputs()], [width; 2], "a projection to the residual stream");
    assert_eq!(qkv.compute(), out.compute(), "layers for one way to compute");
    if let Some(rotation) = rotation {
        rotation.check(shape);
    }
    in_chunks(x, shape.tokens, width, |part, y| {
        let x = &x[part];
        let rows = x.len() / width;
        let chunk = AttentionShape { batch: rows / shape.tokens, ..shape };
        // SAFETY: each step reads what the steps before it have written in full, and its tasks write each their own part; the
        // chunk's part of the result is as long as its residual, and this call's alone.
        unsafe {
            let (normed, normed_out) = PackedRows::unwritten(rows, width, qkv.form());
            let heads = Aligned::filled(rows * qkv.outputs(), |_| ());
            let (mixed, mixed_out) = PackedRows::unwritten(rows, width, out.form());
            let heads_out = SharedOut::new(heads.as_ptr().cast_mut());
            let attention = AttentionTasks::new(out.compute(), heads_out, chunk).with_values_in_panels();
            let groups = qkv.row_groups(rows);

            let mut schedule = Schedule::default();
            norm.schedule(&mut schedule, x, &groups, normed_out);
            let first_in_panels = if attention.values_in_panels { 2 * shape.heads } else { usize::MAX };
            let to_heads =
                Destination::Heads { y: heads_out, head_dim: shape.head_dim, rows, first_in_panels };
            qkv.schedule(&mut schedule, After::Same, &normed, &groups, to_heads);
            if let Some(rotation) = rotation {
                let planes = 2 * shape.heads; // q and k of each head, (rows, head_dim)
                let plane = rows * shape.head_dim;
                let turn = move |task: usize| {
                    let plane = slice::from_raw_parts_mut(heads_out.as_ptr().add(task * plane), plane);
                    rotation.turn(norm.isa(), plane, shape.tokens);
                };
                schedule.phase(After::All, [(planes, turn)]);
            }
            schedule.phase(After::All, [(attention.count(), |task| attention.run(task, mixed_out))]);
            let residual = Destination::RowMajor(y, Epilogue::AddResidual(x));
            out.schedule(&mut schedule, After::All, &mixed, &groups, residual);
            schedule.run();
        }
    })
}

/// `x + fc2(activation(fc1(norm(x))))`, for `x` (rows, width).
///
/// # Panics
/// The layers' sizes do not fit each other, or they are packed for different ways to compute.
pub fn mlp_half(
    x: &[f32],
    norm: &LayerNorm,
    fc1: &PackedLinear,
    activation: Activation,
    fc2: &PackedLinear,
) -> Values {
    assert_eq!(fc1.inputs(), norm.width(), "a layer of the residual stream");
    assert_eq!([fc2.inputs(), fc2.outputs()], [fc1.outputs(), norm.width()], "a layer back to it");
    assert_eq!(fc1.compute(), fc2.compute(), "layers for one way to compute");
    in_chunks(x, 1, norm.width(), |part, y| {
        let x = &x[part];
        let rows = x.len() / norm.width();
        // SAFETY: as in `attention_half`.
        unsafe {
            let (normed, normed_out) = PackedRows::unwritten(rows, norm.width(), fc1.form());
            let (inner, inner_out) = PackedRows::unwritten(rows, fc1.outputs(), fc2.form());
            let groups = fc1.row_groups(rows);

            let mut schedule = Schedule::default();
            norm.schedule(&mut schedule, x, &groups, normed_out);
            let activated = Destination::Packed(inner_out, activation);
            fc1.schedule(&mut schedule, After::Same, &normed, &groups, activated);
            let residual = Destination::RowMajor(y, Epilogue::AddResidual(x));
            fc2.schedule(&mut schedule, After::Same, &inner, &groups, residual);
            schedule.run();
        }
    })
}

/// `x + fc2(activation(gate) · value)`, the gate and the value being the two halves of `fc1(norm(x))`, for `x`
/// (rows, width).
///
/// # Panics
/// The layers' sizes do not fit each other.
pub fn gated_half(
    x: &[f32],
    norm: &LayerNorm,
    fc1: &PackedLinear,
    activation: Activation,
    fc2: &PackedLinear,
) -> Values {
    assert_eq!(fc1.inputs(), norm.width(), "a layer of the residual stream");
    assert!(fc1.outputs().is_multiple_of(2), "a gate for each value");
    assert_eq!([fc2.inputs(), fc2.outputs()], [fc1.outputs() / 2, norm.width()], "a layer back to it");
    in_chunks(x, 1, norm.width(), |part, y| {
        let x = &x[part];
        let halves = fc1.forward(&norm.forward(x, fc1.form()), Epilogue::None);
        let inner = gated(norm.isa(), &halves, fc1.outputs() / 2, activation, fc2.form());
        // SAFETY: the chunk's part of the result is as long as its residual, and this call's alone.
        unsafe { fc2.forward_to(&inner, Epilogue::AddResidual(x), y) };
    })
}

impl LayerNorm {
    /// Adds the norm of groups of rows of `x`.
    ///
    /// # Safety
    /// As [`LayerNorm::forward_to`].
    unsafe fn schedule<'a>(
        &'a self,
        schedule: &mut Schedule<'a>,
        x: &'a [f32],
        groups: &[Range<usize>],
        y: PackedOut,
    ) {
        let step = |group: &Range<usize>| {
            let tasks = self.tasks(group.clone());
            // SAFETY: by contract; the groups' rows are apart.
            (tasks.len(), move |task: usize| unsafe { self.forward_to(x, tasks[task].clone(), y) })
        };
        schedule.phase(After::All, groups.iter().map(step));
    }
}

impl PackedLinear {
    /// Adds the products of groups of rows of `x`.
    ///
    /// # Safety
    /// The step of a group has its rows written before, and nobody else has the destination.
    ///
    /// # Panics
    /// `x` has another width or form than the layer takes.
    unsafe fn schedule<'a>(
        &'a self,
        schedule: &mut Schedule<'a>,
        after: After,
        x: &'a PackedRows,
        groups: &[Range<usize>],
        destination: Destination<'a>,
    ) {
        self.check(x);
        let step = |group: &Range<usize>| {
            let tasks = self.tasks(group, groups.len());
            // SAFETY: by contract; the parts are apart.
            (tasks.len(), move |task: usize| unsafe {
                let (rows, panels) = tasks[task].clone();
                self.multiply_part(x, rows, panels, destination);
            })
        };
        schedule.phase(after, groups.iter().map(step));
    }
}

/// Goes through the rows of `x` (rows, width) in chunks of whole units of `unit` rows, one after the other, and
/// gives `half` each chunk's range of elements and the start of its result.
///
/// What lies between two products is thereby no larger than the threads need it to be, so that it stays in the
/// last-level cache and in memory that the allocator keeps at hand.
fn in_chunks(x: &[f32], unit: usize, width: usize, half: impl Fn(Range<usize>, SharedOut)) -> Values {
    let unit = unit * width;
    let units = x.len() / unit;
    assert_eq!(x.len(), units * unit, "whole rows");
    // SAFETY: the chunks cover the result, and `half` writes each of them.
    unsafe {
        written(x.len(), |y| {
            for (first, count) in even_split(units, chunks(x.len() / width)) {
                let part = first * unit..(first + count) * unit;
                if count > 0 {
                    half(part.clone(), SharedOut::new(y.as_ptr().add(part.start)));
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{
        Compute, attention, rotate,
        testing::{noise, same_bytes, same_on_all_threads},
    };

    fn layer(compute: Compute, seed: u64, inputs: usize, outputs: usize) -> PackedLinear {
        let (weight, bias) = (noise(seed, outputs * inputs), noise(seed + 1, outputs));
        PackedLinear::from_rows(compute, inputs, &weight, Some(&bias))
    }

    #[test]
    fn halves_are_their_steps_in_turn_whatever_the_batch_and_the_threads() {
        // Heads of half a panel, and of whole ones.
        for (heads, head_dim) in [(3, 12), (2, 64)] {
            halves_are_their_steps(AttentionShape { batch: 1, tokens: 90, heads, head_dim });
        }
    }

    fn halves_are_their_steps(one: AttentionShape) {
        let width = one.heads * one.head_dim;
        let image = noise(1, one.tokens * width);
        let pairs = one.head_dim / 2;
        let rotation = Rotation::new(noise(14, 85 * pairs), noise(15, 85 * pairs), pairs);
        for compute in Compute::all() {
            let isa = compute.isa();
            let norm = LayerNorm::new(isa, noise(2, width), noise(3, width), 1e-5);
            let (qkv, out) = (layer(compute, 4, width, 3 * width), layer(compute, 6, width, width));
            let (fc1, fc2) = (layer(compute, 8, width, 100), layer(compute, 10, 100, width));
            let narrow = layer(compute, 12, 50, width);

            let normed = norm.forward(&image, qkv.form());
            let mut turned = qkv.forward_heads(&normed, one.head_dim);
            rotate(isa, &mut turned, one, &rotation);
            let mixed = attention(compute, &turned, one, out.form());
            let attended = out.forward(&mixed, Epilogue::AddResidual(&image));
            let inner =
                fc1.forward_activated(&norm.forward(&attended, fc1.form()), Activation::Gelu, fc2.form());
            let want = fc2.forward(&inner, Epilogue::AddResidual(&attended));

            let halves = fc1.forward(&norm.forward(&attended, fc1.form()), Epilogue::None);
            let inner = gated(isa, &halves, 50, Activation::Silu, narrow.form());
            let want_gated = narrow.forward(&inner, Epilogue::AddResidual(&attended));
            let got = same_on_all_threads(|| gated_half(&attended, &norm, &fc1, Activation::Silu, &narrow));
            assert!(same_bytes(&got, &want_gated), "{compute:?}");

            for (batch, place) in [(1, 0), (3, 1), (8, 7), (20, 13)] {
                let mut x = noise(20, batch * image.len());
                x[place * image.len()..][..image.len()].copy_from_slice(&image);
                let got = same_on_all_threads(|| {
                    let shape = AttentionShape { batch, ..one };
                    let x = attention_half(&x, &norm, &qkv, shape, Some(&rotation), &out);
                    mlp_half(&x, &norm, &fc1, Activation::Gelu, &fc2)
                });
                assert!(same_bytes(&got[place * want.len()..][..want.len()], &want), "{compute:?} {batch}");
            }
        }
    }
}
