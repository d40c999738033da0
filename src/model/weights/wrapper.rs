//! Modules around a whole model, which stand before every name of it.

/// What tools and classes wrap a model in, one in another too: torch's DataParallel and its compiler, PEFT, and classes that hold a
/// CLIP beside a head of their own, such as CLIPSeg's for segmentation.
const WRAPPERS: [&str; 4] = ["module.", "_orig_mod.", "base_model.model.", "clip."];

/// How many are told apart from a model's own names, one in another. Of more, a crafted header could make too many to look through.
const DEEPEST: usize = 3;

/// What stands before the model's own names; nothing where it is not wrapped, or where several things could be meant.
///
/// `holds_tower` says whether there is a vision tower among the names behind a wrapper.
pub(super) fn wrapper<'a>(
    names: impl Iterator<Item = &'a String>,
    holds_tower: impl Fn(&str) -> bool,
) -> &'a str {
    if holds_tower("") {
        return "";
    }
    let mut wrappers: Vec<&str> =
        names.map(|name| wrapped(name)).filter(|wrapper| !wrapper.is_empty()).collect();
    wrappers.sort_unstable();
    wrappers.dedup();
    let mut towers = wrappers.into_iter().filter(|wrapper| holds_tower(wrapper));
    match (towers.next(), towers.next()) {
        (Some(only), None) => only,
        _ => "",
    }
}

/// The wrappers that a name begins with.
fn wrapped(name: &str) -> &str {
    let mut rest = name;
    for _ in 0..DEEPEST {
        let Some(inner) = WRAPPERS.iter().find_map(|wrapper| rest.strip_prefix(wrapper)) else { break };
        rest = inner;
    }
    &name[..name.len() - rest.len()]
}
