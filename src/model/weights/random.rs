//! Seeded random weights: the whole tower without a download, for benchmarks, tests and a first try.
//!
//! Each element is a pure function of (seed, tensor name, row-major index), made of integer hashing and two
//! exactly rounded float operations, so that every language gives the same bits; `fixtures/random_weights.py`
//! is the rule in numpy. All integers wrap around at 64 bits, and `mix` is the finaliser of splitmix64:
//!
//! ```text
//! G     = 0x9e3779b97f4a7c15
//! key   = mix(fnv1a64(name) + mix(seed + G))
//! bits  = mix(key + (index + 1) · G)
//! n     = the sum of the four 16-bit fields of bits, less 131070       (near normal, standard deviation σ)
//! value = f32(n) · f32(std / σ),  σ = √((2³² - 1) / 3)
//! ```
//!
//! | tensor | value |
//! |---|---|
//! | a layer norm's weight, a layer scale | 1 + value with std 0.1 |
//! | any bias | std 0.02 |
//! | class, register and mask tokens, position embeddings, a pooling head's query | std 0.25 |
//! | everything else | std 1 / √(inputs of one output) |
//!
//! Trained CLIP carries a few channels far above the others through its residual stream, and these are what is
//! hard on float32. So `pre_layrnorm.weight` is multiplied by 10 in channels c with
//! `c % 256 == mix(seed + G) % 256`.

use rayon::prelude::*;

/// The generator for one seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RandomWeights {
    seed: u64,
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const OUTLIER_PERIOD: u64 = 256;

impl RandomWeights {
    /// Weights of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// All elements of a tensor, in row-major order. `name` is spelled as in a full CLIPModel
    /// (`vision_model.…`).
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Vec<f32> {
        const CHUNK: usize = 1 << 16;
        let mut values = vec![0f32; shape.iter().product()];
        let chunks = values.par_chunks_mut(CHUNK).enumerate();
        chunks.for_each(|(chunk, values)| self.elements(name, shape, chunk * CHUNK, values));
        values
    }

    /// As many elements as there is room for, from the one at `first` on.
    pub(super) fn elements(&self, name: &str, shape: &[usize], first: usize, into: &mut [f32]) {
        let kind = Kind::of(name, shape);
        let seed_hash = mix(self.seed.wrapping_add(GOLDEN));
        let key = mix(fnv1a(name).wrapping_add(seed_hash));
        let sigma = (((1u64 << 32) - 1) as f64 / 3.0).sqrt();
        let scale = (kind.std / sigma) as f32;
        let value = |index: usize| {
            let bits = mix(key.wrapping_add((index as u64 + 1).wrapping_mul(GOLDEN)));
            let sum = (bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48);
            (sum as i32 - 131_070) as f32 * scale
        };
        for (index, slot) in (first..).zip(into) {
            *slot = value(index);
            if kind.is_norm {
                *slot += 1.0;
            }
            if kind.has_outliers && index as u64 % OUTLIER_PERIOD == seed_hash % OUTLIER_PERIOD {
                *slot *= 10.0;
            }
        }
    }
}

/// How a tensor's values are spread.
struct Kind {
    std: f64,
    is_norm: bool,
    has_outliers: bool,
}

impl Kind {
    fn of(name: &str, shape: &[usize]) -> Self {
        const TOKENS: [&str; 6] =
            ["class_embedding", "cls_token", "register_tokens", "mask_token", "position_embeddings", "probe"];
        let mut parts = name.rsplit('.');
        let (last, owner) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let is_norm = last == "weight" && owner.contains("norm") || last == "lambda1";
        let std = if is_norm {
            0.1
        } else if last == "bias" || last == "in_proj_bias" {
            0.02
        } else if TOKENS.contains(&last) || owner == "position_embedding" {
            0.25
        } else {
            let inputs: usize = shape.iter().skip(1).product();
            1.0 / (inputs as f64).sqrt()
        };
        Self { std, is_norm, has_outliers: is_norm && owner == "pre_layrnorm" }
    }
}

/// The finaliser of splitmix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// 64-bit FNV-1a.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published first outputs of splitmix64 for seed 0 are `mix(G)`, `mix(2G)`, …; FNV-1a's "a" is from its
    /// authors' test vectors.
    #[test]
    fn the_hashes_match_published_vectors() {
        assert_eq!(mix(GOLDEN), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(GOLDEN.wrapping_mul(2)), 0x6e78_9e6a_a1b9_65f4);
        assert_eq!(fnv1a("a"), 0xaf63_dc4c_8601_ec8c);
    }

    #[test]
    fn values_are_spread_as_documented() {
        let weights =
            RandomWeights::new(7).tensor("vision_model.encoder.layers.0.mlp.fc1.weight", &[400, 100]);
        let mean = weights.iter().map(|&w| f64::from(w)).sum::<f64>() / 40_000.0;
        let variance = weights.iter().map(|&w| (f64::from(w) - mean).powi(2)).sum::<f64>() / 40_000.0;
        assert!(mean.abs() < 0.002, "{mean}");
        assert!((variance.sqrt() - 0.1).abs() < 0.002, "{}", variance.sqrt());
    }

    #[test]
    fn a_few_channels_of_the_pre_norm_stand_out() {
        let weights = RandomWeights::new(0).tensor("vision_model.pre_layrnorm.weight", &[1024]);
        assert_eq!(weights.iter().filter(|&&w| w > 5.0).count(), 4);
        assert!(weights.iter().all(|&w| (0.4..16.0).contains(&w)));
    }

    #[test]
    fn seed_and_name_change_the_values() {
        let tensor = |seed, name| RandomWeights::new(seed).tensor(name, &[8, 8]);
        assert_eq!(tensor(0, "a"), tensor(0, "a"));
        assert_ne!(tensor(0, "a"), tensor(1, "a"));
        assert_ne!(tensor(0, "a"), tensor(0, "b"));
    }
}
