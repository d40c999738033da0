//! Several vectors as one.

use std::{array::from_fn, marker::PhantomData};

use super::Lanes;

/// `N` vectors, each operation done to one after the other.
///
/// A function that is one long chain of operations waits for each of them; a CPU looks ahead over few vectors' worth of such a
/// chain. With several vectors abreast there is always one that need not wait.
pub(in crate::kernels) struct Several<L, const N: usize>(PhantomData<L>);

/// Operations of which each vector of the result depends on that of the arguments alone.
macro_rules! vector_by_vector {
    ($($operation:ident($($argument:ident),*);)*) => {
        $(
            #[inline(always)]
            unsafe fn $operation($($argument: [L::V; N]),*) -> [L::V; N] {
                from_fn(#[inline(always)] |i| unsafe { L::$operation($($argument[i]),*) })
            }
        )*
    };
}

// SAFETY of the block below: the trait's contract for `N` times as many lanes is that for each vector.

impl<L: Lanes, const N: usize> Lanes for Several<L, N> {
    type V = [L::V; N];
    const LANES: usize = N * L::LANES;
    const SCALE_ENDS_IN_ZERO: bool = L::SCALE_ENDS_IN_ZERO;

    #[inline(always)]
    unsafe fn splat(value: f32) -> [L::V; N] {
        [unsafe { L::splat(value) }; N]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> [L::V; N] {
        from_fn(
            #[inline(always)]
            |i| unsafe { L::load(from.add(i * L::LANES)) },
        )
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, v: [L::V; N]) {
        for (i, v) in v.into_iter().enumerate() {
            unsafe { L::store(to.add(i * L::LANES), v) };
        }
    }

    vector_by_vector! {
        add(a, b);
        sub(a, b);
        mul(a, b);
        div(a, b);
        mul_add(a, b, c);
        max(a, b);
        min(a, b);
        shift_left_23(v);
        select_negative(v, if_negative, otherwise);
        scale(v, n);
    }
}

#[cfg(test)]
mod tests {
    use crate::kernels::{
        Activation, Isa,
        simd::{Kernel, Lanes, Several, Simd},
        testing::{noise, same_bytes},
    };

    /// An activation of so many values as four vectors have, of one vector after the other or of all at once.
    struct Apply<'a>(&'a mut Vec<f32>, Activation, bool);

    impl Kernel for Apply<'_> {
        type Output = ();

        #[inline(always)]
        unsafe fn run<S: Simd>(self) {
            let Self(values, activation, abreast) = self;
            values.truncate(Several::<S, 4>::LANES);
            let at = values.as_mut_ptr();
            // SAFETY: there are values for four vectors.
            unsafe {
                if abreast {
                    let v = Several::<S, 4>::load(at);
                    return Several::<S, 4>::store(at, activation.apply::<Several<S, 4>>(v));
                }
                for i in (0..values.len()).step_by(S::LANES) {
                    S::store(at.add(i), activation.apply::<S>(S::load(at.add(i))));
                }
            }
        }
    }

    #[test]
    fn several_vectors_are_each_as_alone() {
        for (&isa, activation) in Isa::available().iter().flat_map(|isa| {
            [Activation::QuickGelu, Activation::Gelu, Activation::GeluTanh, Activation::Silu]
                .map(|activation| (isa, activation))
        }) {
            let values: Vec<f32> = noise(1, 64).into_iter().map(|v| v * 20.0).collect();
            let [alone, abreast] = [false, true].map(|abreast| {
                let mut values = values.clone();
                // SAFETY: `Apply` has the values that it needs.
                unsafe { isa.run(Apply(&mut values, activation, abreast)) };
                values
            });
            assert!(same_bytes(&alone, &abreast), "{activation:?} on {isa:?}");
        }
    }
}
