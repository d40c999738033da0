//! Chroma between its samples: libjpeg's "fancy" upsampling, which weighs the nearer sample three times as much as the farther one.
//!
//! The rules are those of `h2v1_fancy_upsample`, `h1v2_fancy_upsample` and `h2v2_fancy_upsample` in libjpeg-turbo's jdsample.c: at an
//! edge the outermost sample stands for the one that is missing. The plain loops are compiled a second time for AVX2.

use std::ops::Range;

use super::libjpeg::{Component, Planes};
use crate::simd::Isa;

/// Room for a component's row on its way.
#[derive(Debug, Default)]
pub(super) struct Room {
    sums: Vec<u16>,
    samples: Vec<u8>,
}

/// The columns of a component that the pixels in `columns` are made of, with their neighbours.
pub(super) fn reach(component: &Component, columns: &Range<usize>) -> Range<usize> {
    if component.step.0 == 1 {
        return columns.clone();
    }
    (columns.start / 2).saturating_sub(1)..(columns.end.div_ceil(2) + 1).min(component.size.0)
}

/// The rows of a component that a row of pixels is made of: the nearer, and the farther with whether it lies below.
fn rows(component: &Component, y: usize) -> (usize, usize, bool) {
    if component.step.1 == 1 {
        return (y, y, false);
    }
    let (near, below) = (y / 2, y % 2 == 1);
    let far = if below { (near + 1).min(component.size.1 - 1) } else { near.saturating_sub(1) };
    (near, far, below)
}

/// A component's samples for the pixels in `columns` of row `y`, from `room` if they do not lie ready. `columns` begins with an even
/// one.
pub(super) fn row<'a>(
    isa: Isa,
    planes: &'a Planes,
    index: usize,
    y: usize,
    columns: &Range<usize>,
    room: &'a mut Room,
) -> &'a [u8] {
    let component = &planes.components()[index];
    if component.step.0 == 1 {
        let (near, far, below) = rows(component, y);
        let (near, far) = (planes.row(index, near, columns.clone()), planes.row(index, far, columns.clone()));
        if component.step.1 == 1 {
            return near;
        }
        room.samples.resize(columns.len(), 0);
        between(isa, near, far, if below { 2 } else { 1 }, &mut room.samples);
        return &room.samples;
    }
    let down = component.step.1;
    sums(isa, planes, index, y, columns, room);
    room.samples.resize(columns.len().next_multiple_of(2), 0);
    if down == 1 {
        stretch::<1, 2, 2>(isa, &room.sums, &mut room.samples);
    } else {
        stretch::<8, 7, 4>(isa, &room.sums, &mut room.samples);
    }
    &room.samples[..columns.len()]
}

/// As [`row`], of a component with a sample for two columns: its samples, or where one is for two rows the sums of those of both, to be
/// stretched; with a neighbour on both sides.
pub(super) fn sums<'a>(
    isa: Isa,
    planes: &Planes,
    index: usize,
    y: usize,
    columns: &Range<usize>,
    room: &'a mut Room,
) -> &'a [u16] {
    let component = &planes.components()[index];
    let (near, far, _) = rows(component, y);
    let reach = reach(component, columns);
    let (near, far) = (planes.row(index, near, reach.clone()), planes.row(index, far, reach.clone()));
    let (first, count) = (columns.start / 2, columns.len().div_ceil(2));
    let sums = &mut room.sums;
    sums.resize(count + 2, 0);
    // Where a neighbour is missing, the outermost sample is its own.
    let (before, after) = (usize::from(reach.start == first), first + count + 1 - reach.end);
    let inner = &mut sums[before..count + 2 - after];
    if component.step.1 == 1 {
        widen(isa, near, inner);
    } else {
        weigh(isa, near, far, inner);
    }
    if before == 1 {
        sums[0] = sums[1];
    }
    if after == 1 {
        sums[count + 1] = sums[count];
    }
    sums
}

