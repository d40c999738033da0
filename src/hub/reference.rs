//! The other ways in which people write a model's name on the hub: `hf-hub:ORG/NAME`, and the address of its page.

use super::{HubError, ModelId, Revision};

/// What open_clip and timm write before a name.
const SCHEMES: [&str; 2] = ["hf-hub:", "hf_hub:"];

/// The hub's hosts.
const HOSTS: [&str; 3] = ["huggingface.co/", "www.huggingface.co/", "hf.co/"];

/// What the hub keeps beside models, whose addresses look like a model's.
const OTHERS: [&str; 8] = ["datasets", "spaces", "docs", "papers", "collections", "api", "blog", "settings"];

/// A model's name, and the revision that stands with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) id: ModelId,
    pub(super) revision: Option<Revision>,
}

/// The model that such a name means; none if it is no name of this kind.
///
/// # Errors
/// It is of this kind, and names no model.
pub(super) fn reference(name: &str) -> Option<Result<Reference, HubError>> {
    let refuse = |hint: String| Err(HubError::InvalidReference { name: name.to_owned(), hint });
    if let Some(rest) = SCHEMES.iter().find_map(|scheme| name.strip_prefix(scheme)) {
        let (id, revision) = match rest.split_once('@') {
            Some((id, revision)) => (id, Some(revision)),
            None => (rest, None),
        };
        return Some(parsed(id, revision));
    }
    let path = page(name)?;
    let path = path.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
    let parts: Vec<&str> = path.splitn(4, '/').collect();
    Some(match parts.as_slice() {
        [kind, ..] if OTHERS.contains(kind) => refuse(format!("{kind} are no models")),
        [org, model] => parsed(&format!("{org}/{model}"), None),
        [org, model, "tree", revision] => parsed(&format!("{org}/{model}"), Some(revision)),
        [org, model, ..] => refuse(format!("name the model itself: {org}/{model}")),
        _ => refuse("a model's page is at ORG/NAME".to_owned()),
    })
}

fn parsed(id: &str, revision: Option<&str>) -> Result<Reference, HubError> {
    Ok(Reference { id: id.parse()?, revision: revision.map(str::parse).transpose()? })
}

/// What stands behind the hub's host in an address of it.
fn page(address: &str) -> Option<&str> {
    let bare = address.strip_prefix("https://").or(address.strip_prefix("http://")).unwrap_or(address);
    HOSTS.iter().find_map(|host| bare.strip_prefix(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str) -> Option<Result<(String, Option<String>), String>> {
        let found = reference(name)?;
        let texts = |found: Reference| (found.id.to_string(), found.revision.map(|found| found.to_string()));
        Some(found.map(texts).map_err(|error| error.to_string()))
    }

    #[test]
    fn a_prefix_or_an_address_is_the_models_name() {
        for name in [
            "hf-hub:acme/clip",
            "hf_hub:acme/clip",
            "https://huggingface.co/acme/clip",
            "https://huggingface.co/acme/clip/",
            "https://huggingface.co/acme/clip?library=transformers",
            "https://huggingface.co/acme/clip#use",
            "http://www.huggingface.co/acme/clip",
            "huggingface.co/acme/clip",
            "https://hf.co/acme/clip",
        ] {
            assert_eq!(read(name), Some(Ok(("acme/clip".into(), None))), "{name}");
        }
        for (name, revision) in [
            ("hf-hub:acme/clip@v1.0", "v1.0"),
            ("https://huggingface.co/acme/clip/tree/main", "main"),
            ("https://huggingface.co/acme/clip/tree/refs/pr/3", "refs/pr/3"),
        ] {
            assert_eq!(read(name), Some(Ok(("acme/clip".into(), Some(revision.into())))), "{name}");
        }
    }

    #[test]
    fn what_names_no_model_is_refused_and_what_is_of_another_kind_is_left() {
        for (name, part) in [
            ("https://huggingface.co/datasets/acme/pictures", "datasets are no models"),
            ("https://huggingface.co/spaces/acme/demo", "spaces are no models"),
            (
                "https://huggingface.co/acme/clip/blob/main/model.safetensors",
                "name the model itself: acme/clip",
            ),
            ("https://huggingface.co/acme/clip/resolve/main/config.json", "name the model itself: acme/clip"),
            ("https://huggingface.co/acme", "a model's page is at ORG/NAME"),
            ("https://huggingface.co/", "a model's page is at ORG/NAME"),
            ("https://huggingface.co/acme/cl ip", "not a model id"),
            ("https://huggingface.co/acme/clip/tree/a/../b", "not a revision"),
            ("hf-hub:clip", "not a model id"),
            ("hf-hub:acme/clip@", "not a revision"),
        ] {
            let message = read(name).unwrap().unwrap_err();
            assert!(message.contains(part), "{name}: {message}");
        }
        for name in ["acme/clip", "https://example.com/acme/clip", "huggingface.co", "./hf-hub:a/b", "a:b/c"]
        {
            assert_eq!(read(name), None, "{name}");
        }
    }
}
