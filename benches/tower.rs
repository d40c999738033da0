//! Whole towers on random weights, each as a share of the multiply-add peak that was measured beside it: ViT-L/14 and
//! its `--layer -2`, candle-transformers' CLIP on the same weights, and towers of the same size of the other families.
//!
//! `cargo bench --bench tower`. The rounds are interleaved and medians are shown, because machines are shared and
//! change their clock; "item/s" of a harness that measures one thing after the other cannot be compared so.
//! Threads: `RAYON_NUM_THREADS`. Memory: 8 GB, for all towers at once.

use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::clip::{
    text_model::Activation as CandleActivation,
    vision_model::{ClipVisionConfig, ClipVisionTransformer},
};
use clip_features::{
    device::Road,
    kernels::{Isa, fma_peak},
    model::{Activation, Biases, Family, Mlp, RandomWeights, VisionConfig, VisionTower, Wanted, Weights},
};

const ROUNDS: usize = 7;

/// One of those that take turns.
struct Contestant {
    name: &'static str,
    /// Of one image.
    operations: f64,
    run: Box<dyn Fn(&Tensor)>,
    /// Height and width of its images.
    size: [usize; 2],
}

fn main() {
    let weights = Weights::Random(RandomWeights::new(0));
    let clip = VisionConfig::vit_large_patch14();
    // DINOv2-large at its processor's 224 pixels, google/siglip-large-patch16-256, and DINOv3-large at its 224.
    let dinov2 = VisionConfig {
        family: Family::Dinov2,
        mlp: Mlp::Plain(Activation::Gelu),
        layer_norm_eps: 1e-6,
        ..clip.clone()
    };
    let registers =
        VisionConfig { family: Family::Dinov2WithRegisters, register_tokens: 4, ..dinov2.clone() };
    let siglip = VisionConfig {
        family: Family::Siglip,
        mlp: Mlp::Plain(Activation::GeluTanh),
        class_tokens: 0,
        image_size: 256,
        patch_size: 16,
        ..dinov2.clone()
    };
    let dinov3 = VisionConfig {
        family: Family::Dinov3,
        biases: Biases { key: false, ..Biases::ALL },
        interpolate_pos_encoding: true,
        rope_theta: Some(100.0),
        register_tokens: 4,
        patch_size: 16,
        ..dinov2.clone()
    };
    // google/siglip2-large-patch16-naflex on a photograph of 16:9: 12 × 21 of at most 256 patches.
    let naflex = VisionConfig { family: Family::Siglip2, interpolate_pos_encoding: true, ..siglip.clone() };
    let second_last = Wanted { hidden_states: [clip.num_hidden_layers - 1].into(), ..Wanted::default() };
    let contestants = [
        ours("CLIP", &clip, Wanted::last_hidden_state(), &weights),
        ours("CLIP --layer -2", &clip, second_last, &weights),
        ours("SigLIP", &siglip, Wanted::last_hidden_state(), &weights),
        ours_at([192, 336], "SigLIP 2 NaFlex", &naflex, Wanted::last_hidden_state(), &weights),
        ours("DINOv2", &dinov2, Wanted::last_hidden_state(), &weights),
        ours("DINOv2, registers", &registers, Wanted::last_hidden_state(), &weights),
        ours("DINOv3", &dinov3, Wanted::last_hidden_state(), &weights),
        candle_transformers(&clip, &weights),
    ];
    println!("{} on {} threads", Isa::best().name(), rayon::current_num_threads());
    for batch in [1, 8] {
        measure(&contestants, batch);
    }
}

/// Rounds in which each has its turn, and their medians: images per second, the share of the peak, and the time
/// in a round as a share of the first one's.
fn measure(contestants: &[Contestant], batch: usize) {
    let inputs: Vec<_> = contestants.iter().map(|contestant| noise(batch, contestant.size)).collect();
    let mut rounds = vec![Vec::new(); contestants.len()];
    for _ in 0..ROUNDS {
        let mut first = None;
        for ((contestant, input), rounds) in contestants.iter().zip(&inputs).zip(&mut rounds) {
            let before = fma_peak(Isa::best());
            let start = Instant::now();
            (contestant.run)(input);
            let seconds = start.elapsed().as_secs_f64();
            let peak = before.max(fma_peak(Isa::best())) * 1e9;
            let images = batch as f64 / seconds;
            let relative = seconds / *first.get_or_insert(seconds);
            rounds.push([images, images * contestant.operations / peak, relative]);
        }
    }
    for (contestant, rounds) in contestants.iter().zip(rounds) {
        let [images, share, relative] =
            [0, 1, 2].map(|i| median(rounds.iter().map(|round| round[i]).collect()));
        println!(
            "batch {batch}: {:20} {images:6.3} images/s, {share:.3} of the peak, {relative:.3} of the first's time",
            contestant.name,
        );
    }
}

fn ours(name: &'static str, config: &VisionConfig, wanted: Wanted, weights: &Weights) -> Contestant {
    ours_at([config.image_size; 2], name, config, wanted, weights)
}

fn ours_at(
    size: [usize; 2],
    name: &'static str,
    config: &VisionConfig,
    wanted: Wanted,
    weights: &Weights,
) -> Contestant {
    let start = Instant::now();
    let tower = VisionTower::load_for(&wanted, config.clone(), weights, &Road::default()).unwrap();
    println!("{name}: made and packed in {:.2} s", start.elapsed().as_secs_f64());
    let operations = operations(config, size, wanted.depth(config));
    let run = Box::new(move |x: &Tensor| drop(tower.outputs(x, &wanted).unwrap()));
    Contestant { name, operations, run, size }
}

fn candle_transformers(config: &VisionConfig, weights: &Weights) -> Contestant {
    let vb = VarBuilder::from_backend(Box::new(weights), DType::F32, Device::Cpu);
    let theirs = ClipVisionConfig {
        embed_dim: config.hidden_size,
        activation: CandleActivation::QuickGelu,
        intermediate_size: config.intermediate_size,
        num_hidden_layers: config.num_hidden_layers,
        num_attention_heads: config.num_attention_heads,
        projection_dim: config.projection_dim.unwrap_or_default(),
        num_channels: 3,
        image_size: config.image_size,
        patch_size: config.patch_size,
    };
    let tower = ClipVisionTransformer::new(vb.pp("vision_model"), &theirs).unwrap();
    let run = Box::new(move |x: &Tensor| drop(tower.output_hidden_states(x).unwrap()));
    let size = [config.image_size; 2];
    let operations = operations(config, size, config.num_hidden_layers);
    Contestant { name: "candle-transformers", operations, run, size }
}

/// Operations for one image in the products of so many layers, two to a multiply-add.
fn operations(config: &VisionConfig, size: [usize; 2], layers: usize) -> f64 {
    let VisionConfig { hidden_size: width, intermediate_size: inner, .. } = *config;
    let patches: usize = size.iter().map(|edge| edge / config.patch_size).product();
    let tokens = config.prefix_tokens() + patches;
    let block = tokens * width * (4 * width + 2 * inner) + 2 * tokens * tokens * width;
    let embedding = patches * width * 3 * config.patch_size * config.patch_size;
    2.0 * (layers * block + embedding) as f64
}

fn noise(batch: usize, [height, width]: [usize; 2]) -> Tensor {
    Tensor::randn(0f32, 1f32, (batch, 3, height, width), &Device::Cpu).unwrap()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
