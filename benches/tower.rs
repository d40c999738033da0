//! The whole ViT-L/14 on random weights against candle-transformers' CLIP, each as a share of the multiply-add peak
//! that was measured beside it.
//!
//! `cargo bench --bench tower`. The rounds are interleaved and medians are shown, because machines are shared and
//! change their clock; "item/s" of a harness that measures one thing after the other cannot be compared so.
//! Threads: `RAYON_NUM_THREADS`.

use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::clip::{
    text_model::Activation,
    vision_model::{ClipVisionConfig, ClipVisionTransformer},
};
use clip_features::{
    kernels::{Isa, fma_peak},
    model::{Model, ModelSpec, VisionConfig, Wanted},
};

const ROUNDS: usize = 7;

fn main() {
    let model = Model::open(&ModelSpec::Random { seed: 0, directory: None }).unwrap();
    let config = model.config().unwrap();
    let start = Instant::now();
    let ours = model.tower(&Wanted::last_hidden_state(), &Device::Cpu).unwrap();
    println!("made and packed in {:.2} s", start.elapsed().as_secs_f64());
    let theirs = candle_transformers(&config, &model);
    println!("{} on {} threads", Isa::best().name(), rayon::current_num_threads());
    for batch in [1, 8] {
        let pixels = Tensor::randn(0f32, 1f32, (batch, 3, 224, 224), &Device::Cpu).unwrap();
        let mut shares = [Vec::new(), Vec::new()];
        let mut rates = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            let runs: [&dyn Fn(); 2] = [&|| drop(ours.forward(&pixels).unwrap()), &|| {
                drop(theirs.output_hidden_states(&pixels).unwrap())
            }];
            for (run, (shares, rates)) in runs.into_iter().zip(shares.iter_mut().zip(&mut rates)) {
                let before = fma_peak(Isa::best());
                let start = Instant::now();
                run();
                let rate = batch as f64 / start.elapsed().as_secs_f64();
                let peak = before.max(fma_peak(Isa::best())) * 1e9;
                rates.push(rate);
                shares.push(rate * operations(&config) / peak);
            }
        }
        for (name, (shares, rates)) in
            ["clip-features", "candle-transformers"].into_iter().zip(shares.into_iter().zip(rates))
        {
            println!(
                "batch {batch}: {name:20} {:6.3} images/s, {:.3} of the peak",
                median(rates),
                median(shares)
            );
        }
    }
}

/// Operations for one image in products alone, two to a multiply-add.
fn operations(config: &VisionConfig) -> f64 {
    let VisionConfig { hidden_size: width, intermediate_size: inner, num_hidden_layers: layers, .. } =
        *config;
    let tokens = config.tokens();
    let block = tokens * width * (4 * width + 2 * inner) + 2 * tokens * tokens * width;
    let patches = (tokens - 1) * width * 3 * config.patch_size * config.patch_size;
    2.0 * (layers * block + patches) as f64
}

fn candle_transformers(config: &VisionConfig, model: &Model) -> ClipVisionTransformer {
    let weights = model.weights().unwrap();
    let vb = VarBuilder::from_backend(Box::new(&weights), DType::F32, Device::Cpu);
    let theirs = ClipVisionConfig {
        embed_dim: config.hidden_size,
        activation: Activation::QuickGelu,
        intermediate_size: config.intermediate_size,
        num_hidden_layers: config.num_hidden_layers,
        num_attention_heads: config.num_attention_heads,
        projection_dim: config.projection_dim.unwrap_or_default(),
        num_channels: 3,
        image_size: config.image_size,
        patch_size: config.patch_size,
    };
    ClipVisionTransformer::new(vb.pp("vision_model"), &theirs).unwrap()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
