//! Activations in the order in which products read them.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::{
    Isa,
    depth::{DEPTH, ROW_STRIDE},
    memory::{Aligned, SharedOut, count},
    simd::{Kernel, Simd, round_to_bf16},
    unit::{BAND, ROWS, STEP},
};

/// What a product reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Depth blocks of float32: (blocks, rows, `ROW_STRIDE`), of whose rows the first `DEPTH` elements count, in the last
    /// block what is left of the width.
    Float32,
    /// The same of pairs of values rounded to bfloat16; the last is zero where the width is odd.
    Pairs,
    /// Each value as a sum of bfloat16, in a matrix unit's tiles: (bands, steps, parts, `BAND` rows, `STEP`), so that a band is
    /// one stream; zeros behind the width and below the last row of the last tile.
    Bfloat16 {
        /// How many are summed.
        parts: usize,
    },
}

/// A matrix (rows, width), cut as a [`Form`] says.
///
/// What only a product reads next is written in this form at once: copying it over from row-major order costs a
/// product of few outputs several percent, most of it misses of the cache and of the page table.
#[derive(Debug)]
pub struct PackedRows {
    rows: usize,
    width: usize,
    form: Form,
    values: Aligned,
}

/// Elements of [`Aligned`] in a row of a step: two bfloat16 each.
const STEP_LEN: usize = STEP / 2;

impl PackedRows {
    /// Copies `x` (rows, width), in rayon's current pool.
    ///
    /// # Panics
    /// `x` has no whole rows.
    pub fn pack(isa: Isa, x: &[f32], width: usize, form: Form) -> Self {
        let rows = x.len() / width;
        assert_eq!(x.len(), rows * width, "whole rows");
        // SAFETY: the tasks write every row.
        unsafe {
            Self::written(rows, width, form, |out| {
                x.par_chunks_exact(width).enumerate().with_min_len(16).for_each(|(row, x)| {
                    // SAFETY: this row is written here alone.
                    isa.run(Copy { x, row, out });
                });
            })
        }
    }

    /// A matrix that `write` fills in.
    ///
    /// # Safety
    /// `write` writes all of it.
    pub(super) unsafe fn written(
        rows: usize,
        width: usize,
        form: Form,
        write: impl FnOnce(PackedOut),
    ) -> Self {
        // SAFETY: by contract.
        let (matrix, out) = unsafe { Self::unwritten(rows, width, form) };
        write(out);
        matrix
    }

    /// A matrix of undefined values, and where they are to be written.
    ///
    /// # Safety
    /// Nothing is read before it is written.
    pub(super) unsafe fn unwritten(rows: usize, width: usize, form: Form) -> (Self, PackedOut) {
        let len = match form {
            Form::Float32 => count([width.div_ceil(DEPTH), rows, ROW_STRIDE]),
            Form::Pairs => count([width.div_ceil(2 * DEPTH), rows, ROW_STRIDE]),
            Form::Bfloat16 { parts } => {
                count([rows.div_ceil(BAND), width.div_ceil(STEP), parts, BAND, STEP_LEN])
            }
        };
        // SAFETY: by contract; the strides' ends are never read.
        let values = unsafe {
            Aligned::filled(len, |memory: &mut [MaybeUninit<f32>]| {
                if let Form::Bfloat16 { parts } = form {
                    clear_padding(memory, rows, width, parts);
                }
            })
        };
        let start = SharedOut::new(values.as_ptr().cast_mut());
        let out = PackedOut { start, steps: width.div_ceil(STEP), rows, form };
        if form == Form::Pairs && !width.is_multiple_of(2) {
            // SAFETY: the last word of each row.
            (0..rows).for_each(|row| unsafe { *out.word_at(row, width / 2) = 0.0 });
        }
        (Self { rows, width, form, values }, out)
    }

