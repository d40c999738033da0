//! The plan's inputs, as images.

use clip_features::{
    input::{Item, List, distinct, walk},
    output::key,
};

use crate::cli::{Inputs, Plan, Target, say};

/// The images of a run.
pub(crate) enum Images {
    /// All are known in advance; and how many other files were passed over in directories.
    Known(Vec<Item>, usize),
    /// They come as somebody lists them.
    Listed(Box<dyn Iterator<Item = Item> + Send>),
}

/// Finds the images of the inputs. The error says which input holds none.
pub(crate) fn images(plan: &Plan) -> Result<Images, String> {
    let (inputs, target) = (&plan.inputs, &plan.target);
    let one = |path: &std::path::PathBuf| {
        if path.as_os_str() == "-" { Item::stdin() } else { Item::file(path.clone()) }
    };
    match inputs {
        Inputs::One(path) => Ok(Images::Known(vec![one(path)], 0)),
        Inputs::Paths(paths) => {
            let (mut items, mut others) = (Vec::new(), 0);
            for path in paths {
                if !path.is_dir() {
                    items.push(one(path));
                    continue;
                }
                let found = walk(path);
                if found.items.is_empty() && !plan.quiet {
                    say("warning", &format!("{}: holds no images", path.display()));
                }
                items.extend(found.items);
                others += found.others;
            }
            if items.is_empty() {
                return Err("there are no images in the inputs".into());
            }
            Ok(Images::Known(items, others))
        }
        Inputs::List(path, separator) => {
            let list =
                List::open(path, *separator).map_err(|error| format!("{}: {error}", path.display()))?;
            Ok(Images::Listed(match target {
                Target::Tree(names) => {
                    let names = names.clone();
                    Box::new(distinct(list, move |name| names.files(name).swap_remove(0)))
                }
                Target::Archive(_) => Box::new(distinct(list, |name| key(name).into())),
                Target::Nothing | Target::File(..) | Target::Stdout(_) => Box::new(list),
            }))
        }
    }
}

impl Images {
    /// The images that are known in advance.
    pub(crate) fn known(&self) -> &[Item] {
        match self {
            Self::Known(items, _) => items,
            Self::Listed(_) => &[],
        }
    }

    /// How many there are, if that is known.
    pub(crate) fn count(&self) -> Option<u64> {
        match self {
            Self::Known(items, _) => Some(items.len() as u64),
            Self::Listed(_) => None,
        }
    }

    /// Files in directories that are no images.
    pub(crate) fn others(&self) -> usize {
        match self {
            Self::Known(_, others) => *others,
            Self::Listed(_) => 0,
        }
    }
}

impl IntoIterator for Images {
    type Item = Item;
    type IntoIter = Box<dyn Iterator<Item = Item> + Send>;

    fn into_iter(self) -> Self::IntoIter {
        match self {
            Self::Known(items, _) => Box::new(items.into_iter()),
            Self::Listed(items) => items,
        }
    }
}
