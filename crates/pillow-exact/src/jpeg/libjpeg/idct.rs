//! The inverse DCT of libjpeg-turbo's vector code, to the last bit.
//!
//! Pillow's libjpeg-turbo has several implementations of the accurate integer inverse DCT ("islow"), which agree as
//! long as coefficients are in the range that a picture's can have. Corrupt and odd files have others, and there each
//! overflows in its own way: the C code wraps the result to 10 bits, the vector code for x86-64 wraps products of 16
//! bits and saturates sums. The latter is what the reference runs on, so it is followed here, on every machine. The
//! code for ARM differs from both: it wraps where x86-64 saturates between the passes.
//!
//! The arithmetic is that of `simd/x86_64/jidctint-avx2.asm` and `jidctint-sse2.asm` in libjpeg-turbo 3, which agree;
//! the algorithm is that of C. Loeffler, A. Ligtenberg and G. S. Moschytz (1989), "Practical fast 1-D DCT algorithms
//! with 11 multiplications", with products gathered in pairs.

use std::array::from_fn;

use mozjpeg_sys::{jpeg_component_info, jpeg_decompress_struct};

use super::shared::wanted;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::simd::Isa;

/// libjpeg's type of an inverse DCT of one block.
pub(super) type Method = unsafe extern "C-unwind" fn(
    *mut jpeg_decompress_struct,
    *mut jpeg_component_info,
    *mut i16,
    *mut *mut u8,
    u32,
);

/// A block, row by row.
pub(super) type Block<T> = [[T; 8]; 8];

/// The fastest inverse DCT, as libjpeg calls it.
pub(super) fn best() -> Method {
    #[cfg(target_arch = "x86_64")]
    if Isa::best().has_avx2() {
        // SAFETY: the CPU has AVX2.
        return method::<Avx2>;
    }
    #[cfg(target_arch = "aarch64")]
    if Isa::best().has_neon() {
        // SAFETY: the CPU has NEON.
        return method::<Neon>;
    }
    method::<Plain>
}

/// One way to compute it, which may be chosen where the CPU can.
pub(super) trait Kernel {
    unsafe fn inverse_dct(coefficients: &Block<i16>, table: &Block<u16>) -> Block<u8>;
}

pub(super) struct Plain;

impl Kernel for Plain {
    unsafe fn inverse_dct(coefficients: &Block<i16>, table: &Block<u16>) -> Block<u8> {
        inverse_dct(coefficients, table)
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) struct Avx2;

#[cfg(target_arch = "x86_64")]
impl Kernel for Avx2 {
    #[inline(always)]
    unsafe fn inverse_dct(coefficients: &Block<i16>, table: &Block<u16>) -> Block<u8> {
        // SAFETY: the caller's promise that the CPU has AVX2.
        unsafe { super::idct_avx2::inverse_dct(coefficients, table) }
    }
}

#[cfg(target_arch = "aarch64")]
pub(super) struct Neon;

#[cfg(target_arch = "aarch64")]
impl Kernel for Neon {
    #[inline(always)]
    unsafe fn inverse_dct(coefficients: &Block<i16>, table: &Block<u16>) -> Block<u8> {
        // SAFETY: the caller's promise that the CPU has NEON.
        unsafe { super::idct_neon::inverse_dct(coefficients, table) }
    }
}

/// Writes the samples of a block, unless nobody wants them.
///
/// # Safety
/// `component` is libjpeg's, `coefficients` a block of 64, and `rows` points to 8 rows with 8 samples from `column` on.
/// The CPU can do what the kernel is made of.
unsafe extern "C-unwind" fn method<K: Kernel>(
    cinfo: *mut jpeg_decompress_struct,
    component: *mut jpeg_component_info,
    coefficients: *mut i16,
    rows: *mut *mut u8,
    column: u32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if !wanted(cinfo).has((*component).component_index as usize, column) {
            return;
        }
        let coefficients = &*coefficients.cast::<Block<i16>>();
        for (row, samples) in K::inverse_dct(coefficients, table_of(component)).iter().enumerate() {
            (*rows.add(row)).add(column as usize).cast::<[u8; 8]>().write(*samples);
        }
    }
}