    /// The matrix in row-major order, (rows, width).
    pub fn to_vec(&self) -> Vec<f32> {
        let at = PackedOut {
            start: SharedOut::new(self.values.as_ptr().cast_mut()),
            steps: self.width.div_ceil(STEP),
            rows: self.rows,
            form: self.form,
        };
        let value = |row, column| match self.form {
            // SAFETY: an element of the matrix, which is written.
            Form::Float32 => unsafe { *at.word_at(row, column) },
            // SAFETY: as above.
            Form::Pairs => f32::from_bits(u32::from(unsafe { *at.half_at(row, column) }) << 16),
            Form::Bfloat16 { parts } => {
                // From the smallest on, as the sum is exact then.
                // SAFETY: as above.
                (0..parts)
                    .rev()
                    .map(|part| unsafe { *at.part_at(parts, part, row, column) })
                    .fold(0.0, |sum, half| sum + f32::from_bits(u32::from(half) << 16))
            }
        };
        (0..self.rows).flat_map(|row| (0..self.width).map(move |column| value(row, column))).collect()
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Elements of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How it is cut.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Where a row's part of a depth block begins.
    pub(super) fn block(&self, block: usize, row: usize) -> *const f32 {
        debug_assert!(row < self.rows && !matches!(self.form, Form::Bfloat16 { .. }));
        self.values.as_ptr().wrapping_add((block * self.rows + row) * ROW_STRIDE)
    }

    /// Where a band of rows begins: in each step its parts in turn, of each part [`BAND`] rows.
    pub(super) fn band(&self, band: usize) -> *const f32 {
        let Form::Bfloat16 { parts } = self.form else { unreachable!("bands of tiles") };
        debug_assert!(band * BAND < self.rows);
        self.values.as_ptr().wrapping_add(band * self.width.div_ceil(STEP) * parts * BAND * STEP_LEN)
    }
}

/// Clears what a unit reads of tiles beyond the matrix.
fn clear_padding(memory: &mut [MaybeUninit<f32>], rows: usize, width: usize, parts: usize) {
    let zero = MaybeUninit::new(0.0);
    let step_len = parts * BAND * STEP_LEN;
    if !width.is_multiple_of(STEP) {
        for band in memory.chunks_exact_mut(width.div_ceil(STEP) * step_len) {
            let first = band.len() - step_len;
            band[first..].fill(zero);
        }
    }
    let (last, filled) = (rows / BAND * BAND, rows % BAND);
    if !filled.is_multiple_of(ROWS) {
        for part in memory[last * width.div_ceil(STEP) * parts * STEP_LEN..].chunks_exact_mut(BAND * STEP_LEN)
        {
            part[filled * STEP_LEN..filled.next_multiple_of(ROWS) * STEP_LEN].fill(zero);
        }
    }
}

/// One row of a matrix.
struct Copy<'a> {
    x: &'a [f32],
    row: usize,
    out: PackedOut,
}

impl Kernel for Copy<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for column in (0..self.x.len()).step_by(S::LANES) {
            let count = self.x.len() - column;
            // SAFETY: `count` elements are left; the row is the caller's.
            unsafe {
                let v = S::load_first(self.x.as_ptr().add(column), count);
                self.out.store::<S>(self.row, column, count, v);
            }
        }
    }
}

/// [`PackedRows`] that tasks fill in together, each its own part.
#[derive(Clone, Copy)]
pub(super) struct PackedOut {
    start: SharedOut,
    /// In a band.
    steps: usize,
    rows: usize,
    form: Form,
}

impl PackedOut {
    /// Where a word lies, a float32 or a pair; those after it follow to the end of its block.
    fn word_at(self, row: usize, word: usize) -> *mut f32 {
        let block = (word / DEPTH * self.rows + row) * ROW_STRIDE;
        self.start.as_ptr().wrapping_add(block + word % DEPTH)
    }

    /// Where one of a pair lies, and those after it.
    fn half_at(self, row: usize, column: usize) -> *mut u16 {
        self.word_at(row, column / 2).cast::<u16>().wrapping_add(column % 2)
    }

    /// Where a bfloat16 lies; those after it follow to the end of its step.
    fn part_at(self, parts: usize, part: usize, row: usize, column: usize) -> *mut u16 {
        let step = row / BAND * self.steps + column / STEP;
        let start = ((step * parts + part) * BAND + row % BAND) * STEP_LEN;
        self.start.as_ptr().wrapping_add(start).cast::<u16>().wrapping_add(column % STEP)
    }

    /// Where a float32 lies, if the matrix is of them; those after it follow to the end of its block, those below it
    /// [`ROW_STRIDE`] apart.
    pub(super) fn float32_at(self, row: usize, column: usize) -> Option<*mut f32> {
        (self.form == Form::Float32).then(|| self.word_at(row, column))
    }

