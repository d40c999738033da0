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
    use std::cell::Cell;

    use super::*;

    /// What a machine says that is not so.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::kernels) enum Lie {
        AnotherStride,
        AnotherInput,
        NotCleared,
        NotStored,
        NotAdded,
        Twice,
    }

    thread_local! {
        /// Of the machines that this thread makes.
        static LIE: Cell<Option<Lie>> = const { Cell::new(None) };
    }

    /// The plain machine, with one lie or none. Which one is no parameter of the type: each would be compiled for every instruction
    /// set and precision, which took minutes.
    struct Liar {
        plain: Plain,
        lie: Option<Lie>,
    }

    // SAFETY of the block below: each function asks for what the trait says.

    impl TileMachine for Liar {
        unsafe fn new(rows: usize) -> Self {
            Self { plain: unsafe { Plain::new(rows) }, lie: LIE.get() }
        }

        unsafe fn zero<const TILE: usize>(&mut self) {
            if self.lie != Some(Lie::NotCleared) || TILE != 2 {
                unsafe { self.plain.zero::<TILE>() };
            }
        }

        unsafe fn load<const TILE: usize>(&mut self, from: *const f32, stride: usize) {
            let stride = if self.lie == Some(Lie::AnotherStride) { 64 } else { stride };
            unsafe { self.plain.load::<TILE>(from, stride) };
        }

        unsafe fn load_once<const TILE: usize>(&mut self, from: *const f32, stride: usize) {
            let stride = if self.lie == Some(Lie::AnotherInput) { 0 } else { stride };
            unsafe { self.plain.load::<TILE>(from, stride) };
        }

        unsafe fn store<const TILE: usize>(&mut self, to: *mut f32, stride: usize) {
            if self.lie != Some(Lie::NotStored) || TILE != 1 {
                unsafe { self.plain.store::<TILE>(to, stride) };
            }
        }

        // Not into each of its many callers.
        #[inline(never)]
        unsafe fn dot<const C: usize, const A: usize, const B: usize>(&mut self) {
            if self.lie != Some(Lie::NotAdded) || C != 3 {
                unsafe { self.plain.dot::<C, A, B>() };
            }
            if self.lie == Some(Lie::Twice) && B == 7 {
                unsafe { self.plain.dot::<C, A, B>() };
            }
        }
    }

    /// Whether a machine is believed that tells this lie, or none.
    pub(in crate::kernels) fn believed(lie: Option<Lie>, isa: Isa, parts: usize) -> bool {
        LIE.set(lie);
        let proofs = Proofs::new();
        assert!(!proofs.failed());
        // SAFETY: all have the plain machine.
        let holds = unsafe { proofs.hold::<Liar>(isa, parts) };
        assert_eq!(proofs.failed(), !holds);
        holds
    }

    #[test]
    fn a_lie_is_found_whatever_it_is_about() {
        use Lie::*;
        for (&isa, parts) in Isa::available().iter().flat_map(|isa| [1, 2, 3].map(|parts| (isa, parts))) {
            assert!(believed(None, isa, parts));
            for lie in [AnotherStride, AnotherInput, NotCleared, NotStored, NotAdded, Twice] {
                assert!(!believed(Some(lie), isa, parts), "{lie:?}, {isa:?}, {parts} parts");
            }
        }
    }
}