/// What a component's coefficients are multiplied with. It is set with the component's first scan; one without a scan has
/// coefficients of 0 only.
///
/// # Safety
/// `component` is libjpeg's, of a decompressor that lives longer than what is returned.
pub(super) unsafe fn table_of<'s>(component: *const jpeg_component_info) -> &'s Block<u16> {
    // SAFETY: the caller's promise.
    unsafe {
        match (*component).quant_table.as_ref() {
            Some(table) => &*(&raw const table.quantval).cast::<Block<u16>>(),
            None => &[[0; 8]; 8],
        }
    }
}

/// The samples of a block of quantized coefficients. Row 0 has the lowest vertical frequency.
fn inverse_dct(coefficients: &Block<i16>, table: &Block<u16>) -> Block<u8> {
    let dequantized =
        from_fn(|row| from_fn(|column| coefficients[row][column].wrapping_mul(table[row][column] as i16)));
    // Without vertical frequencies all rows are alike, and the vector code shifts them without saturation.
    let rows = if coefficients[1..].iter().flatten().all(|&coefficient| coefficient == 0) {
        [dequantized[0].map(|value| value << PASS1_BITS); 8]
    } else {
        transform::<{ CONST_BITS - PASS1_BITS }>(&dequantized)
    };
    let samples = transpose(&transform::<{ CONST_BITS + PASS1_BITS + 3 }>(&transpose(&rows)));
    samples.map(|row| row.map(|sample| (sample.clamp(-128, 127) + 128) as u8))
}

/// The sample of a block that has no frequency but 0, half of all in a photograph's chroma: what both passes come to.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) fn flat(mean: i16) -> u8 {
    let value = (i32::from(mean << PASS1_BITS) + (1 << (PASS1_BITS + 2))) >> (PASS1_BITS + 3);
    (value.clamp(-128, 127) + 128) as u8
}

/// Fractional bits of the factors.
pub(super) const CONST_BITS: u32 = 13;

/// Fractional bits that are kept between the passes.
pub(super) const PASS1_BITS: u32 = 2;

/// The one-dimensional inverse DCT down each column, times √8, rounded to a whole number of 2^`SHIFT` units.
#[inline(always)]
fn transform<const SHIFT: u32>(block: &Block<i16>) -> Block<i16> {
    let mut out = [[0; 8]; 8];
    for column in 0..8 {
        let x: [i16; 8] = from_fn(|row| block[row][column]);
        // Even frequencies.
        let (low, high) = (x[0].wrapping_add(x[4]), x[0].wrapping_sub(x[4]));
        let (low, high) = (i32::from(low) << CONST_BITS, i32::from(high) << CONST_BITS);
        let outer = dot([x[2], x[6]], [F_0_541 + F_0_765, F_0_541]);
        let inner = dot([x[2], x[6]], [F_0_541, F_0_541 - F_1_847]);
        let even = [
            low.wrapping_add(outer),
            high.wrapping_add(inner),
            high.wrapping_sub(inner),
            low.wrapping_sub(outer),
        ];
        // Odd frequencies.
        let sums = [x[7].wrapping_add(x[3]), x[5].wrapping_add(x[1])];
        let z3 = dot(sums, [F_1_175 - F_1_961, F_1_175]);
        let z4 = dot(sums, [F_1_175, F_1_175 - F_0_390]);
        let odd = [
            dot([x[7], x[1]], [-F_0_899, F_1_501 - F_0_899]).wrapping_add(z4),
            dot([x[5], x[3]], [-F_2_562, F_3_072 - F_2_562]).wrapping_add(z3),
            dot([x[5], x[3]], [F_2_053 - F_2_562, -F_2_562]).wrapping_add(z4),
            dot([x[7], x[1]], [F_0_298 - F_0_899, -F_0_899]).wrapping_add(z3),
        ];
        for row in 0..4 {
            out[row][column] = descale::<SHIFT>(even[row].wrapping_add(odd[row]));
            out[7 - row][column] = descale::<SHIFT>(even[row].wrapping_sub(odd[row]));
        }
    }
    out
}

