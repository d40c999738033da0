//! What the kernels' tests share.

use std::ops::Deref;

/// `count` values in [-1, 1), the same for the same seed.
pub(super) fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// ‖got - want‖ / ‖want‖, in Frobenius norms.
pub(super) fn relative_error(got: &[f32], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let difference: f64 = got.iter().zip(want).map(|(&g, &w)| (f64::from(g) - w).powi(2)).sum();
    let norm: f64 = want.iter().map(|w| w.powi(2)).sum();
    if difference == 0.0 { 0.0 } else { (difference / norm).sqrt() }
}

/// Runs `f` in pools of several sizes and checks that all give the same bytes.
pub(super) fn same_on_all_threads<V: Deref<Target = [f32]> + Send>(f: impl Fn() -> V + Sync) -> V {
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let mut results = [1, 2, 3, 7].map(|threads| pool(threads).install(&f)).into_iter();
    let first = results.next().unwrap();
    for other in results {
        assert!(same_bytes(&first, &other));
    }
    first
}

pub(super) fn same_bytes(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}
