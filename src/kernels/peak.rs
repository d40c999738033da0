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

/// Measures the peak of a matrix unit's products on all threads of rayon's current pool, in GFLOP/s, from tiles alone; none
/// where there is no unit.
pub fn tile_peak() -> Option<f64> {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if super::unit::Amx::is_available() {
        use super::unit::{Amx, TileMachine};
        const STEPS: usize = 100_000;
        /// Four products of 16 × 16 sums of 32.
        const OPERATIONS: usize = STEPS * 4 * 16 * 16 * 32;
        let mut best = 0f64;
        for _ in 0..8 {
            let start = Instant::now();
            rayon::broadcast(|_| {
                // SAFETY: the machine is available; the tiles are zero, and no memory is touched.
                unsafe {
                    let mut machine = Amx::new(16);
                    for _ in 0..STEPS {
                        machine.dot::<0, 4, 6>();
                        machine.dot::<1, 4, 7>();
                        machine.dot::<2, 5, 6>();
                        machine.dot::<3, 5, 7>();
                    }
                }
            });
            let threads = rayon::current_num_threads();
            best = best.max(2.0 * (OPERATIONS * threads) as f64 / start.elapsed().as_secs_f64() / 1e9);
        }
        return Some(best);
    }
    None
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
