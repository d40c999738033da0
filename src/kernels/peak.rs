//! The yardstick: the fastest that the CPU can multiply and add.

use std::{hint::black_box, time::Instant};

use super::{
    Isa,
    simd::{Kernel, Simd},
};

/// Measures the peak of `a · b + c` on all threads of rayon's current pool, in GFLOP/s (two to an operation), from
/// registers alone. It takes some 50 ms.
pub fn fma_peak(isa: Isa) -> f64 {
    /// Milliseconds of work, beside which the microseconds that waking the threads takes are nothing.
    const STEPS: usize = 1_000_000;
    const ROUNDS: usize = 8;
    let threads = rayon::current_num_threads();
    let mut best = 0f64;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        // SAFETY: `Chains` asks for nothing.
        let operations = rayon::broadcast(|_| unsafe { isa.run(Chains { steps: STEPS }) })[0];
        best = best.max(2.0 * (operations * threads) as f64 / start.elapsed().as_secs_f64() / 1e9);
    }
    best
}

/// Independent chains of operations, enough to keep every multiplier busy in spite of its latency.
struct Chains {
    steps: usize,
}

impl Kernel for Chains {
    /// Lane operations done.
    type Output = usize;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> usize {
        // SAFETY: no memory is touched.
        unsafe {
            // Both counts fit the registers that `TILE_ROWS` tells of.
            if S::TILE_ROWS > 6 { chains::<S, 24>(self.steps) } else { chains::<S, 12>(self.steps) }
        }
    }
}

#[inline(always)]
unsafe fn chains<S: Simd, const COUNT: usize>(steps: usize) -> usize {
    unsafe {
        // Unknown and different starting values, or the chains would be folded into one.
        let a = S::splat(black_box(0.999));
        let b = S::splat(black_box(1e-3));
        let mut chains: [S::V; COUNT] = std::array::from_fn(|i| S::splat(black_box(i as f32)));
        for _ in 0..steps {
            for chain in &mut chains {
                *chain = S::mul_add(a, *chain, b);
            }
        }
        for chain in chains {
            black_box(S::sum(chain));
        }
    }
    steps * COUNT * S::LANES
}
