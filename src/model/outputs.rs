//! Which tensors are wanted of a tower, and those that it gave.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::Tensor;

use super::VisionConfig;

/// What is wanted of a tower. It decides how much of the tower is loaded and run: nothing above the highest block
/// that a wanted tensor needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The tower's output, as transformers names it: normalized in families other than CLIP.
    pub last_hidden_state: bool,
    /// Indices into transformers' `hidden_states`: 0 is what enters the first block, N what leaves the last.
    pub hidden_states: BTreeSet<usize>,
    /// Indices into transformers' `attentions`, from 0 to N - 1.
    pub attentions: BTreeSet<usize>,
    /// The pooled output.
    pub pooler_output: bool,
    /// The pooled output after the visual projection.
    pub image_embeds: bool,
}

impl Wanted {
    /// `last_hidden_state` alone.
    pub fn last_hidden_state() -> Self {
        Self { last_hidden_state: true, ..Self::default() }
    }

    /// How many blocks must run.
    pub fn depth(&self, config: &VisionConfig) -> usize {
        if self.last_hidden_state || self.pools() {
            return config.num_hidden_layers;
        }
        let states = self.hidden_states.last().copied().unwrap_or(0);
        let attentions = self.attentions.last().map_or(0, |index| index + 1);
        states.max(attentions)
    }

    /// Whether anything after the last block is wanted.
    pub(super) fn pools(&self) -> bool {
        self.pooler_output || self.image_embeds
    }
}

/// What a forward pass gave; what was not wanted is absent.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    /// (B, T, width).
    pub last_hidden_state: Option<Tensor>,
    /// By index, (B, T, width) each.
    pub hidden_states: BTreeMap<usize, Tensor>,
    /// By index, (B, heads, T, T) each, after the softmax.
    pub attentions: BTreeMap<usize, Tensor>,
    /// (B, width).
    pub pooler_output: Option<Tensor>,
    /// (B, projection_dim).
    pub image_embeds: Option<Tensor>,
}

impl Outputs {
    pub(super) fn keep_hidden_state(&mut self, index: usize, state: &Tensor, wanted: &Wanted) {
        if wanted.hidden_states.contains(&index) {
            self.hidden_states.insert(index, state.clone());
        }
    }
}
