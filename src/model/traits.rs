//! What a tower does around its blocks.

use serde::Serialize;

/// What stands before and after the blocks. transformers has a class for each of the combinations that it knows; open_clip and
/// timm have one class with settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Traits {
    /// Whether tokens are normalized before the first block.
    pub pre_norm: bool,
    /// Whether each half of a block has a factor on each channel of its output.
    pub layer_scale: bool,
    /// What the norm after the last block is applied to.
    pub final_norm: FinalNorm,
    /// How tokens become `pooler_output`.
    pub pooling: Pooling,
    /// Whether class and register tokens are pooled with the patches, by what pools patches.
    pub pools_prefix: bool,
    /// Which tokens before the patches have position embeddings.
    pub prefix_positions: PrefixPositions,
    /// How position embeddings are stretched to another grid of patches.
    pub interpolation: Interpolation,
}

/// What the norm after the last block is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FinalNorm {
    /// Every token of `last_hidden_state`.
    Tokens,
    /// The tokens as they are pooled, not those of `last_hidden_state`.
    Pooling,
    /// What the pooling gives.
    Pooled,
    /// Nothing: there is none.
    Absent,
}

/// How tokens become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The class token.
    ClassToken,
    /// The mean of the patches.
    Mean,
    /// The largest value of each channel.
    Max,
    /// Half the sum of mean and largest value.
    MeanMax,
    /// A learned query attends to the patches.
    Attention,
    /// In no way that is known here; the reason.
    Absent(&'static str),
}

/// Which tokens before the patches have position embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PrefixPositions {
    /// The class token.
    ClassToken,
    /// All.
    All,
    /// None.
    Absent,
}

/// How `torch.nn.functional.interpolate` is called. Antialiased, the kernel widens when the grid shrinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// `mode="bicubic"`: Keys's cubic with a = -0.75.
    Bicubic,
    /// `mode="bicubic", antialias=True`: with a = -0.5.
    BicubicAntialiased,
    /// `mode="bilinear"`.
    Bilinear,
    /// `mode="bilinear", align_corners=True`: the outermost positions stay where they are.
    BilinearAligned,
    /// `mode="bilinear", antialias=True`.
    BilinearAntialiased,
}
