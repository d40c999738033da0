//! Depth steps of AVX-512's high tiles, by hand.
//!
//! A multiply-add can read one value for all lanes from memory itself, which saves an operation for each row of a tile, but a
//! second load where the row has two vectors. LLVM never does that to a value with two uses, and it keeps so little of what
//! surrounds the loop in registers that it reads pointers again within it. Alone on a core neither matters much, 1 percent of
//! a product. But where another thread is busy on the same core, which a virtual machine does not see, the two share what
//! the core can begin in a cycle: with a fifth fewer operations a tower was some 6 percent faster there.

use std::{
    arch::{asm, x86_64::__m512},
    ptr::from_mut,
};

use super::super::depth::{ROW_STRIDE, Steps, UNROLL};

/// Adds to a tile what [`Steps`] says, if it is one that is here: its rows and vectors.
///
/// # Safety
/// As [`Steps`] says, and the CPU has AVX512F.
#[inline(always)]
pub(super) unsafe fn add<const ROWS: usize, const VECTORS: usize>(
    tile: &mut [[__m512; VECTORS]; ROWS],
    steps: Steps,
) {
    let tile = from_mut(tile);
    // SAFETY: each has the tile's own type; the rest by contract.
    unsafe {
        match (ROWS, VECTORS) {
            (12, 2) => add_12(&mut *tile.cast(), steps),
            (13, 2) => add_13(&mut *tile.cast(), steps),
            (14, 2) => add_14(&mut *tile.cast(), steps),
            _ => unreachable!("steps of a tile of {ROWS} x {VECTORS}"),
        }
    }
}

/// Whether [`add`] has a tile: the heights that a picture's tokens are cut into.
pub(super) const fn has(rows: usize, vectors: usize) -> bool {
    12 <= rows && rows <= 14 && vectors == 2
}

/// One row of a depth step: its value times two vectors of weights. A `folded` one is read twice, by the multiply-adds. Two of
/// three rows are: with all of them, two loads a cycle would not suffice.
#[rustfmt::skip]
macro_rules! row {
    ($k:literal shared $row:literal $a:tt $b:tt) => {
        concat!(
            "vbroadcastss zmm30, dword ptr [{x} + {stride}*", $row, " + 4*", $k, "]\n",
            "vfmadd231ps ", $a, ", zmm28, zmm30\n",
            "vfmadd231ps ", $b, ", zmm29, zmm30\n",
        )
    };
    ($k:literal folded $row:literal $a:tt $b:tt) => {
        concat!(
            "vfmadd231ps ", $a, ", zmm28, dword ptr [{x} + {stride}*", $row, " + 4*", $k, "]{{1to16}}\n",
            "vfmadd231ps ", $b, ", zmm29, dword ptr [{x} + {stride}*", $row, " + 4*", $k, "]{{1to16}}\n",
        )
    };
}

/// One depth step.
macro_rules! step {
    ($k:literal $([$how:ident $row:literal $a:tt $b:tt])*) => {
        concat!(
            "vmovups zmm28, [{weights} + 128*", $k, "]\n",
            "vmovups zmm29, [{weights} + 128*", $k, " + 64]\n",
            $(row!($k $how $row $a $b),)*
        )
    };
}

/// A function for tiles of one height: of each row how it is read, its number, and the registers of its two sums. They are named, as
/// a compiler that does not optimise, as for a crate that depends on this one, finds too few where it may choose.
macro_rules! add {
    ($name:ident $height:literal $($rows:tt)*) => { add!(@ $name $height [$($rows)*] $($rows)*); };
    (@ $name:ident $height:literal [$($rows:tt)*] $([$how:ident $row:literal $a:tt $b:tt])*) => {
        #[inline]
        #[target_feature(enable = "avx512f")]
        unsafe fn $name(tile: &mut [[__m512; 2]; $height], steps: Steps) {
            const { assert!(UNROLL == 4) }
            debug_assert!(steps.count > 0);
            // SAFETY: it reads what `Steps` says, writes to registers, and prefetches may go anywhere.
            unsafe {
                asm!(
                    "2:",
                    "prefetcht0 [{ahead}]",
                    "prefetcht0 [{x_ahead}]",
                    step!(0 $($rows)*),
                    step!(1 $($rows)*),
                    step!(2 $($rows)*),
                    step!(3 $($rows)*),
                    "add {ahead}, {ahead_step}",
                    "add {x_ahead}, {x_ahead_step}",
                    "add {x}, 4*4",
                    "add {weights}, 4*128",
                    "dec {count}",
                    "jnz 2b",
                    $(inout($a) tile[$row][0], inout($b) tile[$row][1],)*
                    out("zmm28") _,
                    out("zmm29") _,
                    out("zmm30") _,
                    x = inout(reg) steps.x => _,
                    weights = inout(reg) steps.weights => _,
                    count = inout(reg) steps.count => _,
                    ahead = inout(reg) steps.ahead => _,
                    ahead_step = in(reg) steps.ahead_step,
                    x_ahead = inout(reg) steps.x_ahead => _,
                    x_ahead_step = in(reg) steps.x_ahead_step,
                    stride = const ROW_STRIDE * 4,
                    options(nostack, readonly),
                );
            }
        }
    };
}

