//! What checkpoints of other libraries call their tensors, and how they lay them.
//!
//! The tower asks for every tensor by its name in transformers' CLIPModel. One file here for each other library: a table from its
//! names to those, which is followed once, when a checkpoint's headers are read, and backwards to name a tensor in an error.

mod form;
mod open_clip;
mod timm;

pub(super) use form::{Form, transpose};

/// The names of one library.
#[derive(Debug)]
pub(super) struct Spelling {
    /// What stands before every name of the tower.
    prefix: &'static str,
    /// What stands before the index of a block: in the files, behind the prefix, and in the tower.
    blocks: [&'static str; 2],
    /// The tensors of a block, behind its index.
    block: &'static [Rule],
    /// All others.
    rest: &'static [Rule],
}

/// A tensor in the files, in the tower, and how the one lies in the other. Several rules can have the same file's tensor, or
/// the same of the tower.
type Rule = (&'static str, &'static str, Form);

impl Spelling {
    /// The library's whose names these are; none if it is transformers.
    pub(super) fn of<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'static Self> {
        let all = [&timm::IN_OPEN_CLIP, &open_clip::SPELLING, &timm::IN_TRANSFORMERS, &timm::SPELLING];
        let mut found: Option<usize> = None;
        for name in names {
            let index = all.iter().position(|spelling| spelling.marks(name));
            found = [found, index].into_iter().flatten().min();
        }
        found.map(|index| all[index])
    }

    /// Whether a name is one that only this library gives.
    fn marks(&self, name: &str) -> bool {
        let Some(name) = name.strip_prefix(self.prefix) else { return false };
        let Some((index, leaf)) = name.strip_prefix(self.blocks[0]).and_then(|name| name.split_once('.'))
        else {
            return self.rest.first().is_some_and(|(file, ..)| *file == name);
        };
        is_index(index) && self.block.iter().any(|(file, ..)| *file == leaf)
    }

    /// The tensors of the tower that lie in the file's of this name.
    pub(super) fn in_tower(&self, name: &str) -> Vec<(String, Form)> {
        let Some(name) = name.strip_prefix(self.prefix) else { return Vec::new() };
        let (rules, base, leaf) = self.rules(name, 0);
        let found = rules.iter().filter(|(file, ..)| *file == leaf);
        found.map(|(_, tower, form)| (format!("{base}{tower}"), *form)).collect()
    }

    /// The files' tensors in which the tower's of this name lies.
    pub(super) fn in_files(&self, name: &str) -> Vec<(String, Form)> {
        let (rules, base, leaf) = self.rules(name, 1);
        let found = rules.iter().filter(|(_, tower, _)| *tower == leaf);
        found.map(|(file, _, form)| (format!("{}{base}{file}", self.prefix), *form)).collect()
    }

    /// The rules for a name of the files (0) or of the tower (1), what stands before the other name, and what of this one is left.
    fn rules<'n>(&self, name: &'n str, side: usize) -> (&'static [Rule], String, &'n str) {
        let block = name.strip_prefix(self.blocks[side]).and_then(|name| name.split_once('.'));
        match block.filter(|(index, _)| is_index(index)) {
            Some((index, leaf)) => (self.block, format!("{}{index}.", self.blocks[1 - side]), leaf),
            None => (self.rest, String::new(), name),
        }
    }
}

fn is_index(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> Option<&'static Spelling> {
        Spelling::of(names.iter().copied())
    }

    #[test]
    fn the_library_is_told_by_its_names() {
        let prefix = |names: &[&str]| of(names).map(|spelling| spelling.prefix);
        assert_eq!(prefix(&["text.a", "visual.transformer.resblocks.11.ln_1.weight"]), Some("visual."));
        assert_eq!(
            prefix(&["visual.trunk.blocks.0.attn.qkv.weight", "visual.head.proj.weight"]),
            Some("visual.trunk.")
        );
        assert_eq!(prefix(&["blocks.0.norm1.weight", "head.weight"]), Some(""));
        assert_eq!(prefix(&["timm_model.patch_embed.proj.weight"]), Some("timm_model."));
        for other in [
            "vision_model.encoder.layers.0.layer_norm1.weight",
            "encoder.layer.0.norm1.weight",
            "embeddings.class_embedding",
            "transformer.resblocks.0.ln_1.weight", // the text tower of open_clip
        ] {
            assert!(of(&[other]).is_none(), "{other}");
        }
    }

    #[test]
    fn every_rule_leads_there_and_back() {
        for spelling in [&open_clip::SPELLING, &timm::SPELLING, &timm::IN_OPEN_CLIP] {
            let blocks = spelling
                .block
                .iter()
                .map(|(file, ..)| format!("{}{}7.{file}", spelling.prefix, spelling.blocks[0]));
            let rest = spelling.rest.iter().map(|(file, ..)| format!("{}{file}", spelling.prefix));
            for file in blocks.chain(rest) {
                let towers = spelling.in_tower(&file);
                assert!(!towers.is_empty(), "{file}");
                for (tower, form) in towers {
                    assert!(spelling.in_files(&tower).contains(&(file.clone(), form)), "{file} {tower}");
                }
            }
        }
    }

    #[test]
    fn a_fused_tensor_is_three() {
        let found = open_clip::SPELLING.in_tower("visual.transformer.resblocks.3.attn.in_proj_bias");
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        let attention = "vision_model.encoder.layers.3.self_attn";
        assert_eq!(names, ["q", "k", "v"].map(|part| format!("{attention}.{part}_proj.bias")));
        assert_eq!(found[2].1, Form::Part { index: 2, of: 3 });
        assert!(open_clip::SPELLING.in_tower("visual.transformer.resblocks.x.attn.in_proj_bias").is_empty());
        assert!(open_clip::SPELLING.in_tower("transformer.resblocks.0.ln_1.weight").is_empty());
    }
}
