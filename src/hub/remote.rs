//! What the hub says of a file, and what its refusals mean.

use ureq::{
    Body,
    http::{Method, Response},
};

use super::{
    CONFIG, Event, HubError, ModelId, Revision, Settings,
    http::{Client, Failure, MOST_REDIRECTS, host, location, parse, text},
    names::is_file_name,
    retry::Backoff,
};

/// A model on the hub.
pub(super) struct Remote<'a> {
    pub(super) client: Client<'a>,
    pub(super) settings: &'a Settings,
    pub(super) model: &'a ModelId,
    pub(super) revision: &'a Revision,
    pub(super) events: &'a dyn Fn(Event<'_>),
}

/// What the hub says of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RemoteFile {
    /// The commit that the revision stands for.
    pub(super) commit: String,
    /// The blob's name.
    pub(super) etag: String,
    /// Its size in bytes.
    pub(super) size: Option<u64>,
}

impl RemoteFile {
    /// The SHA-256 of the content, which is the ETag of files in large file storage. Other files have a Git hash.
    pub(super) fn sha256(&self) -> Option<&str> {
        let is_sha256 = self.etag.len() == 64 && self.etag.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_sha256.then_some(self.etag.as_str())
    }
}

impl<'a> Remote<'a> {
    pub(super) fn new(
        settings: &'a Settings,
        model: &'a ModelId,
        revision: &'a Revision,
        events: &'a dyn Fn(Event<'_>),
    ) -> Result<Self, HubError> {
        let client = Client::new(settings).map_err(|reason| HubError::Environment {
            name: "HF_ENDPOINT",
            reason: format!("no URL: {reason}"),
        })?;
        Ok(Self { client, settings, model, revision, events })
    }

    /// Asks for a file at a revision or commit; `None` if the hub has no such file there.
    pub(super) fn file(&self, at: &str, file: &str) -> Result<Option<RemoteFile>, HubError> {
        let mut backoff = Backoff::new(self.settings);
        loop {
            match self.ask(at, file) {
                Ok(found) => return found,
                Err(failure) => self.pause(failure, &mut backoff, file)?,
            }
        }
    }

    fn ask(&self, at: &str, file: &str) -> Result<Result<Option<RemoteFile>, HubError>, Failure> {
        let mut uri = parse(&self.client.resolve_url(self.model.as_str(), at, file))?;
        let (mut commit, mut linked_etag, mut size) = (None, None, None);
        for _ in 0..MOST_REDIRECTS {
            let response = self.client.send(&Method::HEAD, &uri, 0)?;
            // The hub describes a file where it redirects to its storage; the storage knows less.
            commit = commit.or_else(|| text(&response, "x-repo-commit").map(str::to_owned));
            linked_etag = linked_etag.or_else(|| text(&response, "x-linked-etag").map(normalize_etag));
            size = size.or_else(|| number(&response, "x-linked-size"));
            let next = location(&response, &uri)?;
            let etag = linked_etag.clone().or_else(|| text(&response, "etag").map(normalize_etag));
            if let Some(next) = next {
                let is_described = linked_etag.is_some() || (etag.is_some() && !self.client.is_hub(&next));
                if !(commit.is_some() && is_described) {
                    uri = next;
                    continue;
                }
            } else if !response.status().is_success() {
                return Ok(self.refusal(&response, file, &host(&uri)).map_or(Ok(None), Err));
            } else {
                size = size.or_else(|| number(&response, "content-length"));
            }
            let nonsense = |reason: &str| Failure::Nonsense { host: host(&uri), reason: reason.to_owned() };
            let is_name = |name: &String| is_file_name(name);
            let commit =
                commit.filter(is_name).ok_or_else(|| nonsense("no usable X-Repo-Commit in the answer"))?;
            let etag = etag.filter(is_name).ok_or_else(|| nonsense("no usable ETag in the answer"))?;
            return Ok(Ok(Some(RemoteFile { commit, etag, size })));
        }
        Err(Failure::Nonsense { host: host(&uri), reason: "too many redirects".into() })
    }

    /// What an answer other than a file means: an error, or `None` if there is merely no such file.
    pub(super) fn refusal(&self, response: &Response<Body>, file: &str, host: &str) -> Option<HubError> {
        let (model, host) = (self.model.clone(), host.to_owned());
        let is_signed_in = self.settings.token.is_some();
        let status = response.status().as_u16();
        let message = text(response, "x-error-message").unwrap_or_default();
        Some(match (status, text(response, "x-error-code").unwrap_or_default()) {
            (_, "EntryNotFound") => return None,
            // A mirror may know no error codes. What is asked for after config.json is of a model that exists.
            (404, "") if file != CONFIG => return None,
            (_, "RevisionNotFound") => HubError::RevisionNotFound { model, revision: self.revision.clone() },
            (_, "GatedRepo") => {
                let terms = format!("accept its terms on {}/{model}", self.settings.endpoint);
                let hint = match is_signed_in {
                    true => format!("{terms}, as the user whose token is used"),
                    false => format!("{terms}, then set HF_TOKEN or run `hf auth login`"),
                };
                HubError::Gated { model, hint }
            }
            (401, _) if message.starts_with("Invalid") && is_signed_in => {
                HubError::TokenRefused { model, host }
            }
            (401, _) | (_, "RepoNotFound") | (404, "") => {
                let hint = match is_signed_in {
                    true => "check the spelling, and whether the token may read it",
                    false => "check the spelling; for a private model set HF_TOKEN or run `hf auth login`",
                };
                HubError::ModelNotFound { model, host, hint: hint.to_owned() }
            }
            _ => {
                let message = if message.is_empty() { String::new() } else { format!(": {message}") };
                HubError::Status { model, file: file.to_owned(), host, status, message }
            }
        })
    }

    /// Waits before another try, or gives up.
    pub(super) fn pause(&self, failure: Failure, backoff: &mut Backoff, file: &str) -> Result<(), HubError> {
        let (model, file_name) = (self.model.clone(), file.to_owned());
        match failure {
            Failure::Unreachable { host, reason } => {
                Err(HubError::Unreachable { model, file: file_name, host, reason })
            }
            Failure::Nonsense { host, reason } => {
                Err(HubError::NotAHub { model, file: file_name, host, reason })
            }
            Failure::Transient { host, reason, after } => match backoff.next_pause(after) {
                Some(pause) => {
                    (self.events)(Event::Retry { file, reason: &reason, pause });
                    std::thread::sleep(pause);
                    Ok(())
                }
                None => {
                    let tries = self.settings.tries;
                    Err(HubError::GaveUp { model, file: file_name, host, reason, tries })
                }
            },
        }
    }
}

pub(super) fn number(response: &Response<Body>, name: &str) -> Option<u64> {
    text(response, name)?.trim().parse().ok()
}

/// `W/"abc"` and `"abc"` are `abc`.
fn normalize_etag(etag: &str) -> String {
    etag.trim_start_matches("W/").trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etags_lose_their_quotes() {
        for etag in ["abc", "\"abc\"", "W/\"abc\""] {
            assert_eq!(normalize_etag(etag), "abc");
        }
    }

    #[test]
    fn only_a_sha256_is_taken_for_one() {
        let file = |etag: &str| RemoteFile { etag: etag.to_owned(), ..Default::default() };
        assert!(file(&"0aF9".repeat(16)).sha256().is_some());
        assert!(file(&"0af9".repeat(10)).sha256().is_none());
        assert!(file(&"0axx".repeat(16)).sha256().is_none());
    }
}