/// The two samples that a sum becomes between its neighbours.
#[inline(always)]
pub(super) fn stretched<const LEFT: u16, const RIGHT: u16, const SHIFT: i32>(
    before: u16,
    here: u16,
    after: u16,
) -> [u8; 2] {
    [((3 * here + before + LEFT) >> SHIFT) as u8, ((3 * here + after + RIGHT) >> SHIFT) as u8]
}

/// Compiles a plain loop for every CPU, and again for AVX2.
macro_rules! compiled_twice {
    ($(#[$doc:meta])* fn $name:ident $(<$(const $constant:ident: $kind:ty),*>)? ($($argument:ident: $type:ty),*) $body:block) => {
        $(#[$doc])*
        fn $name $(<$(const $constant: $kind),*>)? (isa: Isa, $($argument: $type),*) {
            #[inline(always)]
            fn plain $(<$(const $constant: $kind),*>)? ($($argument: $type),*) $body

            #[cfg(target_arch = "x86_64")]
            if isa.has_avx2() {
                #[target_feature(enable = "avx2")]
                fn avx2 $(<$(const $constant: $kind),*>)? ($($argument: $type),*) {
                    plain $(::<$($constant),*>)? ($($argument),*);
                }
                // SAFETY: the CPU has AVX2.
                #[allow(unsafe_code)]
                return unsafe { avx2 $(::<$($constant),*>)? ($($argument),*) };
            }
            let _ = isa;
            plain $(::<$($constant),*>)? ($($argument),*);
        }
    };
}

compiled_twice! {
    /// Three parts of one row and one of another.
    fn between(near: &[u8], far: &[u8], bias: u16, out: &mut [u8]) {
        for ((out, &near), &far) in out.iter_mut().zip(near).zip(far) {
            *out = ((3 * u16::from(near) + u16::from(far) + bias) >> 2) as u8;
        }
    }
}

compiled_twice! {
    /// The same, before it is divided.
    fn weigh(near: &[u8], far: &[u8], sums: &mut [u16]) {
        for ((sum, &near), &far) in sums.iter_mut().zip(near).zip(far) {
            *sum = 3 * u16::from(near) + u16::from(far);
        }
    }
}

compiled_twice! {
    fn widen(samples: &[u8], sums: &mut [u16]) {
        for (sum, &sample) in sums.iter_mut().zip(samples) {
            *sum = u16::from(sample);
        }
    }
}

compiled_twice! {
    /// Two outputs of each sum but the first and the last, which are neighbours alone.
    fn stretch<const LEFT: u16, const RIGHT: u16, const SHIFT: i32>(sums: &[u16], out: &mut [u8]) {
        let count = out.len() / 2;
        let (before, here, after) = (&sums[..count], &sums[1..][..count], &sums[2..][..count]);
        for (((out, &before), &here), &after) in out.chunks_exact_mut(2).zip(before).zip(here).zip(after) {
            out.copy_from_slice(&stretched::<LEFT, RIGHT, SHIFT>(before, here, after));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loops_are_the_same_on_every_instruction_set() {
        let noise = |count: u32, seed: u32| -> Vec<u8> {
            (0..count)
                .map(|i| (i.wrapping_mul(0x9e37_79b9) ^ seed).wrapping_mul(0x85eb_ca6b).to_be_bytes()[0])
                .collect()
        };
        for count in (1..70).chain([333]) {
            let (near, far) = (noise(count, 1), noise(count, 2));
            let sums: Vec<u16> = noise(count + 2, 3).iter().map(|&value| u16::from(value) * 4).collect();
            let run = |isa| {
                let mut bytes = [vec![0; near.len()], vec![0; near.len() * 2], vec![0; near.len() * 2]];
                let mut words = [vec![0; near.len()], vec![0; near.len()]];
                between(isa, &near, &far, 2, &mut bytes[0]);
                stretch::<8, 7, 4>(isa, &sums, &mut bytes[1]);
                stretch::<1, 2, 2>(isa, &sums, &mut bytes[2]);
                weigh(isa, &near, &far, &mut words[0]);
                widen(isa, &near, &mut words[1]);
                (bytes, words)
            };
            let plain = run(Isa::plain());
            for isa in Isa::all() {
                assert_eq!(run(isa), plain, "{isa:?} {count}");
            }
        }
    }
}
