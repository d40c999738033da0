//! NEON, which every 64-bit ARM CPU has.

use std::arch::aarch64::*;

use super::{Kernel, Lanes, Simd};

/// 4 lanes, 32 registers.
pub(in crate::kernels) struct Neon;

// SAFETY of the blocks below: the trait's contract, that the CPU has the instruction set and pointers are valid
// for a vector, is the intrinsics' own.

impl Lanes for Neon {
    type V = float32x4_t;
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f32) -> float32x4_t {
        unsafe { vdupq_n_f32(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> float32x4_t {
        unsafe { vld1q_f32(from) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, v: float32x4_t) {
        unsafe { vst1q_f32(to, v) }
    }

    #[inline(always)]
    unsafe fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vaddq_f32(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vsubq_f32(a, b) }
    }

    #[inline(always)]
    unsafe fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vmulq_f32(a, b) }
    }

    #[inline(always)]
    unsafe fn div(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vdivq_f32(a, b) }
    }

    #[inline(always)]
    unsafe fn mul_add(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        unsafe { vfmaq_f32(c, a, b) }
    }

    #[inline(always)]
    unsafe fn max(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vmaxq_f32(a, b) }
    }

    #[inline(always)]
    unsafe fn min(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vminq_f32(a, b) }
    }

    #[inline(always)]
    unsafe fn shift_left_23(v: float32x4_t) -> float32x4_t {
        unsafe { vreinterpretq_f32_s32(vshlq_n_s32::<23>(vreinterpretq_s32_f32(v))) }
    }

    #[inline(always)]
    unsafe fn select_negative(
        v: float32x4_t,
        if_negative: float32x4_t,
        otherwise: float32x4_t,
    ) -> float32x4_t {
        unsafe { vbslq_f32(vcltzq_s32(vreinterpretq_s32_f32(v)), if_negative, otherwise) }
    }
}

impl Simd for Neon {
    const TILE_ROWS: usize = 14;

    #[target_feature(enable = "neon")]
    #[inline(never)]
    unsafe fn enter<K: Kernel>(kernel: K) -> K::Output {
        unsafe { kernel.run::<Self>() }
    }

    #[inline(always)]
    unsafe fn prefetch(_: *const f32) {
        // The prefetch intrinsic is not stable; the hardware follows the sequential panels by itself.
    }

    #[inline(always)]
    unsafe fn prefetch_second_level(_: *const f32) {}

    #[inline(always)]
    unsafe fn prefetch_write(_: *const f32) {}
}
