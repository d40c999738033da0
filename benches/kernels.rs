//! The pieces of ViT-L/14, for one image and for eight, in multiply-adds and elements per second.
//!
//! `cargo bench --bench kernels`. Products count two operations to a multiply-add, so that their "item/s" compare
//! with the peak that is printed around them; the other pieces count elements. Threads: `RAYON_NUM_THREADS`.

use clip_features::kernels::{
    Activation, AttentionShape, Compute, Epilogue, Isa, LayerNorm, MatmulPrecision, PackedLinear, attention,
    fma_peak,
};
use divan::{Bencher, counter::ItemsCount};

const TOKENS: usize = 257;
const WIDTH: usize = 1024;
const INNER: usize = 4096;
const BATCHES: [usize; 2] = [1, 8];

fn main() {
    let peak = || {
        let (isa, threads) = (Isa::best(), rayon::current_num_threads());
        println!(
            "multiply-add peak: {:.0} GFLOP/s, {} on {threads} threads; products: {}",
            fma_peak(isa),
            isa.name(),
            compute().name()
        );
    };
    peak();
    divan::main();
    peak();
}

/// What products are computed with: `PRECISION` is highest, high, medium, or float32 for products without a matrix unit.
fn compute() -> Compute {
    let wanted = std::env::var("PRECISION").unwrap_or("highest".to_owned());
    if wanted == "float32" {
        return Isa::best().into();
    }
    let precision = MatmulPrecision::ALL.into_iter().find(|precision| precision.name() == wanted);
    Compute::best(precision.expect("PRECISION is highest, high, medium or float32"))
}

/// Values between -1 and 1, without a pattern that a cache or a predictor could use.
fn values(count: usize) -> Vec<f32> {
    (0..count as u32).map(|i| i.wrapping_mul(0x9e37_79b9) as i32 as f32 / i32::MAX as f32).collect()
}

/// Enough layers of one shape that their weights come from memory each time, as they do in the tower.
fn layers(inputs: usize, outputs: usize) -> Vec<PackedLinear> {
    let count = (64 << 20) / (inputs * outputs * size_of::<f32>());
    let (weight, bias) = (values(inputs * outputs), values(outputs));
    let pack = |_| PackedLinear::from_rows(compute(), inputs, &weight, Some(&bias));
    (0..count).map(pack).collect()
}

fn product(bencher: Bencher, batch: usize, inputs: usize, outputs: usize, epilogue: Epilogue) {
    let rows = batch * TOKENS;
    let layers = layers(inputs, outputs);
    let x = layers[0].pack_input(&values(rows * inputs));
    let mut next = layers.iter().cycle();
    bencher
        .counter(ItemsCount::new(2 * rows * inputs * outputs))
        .bench_local(|| next.next().map(|layer| layer.forward(&x, epilogue)));
}

#[divan::bench(args = BATCHES)]
fn linear_qkv(bencher: Bencher, batch: usize) {
    let layers = layers(WIDTH, 3 * WIDTH);
    let x = layers[0].pack_input(&values(batch * TOKENS * WIDTH));
    let mut next = layers.iter().cycle();
    bencher
        .counter(ItemsCount::new(2 * batch * TOKENS * WIDTH * 3 * WIDTH))
        .bench_local(|| next.next().map(|layer| layer.forward_heads(&x, 64)));
}

#[divan::bench(args = BATCHES)]
fn linear_out(bencher: Bencher, batch: usize) {
    product(bencher, batch, WIDTH, WIDTH, Epilogue::AddResidual(&values(batch * TOKENS * WIDTH)));
}

#[divan::bench(args = BATCHES)]
fn linear_fc1(bencher: Bencher, batch: usize) {
    let layers = layers(WIDTH, INNER);
    let x = layers[0].pack_input(&values(batch * TOKENS * WIDTH));
    let mut next = layers.iter().cycle();
    bencher.counter(ItemsCount::new(2 * batch * TOKENS * WIDTH * INNER)).bench_local(|| {
        next.next().map(|layer| layer.forward_activated(&x, Activation::QuickGelu, layer.form()))
    });
}

#[divan::bench(args = BATCHES)]
fn linear_fc2(bencher: Bencher, batch: usize) {
    product(bencher, batch, INNER, WIDTH, Epilogue::AddResidual(&values(batch * TOKENS * WIDTH)));
}

/// What an activation adds to a product: one of few inputs, so that the activation is most of it.
#[divan::bench(args = [Activation::QuickGelu, Activation::Gelu, Activation::GeluTanh])]
fn activation(bencher: Bencher, activation: Activation) {
    let layer = PackedLinear::from_rows(compute(), 1, &values(INNER), None);
    let x = layer.pack_input(&values(TOKENS));
    bencher
        .counter(ItemsCount::new(TOKENS * INNER))
        .bench_local(|| layer.forward_activated(&x, activation, layer.form()));
}

#[divan::bench(args = BATCHES)]
fn attention_16_heads(bencher: Bencher, batch: usize) {
    let shape = AttentionShape { batch, tokens: TOKENS, heads: 16, head_dim: 64 };
    let qkv = values(batch * TOKENS * 3 * WIDTH);
    bencher
        .counter(ItemsCount::new(4 * batch * TOKENS * TOKENS * WIDTH))
        .bench_local(|| attention(compute(), &qkv, shape, compute().form()));
}

#[divan::bench(args = BATCHES)]
fn layer_norm(bencher: Bencher, batch: usize) {
    let norm = LayerNorm::new(Isa::best(), values(WIDTH), values(WIDTH), 1e-5);
    let x = values(batch * TOKENS * WIDTH);
    bencher.counter(ItemsCount::new(x.len())).bench_local(|| norm.forward(&x, compute().form()));
}
