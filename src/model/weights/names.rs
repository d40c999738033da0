//! What a checkpoint calls its tensors, and what they are called here: as in a full CLIPModel.

use super::{
    spelling::{Form, Spelling},
    wrapper::wrapper,
};

/// The weight of the projection to `image_embeds`, which stands beside the tower.
pub(in crate::model) const PROJECTION: &str = "visual_projection.weight";

/// The prefix of the vision tower's tensors in a full CLIPModel.
const VISION: &str = "vision_model.";

/// Modules that hold a vision tower, alone or one inside the other: of a full CLIPModel or SiglipModel, of a DINOv2 with a
/// classifier, of vision-language models. Of Video-LLaVA's two towers it is the images' that is meant.
const TOWERS: [&str; 5] = ["vision_model", "vision_tower", "image_tower", "dinov2", "dinov2_with_registers"];

/// The module that every tower begins with; a language model has none of this name at its root.
const FIRST: &str = "embeddings.";

/// What stands before the index of a block of CLIP's and SigLIP's towers.
const LAYERS: &str = "encoder.layers.";

/// The same where transformers 5 saves a whole AltCLIP. An AltCLIP that transformers 4 saved has the other.
const ALTCLIPS_LAYERS: &str = "encoder.layer.";

/// Modules between a vision tower and a language model.
const PROJECTORS: [&str; 2] = ["multi_modal_projector", "mm_projector"];

/// The module that models with a head keep all else in.
const BASE: &str = "model";

/// Which of a checkpoint's tensors are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Those of the vision tower, and its projection to `image_embeds`.
    #[default]
    Tower,
    /// Those of the projector to the language model too.
    Projector,
}

/// How a checkpoint spells names.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// What stands before all names of the model.
    wrapper: String,
    library: Library,
}

/// Whose names a checkpoint has.
#[derive(Clone, Debug)]
enum Library {
    Transformers(Modules),
    Other(&'static Spelling),
}

impl Library {
    fn of<'a>(names: impl Iterator<Item = &'a str> + Clone, scope: Scope) -> Self {
        Spelling::of(names.clone()).map_or_else(|| Self::Transformers(Modules::of(names, scope)), Self::Other)
    }

    fn has_tower(&self) -> bool {
        matches!(self, Self::Other(_) | Self::Transformers(Modules { tower: Some(_), .. }))
    }
}

impl Names {
    /// The spelling of a checkpoint with these names.
    pub(super) fn of<'a>(names: impl Iterator<Item = &'a String> + Clone, scope: Scope) -> Self {
        let of = |wrapper: &str| {
            let inner = names.clone().filter_map(|name| name.strip_prefix(wrapper));
            Library::of(inner.collect::<Vec<_>>().into_iter(), scope)
        };
        let wrapper = wrapper(names.clone(), |wrapper| of(wrapper).has_tower());
        Self { wrapper: wrapper.to_owned(), library: of(wrapper) }
    }

    /// The tensors here that lie in the files' of this name; none if it is not in the scope.
    pub(super) fn in_tower(&self, name: &str) -> Vec<(String, Form)> {
        let Some(name) = name.strip_prefix(&self.wrapper) else { return Vec::new() };
        match &self.library {
            Library::Other(spelling) => spelling.in_tower(name),
            Library::Transformers(modules) => {
                modules.canonical(name).map(|name| (name, Form::Whole)).into_iter().collect()
            }
        }
    }

    /// The files' tensors in which the one of this name here lies.
    pub(super) fn in_files(&self, name: &str) -> Vec<(String, Form)> {
        let mut found = match &self.library {
            Library::Other(spelling) => spelling.in_files(name),
            Library::Transformers(modules) => vec![(modules.spell(name), Form::Whole)],
        };
        if found.is_empty() {
            found = vec![(name.to_owned(), Form::Whole)];
        }
        found.into_iter().map(|(name, form)| (format!("{}{name}", self.wrapper), form)).collect()
    }
}

/// Which modules of transformers' classes hold what is in the scope.
#[derive(Clone, Debug)]
pub(super) struct Modules {
    /// What a checkpoint has in the place of [`VISION`]; empty for a class that is only the tower, none where there is no tower.
    tower: Option<String>,
    /// What it has in the place of [`LAYERS`].
    layers: &'static str,
    /// What stands before the projector's name.
    base: String,
    scope: Scope,
}

