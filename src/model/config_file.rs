//! What configs are called on disk, and how large one can be.

/// What transformers and timm call it.
pub(super) const CONFIG: &str = "config.json";

/// What open_clip calls it.
pub(crate) const OPEN_CLIP_CONFIG: &str = "open_clip_config.json";

/// Configs of classifiers name their classes; those of 20,000 take 2 MB.
pub(crate) const LARGEST_CONFIG: u64 = 16 << 20;
