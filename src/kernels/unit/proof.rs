//! What a matrix unit shows before it is believed: that it multiplies as the plain one does.

use std::{marker::PhantomData, sync::OnceLock};

use super::{
    Plain, ROWS, TileMachine,
    product::{Operands, PANEL_STEP, SUMS, X_PART, sum_tiles},
};
use crate::kernels::{
    Isa,
    simd::{Kernel, Simd},
};

/// What was seen of a unit in this process, for one, two and three parts of each number.
pub(in crate::kernels) struct Proofs([OnceLock<bool>; 3]);

impl Proofs {
    pub(in crate::kernels) const fn new() -> Self {
        Self([const { OnceLock::new() }; 3])
    }

    /// Whether a machine gives the plain one's bits with so many parts of each number. The first call multiplies, which takes some
    /// hundred microseconds.
    ///
    /// # Safety
    /// The CPU has the machine, and it is always the same one.
    pub(in crate::kernels) unsafe fn hold<M: TileMachine>(&self, isa: Isa, parts: usize) -> bool {
        // SAFETY: by contract; the products' operands are their own.
        *self.0[parts - 1].get_or_init(|| unsafe {
            match parts {
                1 => isa.run(Proof::<M, 1>(PhantomData)),
                2 => isa.run(Proof::<M, 2>(PhantomData)),
                _ => isa.run(Proof::<M, 3>(PhantomData)),
            }
        })
    }

    /// Whether one of them failed.
    pub(in crate::kernels) fn failed(&self) -> bool {
        self.0.iter().any(|holds| holds.get() == Some(&false))
    }
}

/// Products of every kind that [`sum_tiles`] has, by a machine and by the plain one.
struct Proof<M, const PARTS: usize>(PhantomData<M>);

/// Steps of the products: from one to the next all operands move on.
const STEPS: usize = 2;

impl<M: TileMachine, const PARTS: usize> Kernel for Proof<M, PARTS> {
    type Output = bool;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> bool {
        let mut bits = bits();
        let mut operand = |len| -> Vec<f32> { (0..len).map(|_| pair(&mut bits)).collect() };
        let (x, weights) = (operand(PARTS * STEPS * X_PART), operand(PARTS * STEPS * PANEL_STEP));
        let before: Vec<f32> = (0..SUMS).map(|i| i as f32 - 300.0).collect();
        // SAFETY: by contract; the operands are as long as the products say.
        unsafe {
            let got = products::<S, M, PARTS>(&x, &weights, &before);
            let want = products::<S, Plain, PARTS>(&x, &weights, &before);
            got.iter().zip(&want).all(|(got, want)| got.to_bits() == want.to_bits())
        }
    }
}

/// The sums of all kinds of products: of two tiles of rows and of one, added to those of a block before and not, in their place
/// and in another.
///
/// # Safety
/// As [`TileMachine`] and [`Operands`] say.
#[inline(always)]
unsafe fn products<S: Simd, M: TileMachine, const PARTS: usize>(
    x: &[f32],
    weights: &[f32],
    before: &[f32],
) -> Vec<f32> {
    let mut results = Vec::new();
    // SAFETY: by contract.
    unsafe {
        // One for all, so that a tile that is not cleared shows.
        let mut machine = M::new(ROWS);
        for (two, accumulate) in [(true, true), (true, false), (false, true), (false, false)] {
            let mut sums = before.to_vec();
            let mut finished = vec![0.0; SUMS];
            let mut operands = Operands {
                x: x.as_ptr(),
                weights: weights.as_ptr(),
                weights_part: STEPS * PANEL_STEP,
                steps: STEPS,
                sums: sums.as_mut_ptr(),
                accumulate,
                finished: None,
                // All is in cache already.
                x_ahead: x.as_ptr(),
                x_ahead_from: usize::MAX,
                x_ahead_every: 1,
                ahead: weights.as_ptr(),
                ahead_from: usize::MAX,
                ahead_every: 1,
            };
            if two {
                sum_tiles::<S, M, PARTS, true>(&mut machine, &operands);
            } else {
                sum_tiles::<S, M, PARTS, false>(&mut machine, &operands);
                operands.finished = Some(finished.as_mut_ptr());
                sum_tiles::<S, M, PARTS, false>(&mut machine, &operands);
            }
            results.append(&mut sums);
            results.append(&mut finished);
        }
    }
    results
}