impl Modules {
    fn of<'a>(names: impl Iterator<Item = &'a str> + Clone, scope: Scope) -> Self {
        let (mut tower, mut base, mut is_tower) = (None, None, false);
        for name in names.clone() {
            tower = tower.or_else(|| tower_prefix(name));
            base = base.or_else(|| projector_base(name));
            is_tower |= name.starts_with(FIRST);
        }
        let tower = tower.or(is_tower.then_some(""));
        let is_altclips = tower
            .is_some_and(|tower| names.filter_map(|name| name.strip_prefix(tower)).any(is_block_of_altclips));
        let layers = if is_altclips { ALTCLIPS_LAYERS } else { LAYERS };
        let [tower, base] = [tower, base].map(|module| module.map(str::to_owned));
        Self { tower, layers, base: base.unwrap_or_default(), scope }
    }

    /// What a tensor of the checkpoint is called here; none if it is not in the scope.
    fn canonical(&self, name: &str) -> Option<String> {
        if name == PROJECTION {
            return Some(name.to_owned());
        }
        if let Some(base) = projector_base(name) {
            return (self.scope == Scope::Projector).then(|| name[base.len()..].to_owned());
        }
        let name = name.strip_prefix(self.tower.as_ref()?)?;
        Some(match name.strip_prefix(self.layers) {
            Some(block) => format!("{VISION}{LAYERS}{block}"),
            None => format!("{VISION}{name}"),
        })
    }

    /// What the checkpoint calls a tensor that is called `name` here.
    fn spell(&self, name: &str) -> String {
        let tower = self.tower.as_deref().unwrap_or_default();
        match name.strip_prefix(VISION) {
            Some(name) => match name.strip_prefix(LAYERS) {
                Some(block) => format!("{tower}{}{block}", self.layers),
                None => format!("{tower}{name}"),
            },
            None if projector_base(name).is_some() => format!("{}{name}", self.base),
            None => name.to_owned(),
        }
    }
}

/// Whether a tower's tensor is a block's of CLIP's, as AltCLIP's class spells it; DINOv2's have names of their own behind the same
/// beginning.
fn is_block_of_altclips(name: &str) -> bool {
    let block = name.strip_prefix(ALTCLIPS_LAYERS).and_then(|block| block.split_once('.'));
    block.is_some_and(|(_, leaf)| leaf.starts_with("self_attn."))
}

/// Whether a tensor of this name, as it is called here, is part of a vision tower.
pub(super) fn is_of_the_tower(name: &str) -> bool {
    name.starts_with(VISION)
}

/// The modules that a name begins with, as long as they only hold a tower: `model.vision_tower.vision_model.`.
fn tower_prefix(name: &str) -> Option<&str> {
    let (mut len, mut found) = (0, false);
    for module in name.split_inclusive('.') {
        let is_tower = module.strip_suffix('.').is_some_and(|module| TOWERS.contains(&module));
        if !is_tower && module.strip_suffix('.') != Some(BASE) {
            break;
        }
        found |= is_tower;
        len += module.len();
    }
    found.then_some(&name[..len])
}

