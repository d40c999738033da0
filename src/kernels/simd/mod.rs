//! The few vector operations that the kernels are written in, once per instruction set.
//!
//! A kernel is a [`Kernel`] whose `run` is generic over [`Simd`] and inlined into [`Simd::enter`], the one
//! function per instruction set that is compiled with its features switched on. That keeps every algorithm in one
//! place: the instruction sets differ in these operations, in the number of lanes and of registers, and nowhere
//! else.

#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod several;
#[cfg(target_arch = "x86_64")]
mod steps;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "aarch64")]
pub(super) use neon::Neon;
pub(super) use portable::Portable;
pub(super) use several::Several;
#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

use super::depth::Steps;

/// The widest vector of any instruction set here, in f32 lanes.
pub(super) const MAX_LANES: usize = 16;

/// Vectors of f32.
///
/// # Safety
/// Of all functions: the CPU has the instruction set, and they are inlined into [`Simd::enter`]. Loads and stores take `LANES`
/// elements, aligned or not; their pointers must be valid for that.
pub(super) trait Lanes: Sized + 'static {
    /// One vector.
    type V: Copy;
    /// f32 values in a vector.
    const LANES: usize;
    /// Whether [`Lanes::scale`] gives 0 for all `n` below its range too, whatever `v` is.
    const SCALE_ENDS_IN_ZERO: bool = false;

    unsafe fn splat(value: f32) -> Self::V;
    unsafe fn load(from: *const f32) -> Self::V;
    unsafe fn store(to: *mut f32, v: Self::V);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`, rounded once where the instruction set can.
    unsafe fn mul_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger one; `b` where `b` is NaN.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// The smaller one; `b` where `b` is NaN.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// The lanes' bits shifted left by 23, which moves an integer into a float's exponent.
    unsafe fn shift_left_23(v: Self::V) -> Self::V;
    /// `if_negative` where `v`'s sign bit is set, else `otherwise`.
    unsafe fn select_negative(v: Self::V, if_negative: Self::V, otherwise: Self::V) -> Self::V;

    /// `v · 2^n` for whole `n` from -125 to 128, NaN where `v` is; 0 of finite `v` for -126.
    #[inline(always)]
    unsafe fn scale(v: Self::V, n: Self::V) -> Self::V {
        /// `1.5 · 2^23`, which leaves the integer that is added to it in the low bits; 126 more make it the exponent of 2^(n-1).
        const INTO_EXPONENT: f32 = 12_582_912.0 + 126.0;
        unsafe {
            // At the upper end as 2^127 twice over.
            let half_scale = Self::shift_left_23(Self::add(n, Self::splat(INTO_EXPONENT)));
            let half = Self::mul(v, half_scale);
            Self::add(half, half)
        }
    }
}

/// The vectors of one instruction set, and what else kernels need of it.
///
/// # Safety
/// As [`Lanes`].
pub(super) trait Simd: Lanes {
    /// Rows of the register tile, as many as the registers hold beside two vectors of weights and one of input.
    const TILE_ROWS: usize;

    /// Runs a kernel compiled for this instruction set, as a function of its own.
    unsafe fn enter<K: Kernel>(kernel: K) -> K::Output;

    /// Asks for the cache line at `address`, which need not be valid. Though what is asked for far ahead leaves the nearest cache
    /// before it is read, on Zen 4 to ask for the second-level cache alone costs a block 1 to 2 percent.
    unsafe fn prefetch(address: *const f32);
    /// The same in the second-level cache alone.
    unsafe fn prefetch_second_level(address: *const f32);
    /// Asks for the cache line at `address`, which need not be valid, to write to it.
    unsafe fn prefetch_write(address: *const f32);

    /// Whether there is a faster way than the compiler's to sum a tile of so many rows and vectors, [`Simd::add_steps`].
    #[inline(always)]
    fn has_steps(_rows: usize, _vectors: usize) -> bool {
        false
    }

    /// Adds to a tile the products of some depth steps, in their order.
    #[inline(always)]
    unsafe fn add_steps<const ROWS: usize, const VECTORS: usize>(
        _tile: &mut [[Self::V; VECTORS]; ROWS],
        _steps: Steps,
    ) {
        unreachable!("steps of a tile of {ROWS} x {VECTORS}")
    }

    /// Writes 8 rows of 8 elements, `from_stride` apart, as columns of rows `to_stride` apart.
    #[inline(always)]
    unsafe fn transpose_8x8(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        for row in 0..8 {
            for column in 0..8 {
                // SAFETY: both blocks are the caller's.
                unsafe { *to.add(column * to_stride + row) = *from.add(row * from_stride + column) };
            }
        }
    }

    /// The first `count` elements, at most `LANES`; the other lanes are zero.
    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self::V {
        if count >= Self::LANES {
            return unsafe { Self::load(from) };
        }
        let mut lanes = [0f32; MAX_LANES];
        // SAFETY: `count` elements are readable by contract and fit the array, which holds a vector.
        unsafe {
            std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), count);
            Self::load(lanes.as_ptr())
        }
    }

    /// Stores the first `count` lanes, at most `LANES`.
    #[inline(always)]
    unsafe fn store_first(to: *mut f32, count: usize, v: Self::V) {
        if count >= Self::LANES {
            return unsafe { Self::store(to, v) };
        }
        let lanes = unsafe { Self::to_array(v) };
        // SAFETY: `count` elements are writable by contract.
        unsafe { std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, count) };
    }

    /// The lanes, zeros behind them.
    #[inline(always)]
    unsafe fn to_array(v: Self::V) -> [f32; MAX_LANES] {
        let mut lanes = [0f32; MAX_LANES];
        // SAFETY: the array holds a vector.
        unsafe { Self::store(lanes.as_mut_ptr(), v) };
        lanes
    }

    /// Each lane rounded to the nearest bfloat16, to the even one of two. A NaN stays one.
    #[inline(always)]
    unsafe fn round_to_bf16(v: Self::V) -> Self::V {
        let lanes = unsafe { Self::to_array(v) }.map(round_to_bf16);
        // SAFETY: the array holds a vector.
        unsafe { Self::load(lanes.as_ptr()) }
    }

    /// Stores the first `count` lanes, at most `LANES`, which are bfloat16, as such.
    #[inline(always)]
    unsafe fn store_bf16(to: *mut u16, count: usize, v: Self::V) {
        let lanes = unsafe { Self::to_array(v) };
        for (i, lane) in lanes[..count.min(Self::LANES)].iter().enumerate() {
            // SAFETY: `count` elements are writable by contract.
            unsafe { *to.add(i) = (lane.to_bits() >> 16) as u16 };
        }
    }

    /// `sum + a · b`, each lane of `a` and `b` two bfloat16 whose products are added from the second to the first, each rounded
    /// once; denormals count as zero. That is `vdpbf16ps`, in Intel's words (VDPBF16PS in the manual, volume 2) and in AMD's.
    #[inline(always)]
    unsafe fn dot_bf16(a: Self::V, b: Self::V, sum: Self::V) -> Self::V {
        unsafe { dot_bf16::<Self>(a, b, sum) }
    }

    /// The sum of all lanes, pairwise.
    #[inline(always)]
    unsafe fn sum(v: Self::V) -> f32 {
        let mut lanes = unsafe { Self::to_array(v) };
        let mut width = Self::LANES;
        while width > 1 {
            width /= 2;
            for lane in 0..width {
                lanes[lane] += lanes[lane + width];
            }
        }
        lanes[0]
    }

    /// The largest lane; of several where one is NaN, any of them.
    #[inline(always)]
    unsafe fn largest(v: Self::V) -> f32 {
        let mut lanes = unsafe { Self::to_array(v) };
        let mut width = Self::LANES;
        while width > 1 {
            width /= 2;
            for lane in 0..width {
                let (low, high) = (lanes[lane], lanes[lane + width]);
                lanes[lane] = if low > high { low } else { high };
            }
        }
        lanes[0]
    }
}

/// The nearest bfloat16, the even one of two; a NaN stays one.
pub(super) fn round_to_bf16(value: f32) -> f32 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & 0xffff_0000;
    f32::from_bits(if value.is_nan() { (bits | 0x0040_0000) & 0xffff_0000 } else { rounded })
}

/// A zero for what is subnormal, as instructions on bfloat16 take and give it.
#[inline(always)]
pub(super) fn flush(value: f32) -> f32 {
    if value.is_subnormal() { 0.0f32.copysign(value) } else { value }
}

/// `a · b + c` of two bfloat16 and a float32, none of them subnormal, as those instructions round it: what is below the least normal
/// number after it was rounded to 24 bits, whatever its exponent, is zero.
#[inline(always)]
pub(super) fn fused_bf16(a: f32, b: f32, c: f32) -> f32 {
    let sum = a.mul_add(b, c);
    // Fewer bits are left for what is subnormal, so it may be rounded up to the least normal number where 24 bits would not be.
    if sum.abs() == f32::MIN_POSITIVE {
        const LEAST: f64 = f32::MIN_POSITIVE as f64 * (1.0 - f32::EPSILON as f64 / 4.0);
        // Exact, since all its digits are near those of the least normal number.
        let exact = f64::from(a) * f64::from(b) + f64::from(c);
        return if exact.abs() < LEAST { 0.0f32.copysign(sum) } else { sum };
    }
    flush(sum)
}

/// [`Simd::dot_bf16`] lane by lane.
#[inline(always)]
unsafe fn dot_bf16<S: Simd>(a: S::V, b: S::V, sum: S::V) -> S::V {
    let second = |pair: f32| flush(f32::from_bits(pair.to_bits() & 0xffff_0000));
    let first = |pair: f32| flush(f32::from_bits(pair.to_bits() << 16));
    // SAFETY: the arrays hold vectors.
    unsafe {
        let (a, b, mut sums) = (S::to_array(a), S::to_array(b), S::to_array(sum));
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum = fused_bf16(second(a), second(b), flush(*sum));
            *sum = fused_bf16(first(a), first(b), *sum);
        }
        S::load(sums.as_ptr())
    }
}

/// A computation written once for every instruction set.
pub(super) trait Kernel {
    /// What it computes.
    type Output;

    /// Must be `#[inline(always)]`, and so must all that it calls with vectors: only code inlined into
    /// [`Simd::enter`] is compiled with the instruction set's features.
    ///
    /// # Safety
    /// The CPU has the instruction set; besides, what the kernel's fields ask for.
    unsafe fn run<S: Simd>(self) -> Self::Output;
}
