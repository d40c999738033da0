//! The heads of an attention, and where each finds its queries, keys and values.

use std::slice;

use super::{Isa, memory::count, transpose::Transpose};

/// The sizes of a multi-head attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    /// Sequences that attend each to itself.
    pub batch: usize,
    /// Tokens of a sequence.
    pub tokens: usize,
    /// Heads.
    pub heads: usize,
    /// Channels of a head.
    pub head_dim: usize,
}

impl AttentionShape {
    pub(super) fn width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Elements of the residual stream, (batch, tokens, width). What passes a comparison with it has sizes whose products can be
    /// counted, those of q, k and v together too.
    ///
    /// # Panics
    /// They cannot.
    pub(super) fn len(&self) -> usize {
        let AttentionShape { batch, tokens, heads, head_dim } = *self;
        count([3, batch.max(1), tokens.max(1), heads.max(1), head_dim.max(1)]);
        self.rows() * self.width()
    }

    pub(super) fn rows(&self) -> usize {
        self.batch * self.tokens
    }
}

/// One head of one sequence.
#[derive(Clone, Copy)]
pub(super) struct Head {
    /// Written, and as long as the shape says.
    pub(super) qkv: *const f32,
    pub(super) shape: AttentionShape,
    /// Counted through all sequences.
    pub(super) index: usize,
}

impl Head {
    /// The token's row and the head's first channel in the result.
    pub(super) fn place(&self, token: usize) -> (usize, usize) {
        let AttentionShape { tokens, heads, head_dim, .. } = self.shape;
        (self.index / heads * tokens + token, self.index % heads * head_dim)
    }

    /// q (part 0), k (1) or v (2) of the tokens from one on, (tokens, head_dim).
    pub(super) fn rows(&self, part: usize, token: usize) -> &[f32] {
        let AttentionShape { tokens, heads, head_dim, .. } = self.shape;
        let (row, _) = self.place(token);
        let first = (part * heads + self.index % heads) * self.shape.rows() + row;
        // SAFETY: the part's rows of this sequence are within `qkv`.
        unsafe { slice::from_raw_parts(self.qkv.add(first * head_dim), (tokens - token) * head_dim) }
    }

    /// A token's q (part 0), k (1) or v (2).
    pub(super) fn part(&self, part: usize, token: usize) -> &[f32] {
        &self.rows(part, token)[..self.shape.head_dim]
    }

    /// k of every token, transposed into panels (panels, head_dim, columns); missing tokens are zero.
    pub(super) fn pack_keys(&self, isa: Isa, keys: &mut [f32]) {
        let AttentionShape { tokens, head_dim, .. } = self.shape;
        let columns = isa.tile_columns();
        for (panel, keys) in keys.chunks_exact_mut(head_dim * columns).enumerate() {
            let count = columns.min(tokens - panel * columns);
            let rows = &self.rows(1, panel * columns)[..count * head_dim];
            // SAFETY: the panel has room for the channels of all columns.
            unsafe {
                isa.run(Transpose { rows, stride: head_dim, inputs: head_dim, panel: keys, columns });
            };
        }
    }

    /// v of every token in panels (panels, tokens, columns); missing channels are zero.
    pub(super) fn pack_values(&self, columns: usize, values: &mut [f32]) {
        for (panel, values) in values.chunks_exact_mut(self.shape.tokens * columns).enumerate() {
            for (token, to) in values.chunks_exact_mut(columns).enumerate() {
                let value = &self.part(2, token)[panel * columns..];
                let (to, padding) = to.split_at_mut(value.len().min(columns));
                to.copy_from_slice(&value[..to.len()]);
                padding.fill(0.0);
            }
        }
    }
}