/// Two bfloat16 of either sign, some of them subnormal, which count as zero.
fn pair(bits: &mut impl Iterator<Item = u32>) -> f32 {
    let mut half = || {
        let random = bits.next().expect("there is always another");
        let exponent = if random.is_multiple_of(16) { 0 } else { 119 + (random >> 8) % 16 };
        (random >> 16) & 0x807f | exponent << 7
    };
    f32::from_bits(half() | half() << 16)
}

/// Numbers of no pattern (Marsaglia's xorshift), the same ones each time.
fn bits() -> impl Iterator<Item = u32> {
    let next = |&before: &u32| {
        let a = before ^ before << 13;
        let b = a ^ a >> 17;
        Some(b ^ b << 5)
    };
    std::iter::successors(Some(2_463_534_242), next)
}

#[cfg(test)]
pub(in crate::kernels) mod tests {
    use super::*;

    /// The plain machine, with one lie.
    pub(in crate::kernels) struct Liar<const LIE: usize>(Plain);

    const TRUTH: usize = 0;
    const ANOTHER_STRIDE: usize = 1;
    const ANOTHER_INPUT: usize = 2;
    const NOT_CLEARED: usize = 3;
    const NOT_STORED: usize = 4;
    const NOT_ADDED: usize = 5;
    const TWICE: usize = 6;

    // SAFETY of the block below: each function asks for what the trait says.

    impl<const LIE: usize> TileMachine for Liar<LIE> {
        unsafe fn new(rows: usize) -> Self {
            Self(unsafe { Plain::new(rows) })
        }

        unsafe fn zero<const TILE: usize>(&mut self) {
            if LIE != NOT_CLEARED || TILE != 2 {
                unsafe { self.0.zero::<TILE>() };
            }
        }

        unsafe fn load<const TILE: usize>(&mut self, from: *const f32, stride: usize) {
            unsafe { self.0.load::<TILE>(from, if LIE == ANOTHER_STRIDE { 64 } else { stride }) };
        }

        unsafe fn load_once<const TILE: usize>(&mut self, from: *const f32, stride: usize) {
            unsafe { self.0.load::<TILE>(from, if LIE == ANOTHER_INPUT { 0 } else { stride }) };
        }

        unsafe fn store<const TILE: usize>(&mut self, to: *mut f32, stride: usize) {
            if LIE != NOT_STORED || TILE != 1 {
                unsafe { self.0.store::<TILE>(to, stride) };
            }
        }

        unsafe fn dot<const C: usize, const A: usize, const B: usize>(&mut self) {
            if LIE != NOT_ADDED || C != 3 {
                unsafe { self.0.dot::<C, A, B>() };
            }
            if LIE == TWICE && B == 7 {
                unsafe { self.0.dot::<C, A, B>() };
            }
        }
    }

    pub(in crate::kernels) type Truthful = Liar<TRUTH>;
    pub(in crate::kernels) type NotAdding = Liar<NOT_ADDED>;

    fn holds<const LIE: usize>(isa: Isa, parts: usize) -> bool {
        let proofs = Proofs::new();
        assert!(!proofs.failed());
        // SAFETY: all have the plain machine.
        let holds = unsafe { proofs.hold::<Liar<LIE>>(isa, parts) };
        assert_eq!(proofs.failed(), !holds);
        holds
    }

    #[test]
    fn a_lie_is_found_whatever_it_is_about() {
        for &isa in Isa::available() {
            for parts in [1, 2, 3] {
                assert!(holds::<TRUTH>(isa, parts));
                assert!(!holds::<ANOTHER_STRIDE>(isa, parts));
                assert!(!holds::<ANOTHER_INPUT>(isa, parts));
                assert!(!holds::<NOT_CLEARED>(isa, parts));
                assert!(!holds::<NOT_STORED>(isa, parts));
                assert!(!holds::<NOT_ADDED>(isa, parts));
                assert!(!holds::<TWICE>(isa, parts));
            }
        }
    }
}