/// What stands before the projector in the name of one of its tensors.
fn projector_base(name: &str) -> Option<&str> {
    let mut rest = name;
    while let Some(inner) = rest.strip_prefix(BASE).and_then(|inner| inner.strip_prefix('.')) {
        rest = inner;
    }
    let module = rest.split('.').next().unwrap_or_default();
    PROJECTORS.contains(&module).then_some(&name[..name.len() - rest.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Modules {
        Modules::of(list.iter().copied(), Scope::Projector)
    }

    #[test]
    fn a_tower_is_found_in_every_class_that_holds_one() {
        for prefix in [
            "",
            "vision_model.",
            "dinov2.",
            "dinov2_with_registers.",
            "vision_tower.",
            "vision_tower.vision_model.",
            "model.vision_tower.",
            "model.vision_tower.vision_model.",
            "model.model.vision_tower.",
            "model.image_tower.",
            "model.vision_model.",
            "model.vision_tower.vision_tower.vision_model.",
        ] {
            let (name, here) = (format!("{prefix}embeddings.a"), "vision_model.embeddings.a");
            let names = names(&["lm_head.weight", "model.layers.0.a", "model.video_tower.encoder.a", &name]);
            assert_eq!(names.canonical(&name).as_deref(), Some(here), "{name}");
            assert!(is_of_the_tower(here));
            assert_eq!(names.spell(here), name);
            assert_eq!(names.canonical("model.layers.0.a").is_some(), prefix.is_empty(), "{prefix}");
        }
    }

    #[test]
    fn a_projector_is_in_its_scope_alone() {
        let list = ["model.vision_tower.a", "model.multi_modal_projector.linear_1.bias"];
        let (all, here) = (names(&list), "multi_modal_projector.linear_1.bias");
        assert_eq!(all.canonical(list[1]).as_deref(), Some(here));
        assert_eq!(all.spell(here), list[1]);
        let without = names(&["model.layers.0.a", list[1]]);
        assert_eq!(without.canonical("model.layers.0.a"), None, "the tower is elsewhere");
        // The same where what is between them has no weights.
        assert_eq!(names(&["model.layers.0.a", "lm_head.weight"]).canonical("lm_head.weight"), None);
        let tower = Modules { scope: Scope::Tower, ..all };
        assert_eq!(tower.canonical(list[1]), None);
        assert_eq!(tower.canonical(PROJECTION).as_deref(), Some(PROJECTION));
    }

    #[test]
    fn what_a_model_is_wrapped_in_is_told_from_what_is_its_own() {
        let of = |list: &[&str]| {
            let list: Vec<String> = list.iter().map(|&name| name.to_owned()).collect();
            Names::of(list.iter(), Scope::Tower)
        };
        for wrapper in ["", "module.", "_orig_mod.", "clip.", "base_model.model.", "module._orig_mod.clip."] {
            for (inner, here) in [
                ("vision_model.embeddings.a", "vision_model.embeddings.a"),
                ("embeddings.a", "vision_model.embeddings.a"),
                ("model.vision_tower.vision_model.embeddings.a", "vision_model.embeddings.a"),
                ("visual.conv1.weight", "vision_model.embeddings.patch_embedding.weight"),
                ("visual_projection.weight", "visual_projection.weight"),
            ] {
                let name = format!("{wrapper}{inner}");
                let tower = format!("{wrapper}vision_model.post_layernorm.bias");
                // A module beside the wrapped one is none of the model's.
                let beside = "decoder.layers.0.self_attn.q_proj.weight";
                let mut list = vec![beside, &name];
                if inner == PROJECTION {
                    list.push(&tower);
                }
                let names = of(&list);
                assert_eq!(names.in_tower(&name), [(here.to_owned(), Form::Whole)], "{name}");
                assert_eq!(names.in_files(here), [(name.clone(), Form::Whole)], "{name}");
                let is_alone = wrapper.is_empty() && inner.starts_with("embeddings");
                assert_eq!(names.in_tower(beside).is_empty(), !is_alone, "{name}");
            }
        }
        // Which of two towers is meant is not guessed, and one that is not wrapped comes first.
        let two = ["clip.vision_model.embeddings.a", "module.vision_model.embeddings.a"];
        assert!(of(&two).in_tower(two[0]).is_empty());
        let three = of(&["clip.vision_model.embeddings.a", "vision_model.embeddings.a"]);
        assert_eq!(three.in_tower("vision_model.embeddings.a").len(), 1);
        assert!(three.in_tower("clip.vision_model.embeddings.a").is_empty());
    }

    #[test]
    fn altclips_blocks_are_clips_under_another_name() {
        let text = "text_model.roberta.encoder.layer.0.attention.self.query.weight";
        let saved = "vision_model.encoder.layer.1.self_attn.q_proj.weight";
        let here = "vision_model.encoder.layers.1.self_attn.q_proj.weight";
        let altclip = names(&[text, saved]);
        assert_eq!(altclip.canonical(saved).as_deref(), Some(here));
        assert_eq!(altclip.spell(here), saved);
        // As transformers 4 saved it, and DINOv2's, which keep theirs.
        assert_eq!(names(&[text, here]).spell(here), here);
        let dinov2 = "encoder.layer.0.attention.attention.query.weight";
        let names = names(&["embeddings.cls_token", dinov2]);
        assert_eq!(names.canonical(dinov2), Some(format!("vision_model.{dinov2}")));
    }
}
