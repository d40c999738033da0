//! What the tensors of a block are called.

/// How checkpoints of a family spell a block's tensors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockNames {
    /// What stands before a block's index.
    pub(crate) layers: &'static str,
    pub(crate) norms: [&'static str; 2],
    /// Query, key and value.
    pub(crate) qkv: [&'static str; 3],
    pub(crate) out: &'static str,
    /// The two layers of the MLP.
    pub(crate) mlp: [&'static str; 2],
    /// The MLP's gate, where it is a layer of its own; else the first of the two holds it.
    pub(crate) gate: Option<&'static str>,
    /// The factors on the outputs of the attention and of the MLP.
    pub(crate) layer_scales: Option<[&'static str; 2]>,
}
