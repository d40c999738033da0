//! Sizes that do not fit each other are refused by every function that may be called with them, before anything is written.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

/// Sees that something panics, and that it says so.
fn refused<T>(reason: &str, call: impl FnOnce() -> T) {
    let Err(panic) = catch_unwind(AssertUnwindSafe(call)) else { panic!("not refused: {reason}") };
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or(panic.downcast_ref::<&str>().copied()).expect("a message");
    assert!(text.contains(reason), "{text:?} for {reason:?}");
}

const UNCOUNTED: &str = "sizes whose product can be counted";

fn layer(compute: Compute, inputs: usize, outputs: usize) -> PackedLinear {
    PackedLinear::from_rows(compute, inputs, &vec![1.0; inputs * outputs], None)
}

fn norm(width: usize) -> LayerNorm {
    LayerNorm::new(Isa::best(), vec![1.0; width], vec![0.0; width], 1e-5)
}

#[test]
fn attention_refuses_a_qkv_of_another_size() {
    let isa = Isa::best();
    let shape = AttentionShape { batch: 1, tokens: 2, heads: 2, head_dim: 4 };
    let qkv = [1.0; 48];
    for len in [0, 16, 47] {
        refused("q, k and v of every token", || attention(isa, &qkv[..len], shape, Form::Float32));
    }
    let half = usize::MAX / 2 + 1;
    for wraps in [
        // 0 values.
        AttentionShape { batch: half, heads: 2, ..shape },
        AttentionShape { tokens: half, ..shape },
        AttentionShape { batch: half, tokens: 2, heads: 1, head_dim: 1 },
        // 3 · 2^64 / 3 and some, 48 values.
        AttentionShape { batch: 1, tokens: 1, heads: usize::MAX / 3 + 17, head_dim: 1 },
    ] {
        for qkv in [&qkv[..], &[]] {
            refused(UNCOUNTED, || attention(isa, qkv, wraps, Form::Float32));
        }
    }
    refused(UNCOUNTED, || attention(isa, &qkv, shape, Form::Bfloat16 { parts: usize::MAX / 256 }));
}

#[test]
fn rotation_refuses_other_sizes() {
    let isa = Isa::best();
    let shape = AttentionShape { batch: 1, tokens: 2, heads: 2, head_dim: 4 };
    let rotation = |patches: usize, half: usize| {
        Rotation::new(vec![1.0; patches * half], vec![0.0; patches * half], half)
    };
    refused("an angle in each row", || Rotation::new(vec![], vec![], 0));
    refused("a row of each for every patch", || Rotation::new(vec![0.0; 5], vec![0.0; 5], 2));
    refused("a row of each for every patch", || Rotation::new(vec![0.0; 4], vec![0.0; 2], 2));
    refused("q, k and v of every token", || rotate(isa, &mut [0.0; 47], shape, &rotation(1, 2)));
    refused("a token for each patch", || rotate(isa, &mut [0.0; 48], shape, &rotation(3, 2)));
    refused("an angle for each pair of channels", || rotate(isa, &mut [0.0; 48], shape, &rotation(1, 1)));
    let wraps = AttentionShape { batch: usize::MAX / 2 + 1, ..shape };
    refused(UNCOUNTED, || rotate(isa, &mut [], wraps, &rotation(1, 2)));
}

#[test]
fn the_attention_half_refuses_layers_of_other_sizes() {
    let shape = AttentionShape { batch: 1, tokens: 3, heads: 2, head_dim: 4 };
    let x = [0.5; 24];
    for compute in Compute::all() {
        let of = |inputs, outputs| layer(compute, inputs, outputs);
        let half = |width, qkv, out| attention_half(&x, &norm(width), &qkv, shape, None, &out);
        half(8, of(8, 24), of(8, 8));
        for width in [4, 7, 9, 16] {
            refused("a norm of the residual stream", || half(width, of(8, 24), of(8, 8)));
            refused("q, k and v of the residual stream", || half(8, of(width, 24), of(8, 8)));
            refused("q, k and v of the residual stream", || half(8, of(8, 3 * width), of(8, 8)));
            refused("a projection to the residual stream", || half(8, of(8, 24), of(width, 8)));
            refused("a projection to the residual stream", || half(8, of(8, 24), of(8, width)));
        }
        for len in [0, 8, 23] {
            let x = &x[..len];
            refused("the residual stream of the shape", || {
                attention_half(x, &norm(8), &of(8, 24), shape, None, &of(8, 8))
            });
        }
        let wraps = AttentionShape { batch: usize::MAX / 2 + 1, ..shape };
        refused(UNCOUNTED, || attention_half(&[], &norm(8), &of(8, 24), wraps, None, &of(8, 8)));
    }
    // A unit's values lie in other places than a vector's.
    let (unit, plain) = (Compute::emulated(MatmulPrecision::Medium), Compute::from(Isa::best()));
    refused("layers for one way to compute", || {
        attention_half(&x, &norm(8), &layer(plain, 8, 24), shape, None, &layer(unit, 8, 8))
    });
}

