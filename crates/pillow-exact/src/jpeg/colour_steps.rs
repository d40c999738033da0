//! What the instruction sets share of [`super::colour`]: factors for 16 bits, of which the whole part is added as it is, so that the rest
//! fits; and a row's way through steps.

use super::colour::{BITS, BLUE, GREEN_BLUE, GREEN_RED, RED};

/// What is left of the factors in units of 2^-15, of which one bit less is enough for every sample: red's is between 1 and 2, blue's
/// nearly 2, and in units of 2^-16 green's of red nearly -1.
pub(super) const RED_REST: i16 = ((RED - (1 << BITS)) / 2) as i16;
pub(super) const BLUE_REST: i16 = ((BLUE - (2 << BITS)) / 2) as i16;
pub(super) const GREEN_BLUE_REST: i16 = GREEN_BLUE as i16;
pub(super) const GREEN_RED_REST: i16 = (GREEN_RED + (1 << BITS)) as i16;

/// The two ways of a row through steps of `STEP` pixels, of which the last may be a part of one. What a step does is the file's own, for
/// its instruction set: `bytes`, `centred`, `stretched`, `pixels` and `store`.
macro_rules! rows_in_steps {
    ($features:literal) => {
        /// [`super::colour::to_rgb`], of slices that fit each other.
        #[target_feature(enable = $features)]
        pub(super) fn to_rgb(luma: &[u8], blue: &[u8], red: &[u8], rgb: &mut Fresh) {
            let mut steps = rgb.chunks_exact_mut(3 * STEP);
            let mut done = 0;
            for rgb in &mut steps {
                let at = |samples: &[u8]| bytes(&samples[done..]);
                store(pixels(at(luma), centred(at(blue)), centred(at(red))), rgb);
                done += STEP;
            }
            let rest = steps.into_remainder();
            if !rest.is_empty() {
                let at = |samples: &[u8]| bytes(&padded::<STEP, _>(&samples[done..]));
                let mut step = [MaybeUninit::new(0); 3 * STEP];
                store(pixels(at(luma), centred(at(blue)), centred(at(red))), &mut step);
                rest.copy_from_slice(&step[..rest.len()]);
            }
        }

        /// [`super::colour::stretched_to_rgb`], of slices that fit each other.
        #[target_feature(enable = $features)]
        pub(super) fn stretched_to_rgb<const LEFT: u16, const RIGHT: u16, const SHIFT: i32>(
            luma: &[u8],
            blue: &[u16],
            red: &[u16],
            rgb: &mut Fresh,
        ) {
            let mut steps = rgb.chunks_exact_mut(3 * STEP);
            let mut done = 0;
            for rgb in &mut steps {
                let at = |sums: &[u16]| stretched::<LEFT, RIGHT, SHIFT>(&sums[done / 2..]);
                store(pixels(bytes(&luma[done..]), at(blue), at(red)), rgb);
                done += STEP;
            }
            let rest = steps.into_remainder();
            if !rest.is_empty() {
                let at =
                    |sums: &[u16]| stretched::<LEFT, RIGHT, SHIFT>(&padded::<SUMS, _>(&sums[done / 2..]));
                let mut step = [MaybeUninit::new(0); 3 * STEP];
                let luma = bytes(&padded::<STEP, _>(&luma[done..]));
                store(pixels(luma, at(blue), at(red)), &mut step);
                rest.copy_from_slice(&step[..rest.len()]);
            }
        }
    };
}
pub(super) use rows_in_steps;

/// What is left of a row, as long as a step takes.
pub(super) fn padded<const LENGTH: usize, T: Copy + Default>(rest: &[T]) -> [T; LENGTH] {
    let mut padded = [T::default(); LENGTH];
    padded[..rest.len()].copy_from_slice(rest);
    padded
}
