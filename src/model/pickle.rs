//! Weights that are pickles: which files are, and how they become safetensors; and other lines of Python that lead to what is read.
//!
//! A pickle is a program, so none is read. What converts one is a line of Python, since its reader is Python's.

use std::path::{Path, PathBuf};

/// Why a pickle is not read.
pub(crate) const REFUSED: &str = "a pickle, which is not read because it can run code";

/// What torch's files end in.
const ENDINGS: [&str; 5] = ["bin", "pt", "pth", "ckpt", "pkl"];

/// Whether a file is one of torch's, by its name.
pub(crate) fn is_pickle(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| ENDINGS.contains(&extension))
}

/// A pickle in a directory that holds weights by its name, if there is one.
pub(crate) fn pickle_in(directory: &Path) -> Option<PathBuf> {
    // What a Trainer saves beside the weights.
    const OTHERS: [&str; 4] = ["training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth"];
    let entries = std::fs::read_dir(directory).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let is_weights = |path: &PathBuf| !OTHERS.iter().any(|name| path.ends_with(name));
    entries.filter(|path| is_pickle(path)).filter(is_weights).min()
}

/// The line that saves a state dict at `from` as safetensors at `to`, under the same names.
pub(crate) fn by_torch(from: &str, to: &str) -> String {
    format!(
        "python -c \"import torch; from safetensors.torch import save_file; \
         s = torch.load('{from}', map_location='cpu', weights_only=True); \
         save_file({{k: v.contiguous() for k, v in s.get('state_dict', s).items()}}, '{to}')\""
    )
}

/// The line that has open_clip load a state dict that has no config beside it, and save it in `directory` with one.
pub(crate) fn by_open_clip(from: &str, directory: &str) -> String {
    format!(
        "python -c \"import json, open_clip as o; from safetensors.torch import save_file; n = 'ViT-B-32'; \
         save_file(o.create_model(n, pretrained='{from}').state_dict(), '{directory}/open_clip_model.safetensors'); \
         json.dump({{'model_cfg': o.get_model_config(n), 'preprocess_cfg': {{}}}}, \
         open('{directory}/open_clip_config.json', 'w'))\""
    )
}

/// The line that has transformers load the model of a directory and save it there.
pub(crate) fn in_place(directory: &str) -> String {
    format!(
        "python -c \"from transformers import AutoModel as M; M.from_pretrained('{directory}').save_pretrained('{directory}')\""
    )
}

/// The line that has transformers download a model, with its image processor, and save both in a directory.
pub(crate) fn from_hub(id: &str, directory: &str) -> String {
    format!(
        "python -c \"from transformers import AutoModel, AutoImageProcessor; \
         [c.from_pretrained('{id}').save_pretrained('{directory}') for c in (AutoModel, AutoImageProcessor)]\""
    )
}

/// The line that has PEFT put the adapter in a directory into its model, and save that beside it with its image processor.
pub(super) fn merged(base: &str, adapter: &str) -> String {
    format!(
        "python -c \"from transformers import AutoModel as M, AutoImageProcessor as I; from peft import PeftModel as P; \
         P.from_pretrained(M.from_pretrained('{base}'), '{adapter}').merge_and_unload().save_pretrained('{adapter}-merged'); \
         I.from_pretrained('{base}').save_pretrained('{adapter}-merged')\""
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_told_from_what_a_trainer_leaves() {
        let directory = tempfile::tempdir().unwrap();
        let found = || pickle_in(directory.path());
        for name in ["training_args.bin", "optimizer.pt", "model.safetensors", "bin"] {
            std::fs::write(directory.path().join(name), b"").unwrap();
        }
        assert_eq!(found(), None);
        std::fs::write(directory.path().join("open_clip_pytorch_model.bin"), b"").unwrap();
        assert!(found().unwrap().ends_with("open_clip_pytorch_model.bin"));
    }
}