#[test]
fn the_mlp_halves_refuse_layers_of_other_sizes() {
    let x = [0.5; 24];
    type Half = fn(&[f32], &LayerNorm, &PackedLinear, Activation, &PackedLinear) -> Values;
    for compute in Compute::all() {
        let of = |inputs, outputs| layer(compute, inputs, outputs);
        for (half, inner) in [(mlp_half as Half, 12), (gated_half as Half, 6)] {
            let half = |x: &[f32], fc1, fc2| half(x, &norm(8), &fc1, Activation::Gelu, &fc2);
            half(&x, of(8, 12), of(inner, 8));
            for width in [4, 7, 9, 80] {
                refused("a layer of the residual stream", || half(&x, of(width, 12), of(inner, 8)));
                refused("a layer back to it", || half(&x, of(8, 12), of(inner, width)));
                refused("a layer back to it", || half(&x, of(8, 12), of(width, 8)));
            }
            refused("whole rows", || half(&x[..23], of(8, 12), of(inner, 8)));
        }
        refused("a gate for each value", || {
            gated_half(&x, &norm(8), &of(8, 13), Activation::Silu, &of(6, 8))
        });
    }
    let (unit, plain) = (Compute::emulated(MatmulPrecision::Medium), Compute::from(Isa::best()));
    refused("layers for one way to compute", || {
        mlp_half(&x, &norm(8), &layer(plain, 8, 12), Activation::Gelu, &layer(unit, 12, 8))
    });
}

#[test]
fn packing_refuses_sizes_that_cannot_be_counted() {
    let isa = Isa::best();
    for form in [Form::Float32, Form::Pairs, Form::Bfloat16 { parts: 3 }] {
        refused("whole rows", || PackedRows::pack(isa, &[0.0; 7], 2, form));
        refused("whole rows", || norm(2).forward(&[0.0; 1], form));
        refused("whole rows", || norm(2).forward(&[0.0; 7], form));
        refused("whole rows", || gated(isa, &[0.0; 7], 2, Activation::Silu, form));
        // Twice as many are 6, as many as there are.
        refused(UNCOUNTED, || gated(isa, &[0.0; 6], usize::MAX / 2 + 4, Activation::Silu, form));
    }
    // Behind a pointer's end.
    for parts in [1 << 62, usize::MAX / 512 + 1] {
        refused(UNCOUNTED, || PackedRows::pack(isa, &[0.0; 6], 2, Form::Bfloat16 { parts }));
    }
    for compute in Compute::all() {
        let pack = |shape, bias| PackedLinear::pack(compute, shape, bias, None, |_, _| Ok::<_, ()>(()));
        refused("a sum of no products", || pack([2, 0], None));
        refused("a bias for each output", || pack([2, 3], Some(&[0.0; 3][..])));
        refused("a weight that fits in memory", || pack([usize::MAX, 1], None));
        refused(UNCOUNTED, || pack([1, usize::MAX], None));
        refused("a weight of whole rows", || PackedLinear::from_rows(compute, 3, &[0.0; 7], None));

        let two = layer(compute, 3, 2);
        let other = PackedRows::pack(isa, &[0.0; 8], 4, two.form());
        refused("an input of the layer's width and form", || two.forward(&other, Epilogue::None));
        refused("an input of the layer's width and form", || {
            two.forward_activated(&other, Activation::Gelu, Form::Float32)
        });
        refused("an input of the layer's width and form", || two.forward_heads(&other, 1));
        let x = two.pack_input(&[0.0; 6]);
        refused("a residual as long as the result", || two.forward(&x, Epilogue::AddResidual(&[0.0; 3])));
        refused("whole heads", || two.forward_heads(&x, 3));
        let another = if compute.form() == Form::Float32 { Form::Pairs } else { Form::Float32 };
        let x = PackedRows::pack(isa, &[0.0; 6], 3, another);
        refused("an input of the layer's width and form", || two.forward(&x, Epilogue::None));
    }
}

#[test]
fn embedding_refuses_other_sizes() {
    let patch = layer(Isa::best().into(), 4, 6);
    refused("rows of the width", || embed(&[0.0; 8], 2, &patch, &[0.0; 5], None));
    refused("rows of the width", || embed(&[], 0, &patch, &[], None));
    refused("whole images", || embed(&[0.0; 9], 2, &patch, &[], None));
    refused("a position for each patch", || embed(&[0.0; 8], 2, &patch, &[], Some(&[0.0; 11])));
    // Inputs of one patch, and a result that begins anew for the second image.
    refused(UNCOUNTED, || embed(&[0.0; 8], (1 << 62) + 1, &patch, &[], None));
    refused("a line for each weight", || sum_lines(Isa::best(), &[0.0; 5], &[0.0; 2], &mut [0.0; 3]));
}