    /// An address near that of an element, to ask for its cache line.
    #[inline(always)]
    pub(super) fn near(self, row: usize, column: usize) -> *const f32 {
        match self.form {
            Form::Float32 => self.word_at(row, column),
            Form::Pairs => self.word_at(row, column / 2),
            Form::Bfloat16 { parts } => self.part_at(parts, 0, row, column).cast(),
        }
    }

    /// Stores the first `count` lanes from an element on, across the end of its block if need be.
    ///
    /// # Safety
    /// These elements are the matrix's, and nobody else has them; the CPU has the instruction set.
    #[inline(always)]
    pub(super) unsafe fn store<S: Simd>(self, row: usize, column: usize, count: usize, v: S::V) {
        // SAFETY: the elements are the matrix's, in this block and the next one.
        unsafe {
            match self.form {
                Form::Float32 if DEPTH - column % DEPTH >= S::LANES => {
                    S::store_first(self.word_at(row, column), count, v);
                }
                Form::Pairs if 2 * DEPTH - column % (2 * DEPTH) >= S::LANES => {
                    S::store_bf16(self.half_at(row, column), count, S::round_to_bf16(v));
                }
                Form::Bfloat16 { parts } if STEP - column % STEP >= S::LANES => {
                    let mut rest = v;
                    for part in 0..parts {
                        let rounded = S::round_to_bf16(rest);
                        S::store_bf16(self.part_at(parts, part, row, column), count, rounded);
                        rest = S::sub(rest, rounded);
                    }
                }
                _ => {
                    for (i, lane) in S::to_array(v).into_iter().enumerate().take(count.min(S::LANES)) {
                        self.store_one(row, column + i, lane);
                    }
                }
            }
        }
    }

    unsafe fn store_one(self, row: usize, column: usize, value: f32) {
        // SAFETY: an element of the caller's.
        unsafe {
            match self.form {
                Form::Float32 => *self.word_at(row, column) = value,
                Form::Pairs => *self.half_at(row, column) = (round_to_bf16(value).to_bits() >> 16) as u16,
                Form::Bfloat16 { parts } => {
                    let mut rest = value;
                    for part in 0..parts {
                        let rounded = round_to_bf16(rest);
                        *self.part_at(parts, part, row, column) = (rounded.to_bits() >> 16) as u16;
                        rest -= rounded;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::noise;

    #[test]
    fn packing_loses_nothing_that_the_form_holds() {
        for width in [1, 31, 32, 33, 255, 256, 257, 511, 513, 1000] {
            let x = noise(1, 40 * width);
            for &isa in Isa::available() {
                for (form, error) in [
                    (Form::Float32, 0.0),
                    (Form::Pairs, 2f32.powi(-8)),
                    (Form::Bfloat16 { parts: 1 }, 2f32.powi(-8)),
                    (Form::Bfloat16 { parts: 2 }, 2f32.powi(-16)),
                    (Form::Bfloat16 { parts: 3 }, 0.0), // 24 bits, those of a float32
                ] {
                    let packed = PackedRows::pack(isa, &x, width, form);
                    assert_eq!((packed.rows(), packed.width()), (40, width));
                    for (&got, &want) in packed.to_vec().iter().zip(&x) {
                        assert!(
                            (got - want).abs() <= error * want.abs(),
                            "{isa:?} {form:?}: {got:e} for {want:e}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn rounding_is_to_the_nearest_and_keeps_what_is_no_number() {
        let bits = [
            0x3f80_7fff,
            0x3f80_8000,
            0x3f81_8000,
            0x3f80_8001,
            0xbf80_8001,
            0x7fff_ffff,
            0x7f80_0001,
            0xff80_0000,
            0x0000_8001,
            0,
        ];
        let want = [
            0x3f80_0000,
            0x3f80_0000,
            0x3f82_0000,
            0x3f81_0000,
            0xbf81_0000,
            0x7fff_0000,
            0x7fc0_0000,
            0xff80_0000,
            0x0001_0000,
            0,
        ];
        let x: Vec<f32> = bits
            .iter()
            .chain(&bits)
            .chain(&bits)
            .chain(&bits[..2])
            .map(|&bits| f32::from_bits(bits))
            .collect();
        for &isa in Isa::available() {
            let rounded = PackedRows::pack(isa, &x, 32, Form::Bfloat16 { parts: 1 }).to_vec();
            for (index, got) in rounded.iter().enumerate() {
                assert_eq!(got.to_bits(), want[index % 10], "{isa:?} {:x}", bits[index % 10]);
            }
        }
    }
}