/// The factors, in units of 2^-13.
pub(super) const F_0_298: i16 = 2446;
pub(super) const F_0_390: i16 = 3196;
pub(super) const F_0_541: i16 = 4433;
pub(super) const F_0_765: i16 = 6270;
pub(super) const F_0_899: i16 = 7373;
pub(super) const F_1_175: i16 = 9633;
pub(super) const F_1_501: i16 = 12_299;
pub(super) const F_1_847: i16 = 15_137;
pub(super) const F_1_961: i16 = 16_069;
pub(super) const F_2_053: i16 = 16_819;
pub(super) const F_2_562: i16 = 20_995;
pub(super) const F_3_072: i16 = 25_172;

/// Exact in 32 bits, for no factor is -2^15.
#[inline(always)]
fn dot(x: [i16; 2], factors: [i16; 2]) -> i32 {
    i32::from(x[0]) * i32::from(factors[0]) + i32::from(x[1]) * i32::from(factors[1])
}

/// `sum` / 2^`SHIFT`, rounded, in the range of 16 bits.
#[inline(always)]
fn descale<const SHIFT: u32>(sum: i32) -> i16 {
    let value = sum.wrapping_add(1 << (SHIFT - 1)) >> SHIFT;
    value.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

#[inline(always)]
fn transpose(block: &Block<i16>) -> Block<i16> {
    from_fn(|row| from_fn(|column| block[column][row]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random, the same for the same seed.
    struct Noise(u64);

    impl Noise {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 >> 16
        }

        fn below(&mut self, bound: u64) -> u64 {
            self.next() % bound
        }
    }

    /// One dimension as Loeffler, Ligtenberg and Moschytz have it, in 64 bits wherever the vector code has 32, in
    /// which it is exact but for the last sums.
    fn plain_transform(x: [i16; 8], shift: u32) -> [i16; 8] {
        let wrapped = |sum: i64| i64::from(sum as i16);
        let x = x.map(i64::from);
        let z1 = (x[2] + x[6]) * 4433;
        let (tmp2, tmp3) = (z1 - x[6] * 15_137, z1 + x[2] * 6270);
        let (tmp0, tmp1) = (wrapped(x[0] + x[4]) * 8192, wrapped(x[0] - x[4]) * 8192);
        let even = [tmp0 + tmp3, tmp1 + tmp2, tmp1 - tmp2, tmp0 - tmp3];
        let (z1, z2) = ((x[7] + x[1]) * -7373, (x[5] + x[3]) * -20_995);
        let (z3, z4) = (wrapped(x[7] + x[3]), wrapped(x[5] + x[1]));
        let z5 = (z3 + z4) * 9633;
        let (z3, z4) = (z5 - z3 * 16_069, z5 - z4 * 3196);
        let odd = [
            x[1] * 12_299 + z1 + z4,
            x[3] * 25_172 + z2 + z3,
            x[5] * 16_819 + z2 + z4,
            x[7] * 2446 + z1 + z3,
        ];
        from_fn(|row| {
            let sum = if row < 4 { even[row] + odd[row] } else { even[7 - row] - odd[7 - row] };
            let rounded = i64::from((sum + (1 << (shift - 1))) as i32) >> shift;
            rounded.clamp(-32_768, 32_767) as i16
        })
    }

    fn plain(coefficients: &Block<i16>, table: &Block<u16>) -> Block<u8> {
        let value = |row: usize, column: usize| {
            (i32::from(coefficients[row][column]) * i32::from(table[row][column])) as i16
        };
        let flat = (1..8).all(|row| coefficients[row] == [0; 8]);
        let columns: Block<i16> = from_fn(|column| {
            if flat {
                [(i32::from(value(0, column)) * 4) as i16; 8]
            } else {
                plain_transform(from_fn(|row| value(row, column)), 11)
            }
        });
        from_fn(|row| {
            plain_transform(from_fn(|column| columns[column][row]), 18)
                .map(|sample| (i32::from(sample).clamp(-128, 127) + 128) as u8)
        })
    }

    /// Row and column of each place in zigzag order: diagonal by diagonal, up and down in turn.
    fn zigzag() -> Vec<(usize, usize)> {
        let diagonal = |sum: usize| {
            let mut places: Vec<_> = (0..8).flat_map(|row| (0..8).map(move |column| (row, column))).collect();
            places.retain(|(row, column)| row + column == sum);
            if sum.is_multiple_of(2) {
                places.reverse();
            }
            places
        };
        (0..15).flat_map(diagonal).collect()
    }

    #[test]
    fn every_kind_of_block_agrees_with_the_plain_version() {
        let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
        let zigzag = zigzag();
        #[cfg(target_arch = "x86_64")]
        let mut before = [[0; 8]; 8];
        for _ in 0..200_000 {
            // Magnitudes from a picture's to all that 16 bits hold; few or many places other than 0.
            let (bits, table_bits) = (noise.below(17), noise.below(17));
            let filled = noise.below(65);
            let rows = 1 + noise.below(8) as usize;
            let end = [64, 10, 1, 1 + noise.below(64)][noise.below(4) as usize] as usize;
            let extreme = noise.below(4) == 0;
            let mut block = [[0; 8]; 8];
            for &(row, column) in zigzag[..end].iter().filter(|(row, _)| *row < rows) {
                if noise.below(64) < filled {
                    let random = (noise.next() as i16) >> (16 - bits).min(15);
                    block[row][column] =
                        if extreme { [i16::MIN, i16::MAX][noise.below(2) as usize] } else { random };
                }
            }
            let table = from_fn(|_| from_fn(|_| (noise.next() as u16) >> (16 - table_bits).min(15)));
            let expected = plain(&block, &table);
            assert_eq!(inverse_dct(&block, &table), expected, "{block:?} times {table:?}");
            #[cfg(target_arch = "x86_64")]
            if Isa::best().has_avx2() {
                // SAFETY: the CPU has AVX2.
                let found = unsafe { super::super::idct_avx2::inverse_dct(&block, &table) };
                assert_eq!(found, expected, "{block:?} times {table:?}");
            }
            #[cfg(target_arch = "aarch64")]
            if Isa::best().has_neon() {
                // SAFETY: the CPU has NEON.
                let found = unsafe { super::super::idct_neon::inverse_dct(&block, &table) };
                assert_eq!(found, expected, "{block:?} times {table:?}");
            }
            #[cfg(target_arch = "x86_64")]
            if Isa::best().has_avx512() {
                let is_zero =
                    |&(row, column): &(usize, usize)| [before, block].map(|of| of[row][column]) == [0; 2];
                let last = zigzag.iter().rposition(|place| !is_zero(place)).unwrap_or(0);
                for (blocks, first) in [([&block, &before], 0), ([&before, &block], 8)] {
                    // SAFETY: the CPU has AVX-512, and rows of 16 samples are as large as a register.
                    let found: [[u8; 16]; 8] = unsafe {
                        std::mem::transmute(super::super::idct_avx512::inverse_dct(
                            blocks, last as u8, &table,
                        ))
                    };
                    let found = found.map(|row| from_fn(|column| row[first + column]));
                    assert_eq!(found, expected, "{blocks:?} times {table:?}");
                }
                before = block;
            }
        }
    }

    #[test]
    fn without_vertical_frequencies_the_first_pass_wraps_and_otherwise_saturates() {
        let table = [[1; 8]; 8];
        let mut block = [[0; 8]; 8];
        block[0][0] = 10_000;
        assert_eq!(inverse_dct(&block, &table), [[0; 8]; 8]);
        // Too little to change a sample by itself.
        block[7][0] = 1;
        assert_eq!(inverse_dct(&block, &table), [[255; 8]; 8]);
    }

    #[test]
    fn a_flat_block_is_its_mean() {
        let mut block = [[0; 8]; 8];
        for (coefficient, sample) in [(0, 128), (8, 129), (-8, 127), (1016, 255), (-1024, 0), (1100, 255)] {
            block[0][0] = coefficient;
            assert_eq!(inverse_dct(&block, &[[1; 8]; 8]), [[sample; 8]; 8]);
        }
    }
}