add!(add_12 12
    [shared 0 "zmm0" "zmm1"] [folded 1 "zmm2" "zmm3"] [folded 2 "zmm4" "zmm5"]
    [shared 3 "zmm6" "zmm7"] [folded 4 "zmm8" "zmm9"] [folded 5 "zmm10" "zmm11"]
    [shared 6 "zmm12" "zmm13"] [folded 7 "zmm14" "zmm15"] [folded 8 "zmm16" "zmm17"]
    [shared 9 "zmm18" "zmm19"] [folded 10 "zmm20" "zmm21"] [folded 11 "zmm22" "zmm23"]
);
add!(add_13 13
    [shared 0 "zmm0" "zmm1"] [folded 1 "zmm2" "zmm3"] [folded 2 "zmm4" "zmm5"]
    [shared 3 "zmm6" "zmm7"] [folded 4 "zmm8" "zmm9"] [folded 5 "zmm10" "zmm11"]
    [shared 6 "zmm12" "zmm13"] [folded 7 "zmm14" "zmm15"] [folded 8 "zmm16" "zmm17"]
    [shared 9 "zmm18" "zmm19"] [folded 10 "zmm20" "zmm21"] [folded 11 "zmm22" "zmm23"]
    [shared 12 "zmm24" "zmm25"]
);
add!(add_14 14
    [shared 0 "zmm0" "zmm1"] [folded 1 "zmm2" "zmm3"] [folded 2 "zmm4" "zmm5"]
    [shared 3 "zmm6" "zmm7"] [folded 4 "zmm8" "zmm9"] [folded 5 "zmm10" "zmm11"]
    [shared 6 "zmm12" "zmm13"] [folded 7 "zmm14" "zmm15"] [folded 8 "zmm16" "zmm17"]
    [shared 9 "zmm18" "zmm19"] [folded 10 "zmm20" "zmm21"] [folded 11 "zmm22" "zmm23"]
    [shared 12 "zmm24" "zmm25"] [folded 13 "zmm26" "zmm27"]
);

#[cfg(test)]
mod tests {
    use super::{
        super::{Avx512, Kernel, Simd},
        *,
    };
    use crate::kernels::testing::noise;

    /// A tile of `ROWS` rows whose sums begin with one.
    struct Sums<'a, const ROWS: usize> {
        x: &'a [f32],
        weights: &'a [f32],
        count: usize,
    }

    impl<const ROWS: usize> Kernel for Sums<'_, ROWS> {
        type Output = Vec<f32>;

        #[inline(always)]
        unsafe fn run<S: Simd>(self) -> Vec<f32> {
            let (x, weights) = (self.x.as_ptr(), self.weights.as_ptr());
            // SAFETY: both hold `count` times `UNROLL` steps.
            unsafe {
                let mut tile = [[S::splat(1.0); 2]; ROWS];
                let count = self.count;
                S::add_steps(
                    &mut tile,
                    Steps { x, weights, count, ahead: x, ahead_step: 7, x_ahead: x, x_ahead_step: 0 },
                );
                tile.as_flattened().iter().flat_map(|&v| S::to_array(v)).collect()
            }
        }
    }

    fn products_are_added_in_turn<const ROWS: usize>() {
        assert!(has(ROWS, 2));
        for count in [1, 2, 64] {
            let x = noise(1, ROWS * ROW_STRIDE);
            let weights = noise(2, count * UNROLL * 32);
            // SAFETY: the CPU was asked.
            let got = unsafe { Avx512::<false>::enter(Sums::<ROWS> { x: &x, weights: &weights, count }) };
            for (i, got) in got.into_iter().enumerate() {
                let (row, column) = (i / 32, i % 32);
                let add = |sum: f32, k: usize| x[row * ROW_STRIDE + k].mul_add(weights[k * 32 + column], sum);
                assert_eq!(
                    got,
                    (0..count * UNROLL).fold(1.0, add),
                    "{ROWS} rows, {count} times: {row} {column}"
                );
            }
        }
    }

    #[test]
    fn sums_are_those_of_single_multiply_adds() {
        if !is_x86_feature_detected!("avx512f") {
            return;
        }
        products_are_added_in_turn::<12>();
        products_are_added_in_turn::<13>();
        products_are_added_in_turn::<14>();
    }
}
