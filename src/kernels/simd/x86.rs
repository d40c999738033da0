//! AVX2 with FMA, and AVX-512.

use std::{arch::x86_64::*, mem::transmute};

use super::{Kernel, Lanes, Simd, steps};
use crate::kernels::depth::Steps;

/// 8 lanes, 16 registers.
pub(in crate::kernels) struct Avx2;

/// 16 lanes, 32 registers. Needs only the foundation, AVX512F, and with `BF16` AVX512_BF16.
pub(in crate::kernels) struct Avx512<const BF16: bool = false>;

// SAFETY of the blocks below: the trait's contract, that the CPU has the instruction set and pointers are valid
// for a vector, is the intrinsics' own. `_mm_prefetch` may be given any address.

impl Lanes for Avx2 {
    type V = __m256;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m256 {
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, v: __m256) {
        unsafe { _mm256_storeu_ps(to, v) }
    }

    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn div(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_div_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul_add(a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn max(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_max_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn min(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_min_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn shift_left_23(v: __m256) -> __m256 {
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(v))) }
    }

    #[inline(always)]
    unsafe fn select_negative(v: __m256, if_negative: __m256, otherwise: __m256) -> __m256 {
        unsafe { _mm256_blendv_ps(otherwise, if_negative, v) }
    }
}

impl Simd for Avx2 {
    const TILE_ROWS: usize = 6;

    #[target_feature(enable = "avx2,fma")]
    #[inline(never)]
    unsafe fn enter<K: Kernel>(kernel: K) -> K::Output {
        unsafe { kernel.run::<Self>() }
    }

    #[inline(always)]
    unsafe fn prefetch(address: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }

    #[inline(always)]
    unsafe fn prefetch_second_level(address: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) }
    }

    #[inline(always)]
    unsafe fn prefetch_write(address: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(address.cast()) }
    }

    #[inline(always)]
    unsafe fn transpose_8x8(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        unsafe { transpose_8x8(from, from_stride, to, to_stride) }
    }
}

/// The two functions of [`Simd::enter`].
impl<const BF16: bool> Avx512<BF16> {
    #[target_feature(enable = "avx512f")]
    #[inline(never)]
    unsafe fn enter_foundation<K: Kernel>(kernel: K) -> K::Output {
        unsafe { kernel.run::<Self>() }
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    #[inline(never)]
    unsafe fn enter_bf16<K: Kernel>(kernel: K) -> K::Output {
        unsafe { kernel.run::<Self>() }
    }
}

impl<const BF16: bool> Lanes for Avx512<BF16> {
    type V = __m512;
    const LANES: usize = 16;
    const SCALE_ENDS_IN_ZERO: bool = true;

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m512 {
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, v: __m512) {
        unsafe { _mm512_storeu_ps(to, v) }
    }

    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn div(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn min(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn shift_left_23(v: __m512) -> __m512 {
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_castps_si512(v))) }
    }

    #[inline(always)]
    unsafe fn select_negative(v: __m512, if_negative: __m512, otherwise: __m512) -> __m512 {
        unsafe {
            let negative = _mm512_cmplt_epi32_mask(_mm512_castps_si512(v), _mm512_setzero_si512());
            _mm512_mask_blend_ps(negative, otherwise, if_negative)
        }
    }

    #[inline(always)]
    unsafe fn scale(v: __m512, n: __m512) -> __m512 {
        unsafe {
            let within = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(n, _mm512_set1_ps(-125.0));
            _mm512_maskz_scalef_ps(within, v, n)
        }
    }
}

impl<const BF16: bool> Simd for Avx512<BF16> {
    const TILE_ROWS: usize = 14;

    #[inline(always)]
    unsafe fn enter<K: Kernel>(kernel: K) -> K::Output {
        unsafe { if BF16 { Self::enter_bf16(kernel) } else { Self::enter_foundation(kernel) } }
    }

    #[inline(always)]
    fn has_steps(rows: usize, vectors: usize) -> bool {
        steps::has(rows, vectors)
    }

    #[inline(always)]
    unsafe fn add_steps<const ROWS: usize, const VECTORS: usize>(
        tile: &mut [[__m512; VECTORS]; ROWS],
        steps: Steps,
    ) {
        unsafe { steps::add(tile, steps) }
    }

    #[inline(always)]
    unsafe fn dot_bf16(a: __m512, b: __m512, sum: __m512) -> __m512 {
        unsafe {
            if BF16 {
                // Vectors of 32 bfloat16, the type of whose lanes the intrinsic alone knows.
                return _mm512_dpbf16_ps(
                    sum,
                    transmute::<__m512, __m512bh>(a),
                    transmute::<__m512, __m512bh>(b),
                );
            }
            super::dot_bf16::<Self>(a, b, sum)
        }
    }

    #[inline(always)]
    unsafe fn round_to_bf16(v: __m512) -> __m512 {
        unsafe {
            let bits = _mm512_castps_si512(v);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
            let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x0040_0000));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
            let rounded = _mm512_mask_blend_epi32(nan, rounded, quiet);
            _mm512_castsi512_ps(_mm512_and_si512(rounded, _mm512_set1_epi32(0xffff_0000_u32 as i32)))
        }
    }

    #[inline(always)]
    unsafe fn store_bf16(to: *mut u16, count: usize, v: __m512) {
        unsafe {
            let halves = _mm512_srli_epi32::<16>(_mm512_castps_si512(v));
            // A store that converts is microcode; behind a conversion of its own it is one of vectors.
            let halves = _mm512_cvtepi32_epi16(halves);
            if count >= Self::LANES {
                return _mm256_storeu_si256(to.cast(), halves);
            }
            let mut lanes = [0u16; super::MAX_LANES];
            _mm256_storeu_si256(lanes.as_mut_ptr().cast(), halves);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, count);
        }
    }

    #[inline(always)]
    unsafe fn prefetch(address: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }

    #[inline(always)]
    unsafe fn prefetch_second_level(address: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) }
    }

    #[inline(always)]
    unsafe fn prefetch_write(address: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(address.cast()) }
    }

    #[inline(always)]
    unsafe fn transpose_8x8(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        unsafe { transpose_8x8(from, from_stride, to, to_stride) }
    }
}

/// [`Simd::transpose_8x8`] for both: AVX-512 includes AVX2, and wider shuffles would not be faster here.
#[inline(always)]
unsafe fn transpose_8x8(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    unsafe {
        let rows: [__m256; 8] = std::array::from_fn(|row| _mm256_loadu_ps(from.add(row * from_stride)));
        // Pairs of rows, then fours, in each half of the vectors; the halves last.
        let mut pairs = rows;
        for i in (0..8).step_by(2) {
            pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
            pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
        }
        let mut fours = pairs;
        for i in [0, 4] {
            fours[i] = _mm256_shuffle_ps::<0x44>(pairs[i], pairs[i + 2]);
            fours[i + 1] = _mm256_shuffle_ps::<0xee>(pairs[i], pairs[i + 2]);
            fours[i + 2] = _mm256_shuffle_ps::<0x44>(pairs[i + 1], pairs[i + 3]);
            fours[i + 3] = _mm256_shuffle_ps::<0xee>(pairs[i + 1], pairs[i + 3]);
        }
        for i in 0..4 {
            let low = _mm256_permute2f128_ps::<0x20>(fours[i], fours[i + 4]);
            let high = _mm256_permute2f128_ps::<0x31>(fours[i], fours[i + 4]);
            _mm256_storeu_ps(to.add(i * to_stride), low);
            _mm256_storeu_ps(to.add((i + 4) * to_stride), high);
        }
    }
}
