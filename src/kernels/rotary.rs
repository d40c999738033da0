//! Rotary position embedding: queries and keys turned by the angles of their patch.

use rayon::prelude::*;

use super::{
    AttentionShape, Isa,
    simd::{Kernel, Simd},
};

/// The angles of each patch, as their cosines and sines. One turns the channel of its index in the first half of a head and the
/// one at the same place in the second half.
#[derive(Debug)]
pub struct Rotation {
    /// (patches, half)
    cos: Vec<f32>,
    sin: Vec<f32>,
    /// Half of a head's channels.
    half: usize,
}

impl Rotation {
    /// `cos` and `sin` are (patches, half of a head's channels).
    ///
    /// # Panics
    /// They have no whole rows, or not the same, or rows are empty.
    pub fn new(cos: Vec<f32>, sin: Vec<f32>, half: usize) -> Self {
        assert!(half > 0, "an angle in each row");
        assert!(cos.len() == sin.len() && cos.len().is_multiple_of(half), "a row of each for every patch");
        Self { cos, sin, half }
    }

    /// How many patches have angles.
    pub fn patches(&self) -> usize {
        self.cos.len() / self.half
    }
}

impl Rotation {
    /// Sees that it is one for such an attention.
    ///
    /// # Panics
    /// There are fewer tokens than patches, or heads of another width.
    pub(super) fn check(&self, shape: AttentionShape) {
        assert!(self.patches() <= shape.tokens, "a token for each patch");
        assert_eq!(Some(shape.head_dim), self.half.checked_mul(2), "an angle for each pair of channels");
    }

    /// Turns the patches, which stand last in each sequence of `tokens`; those before them stay. `plane` is q or k of a head,
    /// (batch · tokens, head_dim).
    pub(super) fn turn(&self, isa: Isa, plane: &mut [f32], tokens: usize) {
        // SAFETY: each row is two halves, as long as the cosines and sines of a patch.
        unsafe { isa.run(Turn { rotation: self, plane, tokens }) };
    }
}

/// Turns q and k of every head. `qkv` is laid out as `attention` takes it. In rayon's current pool.
///
/// # Panics
/// `qkv` is not as long as the shape says, has fewer tokens than there are patches, or heads of another width.
pub fn rotate(isa: Isa, qkv: &mut [f32], shape: AttentionShape, rotation: &Rotation) {
    assert_eq!(qkv.len(), 3 * shape.len(), "q, k and v of every token");
    rotation.check(shape);
    let AttentionShape { batch, tokens, heads, head_dim } = shape;
    let plane = batch * tokens * head_dim;
    let planes = qkv[..2 * heads * plane].par_chunks_exact_mut(plane.max(1));
    planes.for_each(|plane| rotation.turn(isa, plane, tokens));
}

struct Turn<'a> {
    rotation: &'a Rotation,
    plane: &'a mut [f32],
    tokens: usize,
}

impl Kernel for Turn<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { rotation: Rotation { cos, sin, half }, plane, tokens } = self;
        let prefix = tokens - cos.len() / half;
        for sequence in plane.chunks_exact_mut(tokens * 2 * half) {
            let rows = sequence[prefix * 2 * half..].chunks_exact_mut(2 * half);
            for ((row, cos), sin) in rows.zip(cos.chunks_exact(*half)).zip(sin.chunks_exact(*half)) {
                let (first, second) = row.split_at_mut(*half);
                for i in (0..*half).step_by(S::LANES) {
                    let count = half - i;
                    // SAFETY: `count` elements are left in each of the four.
                    unsafe {
                        let a = S::load_first(first.as_ptr().add(i), count);
                        let b = S::load_first(second.as_ptr().add(i), count);
                        let cos = S::load_first(cos.as_ptr().add(i), count);
                        let sin = S::load_first(sin.as_ptr().add(i), count);
                        let turned = S::sub(S::mul(a, cos), S::mul(b, sin));
                        S::store_first(first.as_mut_ptr().add(i), count, turned);
                        let turned = S::add(S::mul(b, cos), S::mul(a, sin));
                        S::store_first(second.as_mut_ptr().add(i), count, turned);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{noise, same_bytes, same_on_all_threads};

    /// `x · cos + rotate_half(x) · sin`, as transformers writes it, in float32.
    fn plain(qkv: &[f32], shape: AttentionShape, rotation: &Rotation) -> Vec<f32> {
        let AttentionShape { batch, tokens, heads, head_dim } = shape;
        let (half, prefix) = (head_dim / 2, tokens - rotation.patches());
        let mut turned = qkv.to_vec();
        for (index, row) in turned.chunks_exact_mut(head_dim).take(2 * heads * batch * tokens).enumerate() {
            let Some(patch) = (index % tokens).checked_sub(prefix) else { continue };
            let x = row.to_vec();
            for c in 0..head_dim {
                let angle = patch * half + c % half;
                let other = if c < half { -x[c + half] } else { x[c - half] };
                row[c] = x[c] * rotation.cos[angle] + other * rotation.sin[angle];
            }
        }
        turned
    }

    #[test]
    fn patches_are_turned_as_defined_and_what_stands_before_them_stays() {
        for (batch, tokens, heads, head_dim, patches) in
            [(1, 1, 1, 4, 1), (2, 7, 3, 12, 4), (3, 30, 2, 64, 25), (1, 201, 2, 80, 196), (2, 5, 1, 68, 0)]
        {
            let shape = AttentionShape { batch, tokens, heads, head_dim };
            let angles = noise(1, patches * head_dim / 2);
            let of = |function: fn(f32) -> f32| angles.iter().map(|&angle| function(9.0 * angle)).collect();
            let rotation = Rotation::new(of(f32::cos), of(f32::sin), head_dim / 2);
            let qkv = noise(2, batch * tokens * 3 * heads * head_dim);
            let want = plain(&qkv, shape, &rotation);
            for &isa in Isa::available() {
                let got = same_on_all_threads(|| {
                    let mut qkv = qkv.clone();
                    rotate(isa, &mut qkv, shape, &rotation);
                    qkv
                });
                assert!(same_bytes(&got, &want), "{isa:?} {shape:?}");
            }
        }
    }
}
