//! The environment that huggingface_hub follows, read in one place.

use std::{ffi::OsString, fmt, path::PathBuf, time::Duration};

use super::HubError;
use crate::bounded;

/// Tokens have some forty characters.
const LARGEST_TOKEN: u64 = 1 << 16;

/// The variable of the user's home directory.
const HOME: &str = if cfg!(windows) { "USERPROFILE" } else { "HOME" };

/// Where to look, whom to ask, and how patiently.
///
/// ```
/// use clip_features::hub::Settings;
///
/// let variables = |name: &str| match name {
///     "HF_HOME" => Some("/data/huggingface".into()),
///     "HF_HUB_OFFLINE" => Some("1".into()),
///     _ => None,
/// };
/// let settings = Settings::from_lookup(None, variables)?; // or from_env, with those of the process
/// assert_eq!(settings.cache, std::path::Path::new("/data/huggingface").join("hub"));
/// assert!(settings.offline && settings.endpoint == "https://huggingface.co");
/// # Ok::<(), clip_features::hub::HubError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cache: `HF_HUB_CACHE`, else `$HF_HOME/hub`, else `$XDG_CACHE_HOME/huggingface/hub`, else
    /// `~/.cache/huggingface/hub`.
    pub cache: PathBuf,
    /// The hub: `HF_ENDPOINT`, else `https://huggingface.co`, without a final slash.
    pub endpoint: String,
    /// Who asks: `HF_TOKEN`, else the token file; none under `HF_HUB_DISABLE_IMPLICIT_TOKEN`.
    pub token: Option<Token>,
    /// No connection is made: `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE`.
    pub offline: bool,
    /// Snapshots link to blobs; under `HF_HUB_DISABLE_SYMLINKS` they hold hard links or copies.
    pub symlinks: bool,
    /// How long to wait for a connection: `HF_HUB_ETAG_TIMEOUT`, else 10 s.
    pub connect_timeout: Duration,
    /// How long to wait for the next bytes: `HF_HUB_DOWNLOAD_TIMEOUT`, else 10 s.
    pub read_timeout: Duration,
    /// How often to try in a row without one new byte.
    pub tries: u32,
    /// The pause after the first failure; it doubles with each that follows.
    pub first_pause: Duration,
}

/// An access token. It shows in no output.
///
/// ```
/// use clip_features::hub::Token;
///
/// let token = Token::new("hf_secret\n").ok_or("an empty file")?;
/// assert_eq!(format!("{token:?}"), "Token(…)");
/// assert!(Token::new(" \n").is_none());
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token, without the line break that a file may end in; `None` if nothing is left.
    pub fn new(text: &str) -> Option<Self> {
        let text: String = text.trim().chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
        (!text.is_empty()).then_some(Self(text))
    }

    pub(super) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Settings {
    /// Reads the process's environment; `cache` stands above it.
    ///
    /// # Errors
    /// A variable's value cannot be followed, or there is no place for the cache.
    pub fn from_env(cache: Option<PathBuf>) -> Result<Self, HubError> {
        Self::from_lookup(cache, |name| {
            let from_system =
                || (name == HOME).then(std::env::home_dir).flatten().map(PathBuf::into_os_string);
            std::env::var_os(name).or_else(from_system)
        })
    }

    /// As [`Settings::from_env`], with any source of variables.
    ///
    /// An empty variable counts as unset.
    ///
    /// # Errors
    /// See [`Settings::from_env`].
    pub fn from_lookup(
        cache: Option<PathBuf>,
        lookup: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, HubError> {
        let environment = Environment { lookup };
        let home = environment.hugging_face_home();
        let cache = cache
            .or_else(|| environment.path("HF_HUB_CACHE"))
            .or_else(|| environment.path("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| home.as_ref().map(|home| home.join("hub")))
            .ok_or(HubError::NoCacheDirectory)?;
        let endpoint = environment.text("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        if !["https://", "http://"].iter().any(|scheme| endpoint.starts_with(scheme)) {
            return Err(HubError::Environment {
                name: "HF_ENDPOINT",
                reason: format!("{endpoint:?} is no http or https URL"),
            });
        }
        let token_file = environment.path("HF_TOKEN_PATH").or_else(|| home.map(|home| home.join("token")));
        let token = if environment.is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            None
        } else {
            environment
                .text("HF_TOKEN")
                .or_else(|| environment.text("HUGGING_FACE_HUB_TOKEN"))
                .and_then(|text| Token::new(&text))
                .or_else(|| Token::new(&bounded::read_to_string(&token_file?, LARGEST_TOKEN).ok()?))
        };
        // The first variable that is set decides, also when it says no.
        let offline_variable = if environment.text("HF_HUB_OFFLINE").is_some() {
            "HF_HUB_OFFLINE"
        } else {
            "TRANSFORMERS_OFFLINE"
        };
        Ok(Self {
            cache,
            endpoint,
            token,
            offline: environment.is_true(offline_variable),
            symlinks: !environment.is_true("HF_HUB_DISABLE_SYMLINKS"),
            connect_timeout: environment.seconds("HF_HUB_ETAG_TIMEOUT")?,
            read_timeout: environment.seconds("HF_HUB_DOWNLOAD_TIMEOUT")?,
            tries: 5,
            first_pause: Duration::from_secs(1),
        })
    }
}

struct Environment<F> {
    lookup: F,
}

impl<F: Fn(&str) -> Option<OsString>> Environment<F> {
    fn text(&self, name: &str) -> Option<String> {
        (self.lookup)(name).and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty())
    }

    /// huggingface_hub's notion of yes.
    fn is_true(&self, name: &str) -> bool {
        self.text(name)
            .is_some_and(|value| matches!(value.to_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE"))
    }

    fn seconds(&self, name: &'static str) -> Result<Duration, HubError> {
        match self.text(name).map(|value| value.trim().parse()) {
            None | Some(Ok(0)) => Ok(Duration::from_secs(10)),
            Some(Ok(seconds)) => Ok(Duration::from_secs(seconds)),
            Some(Err(_)) => {
                Err(HubError::Environment { name, reason: "not a whole number of seconds".to_owned() })
            }
        }
    }

    /// `HF_HOME`, else `huggingface` in the user's cache directory.
    fn hugging_face_home(&self) -> Option<PathBuf> {
        self.path("HF_HOME").or_else(|| {
            let user_cache = self.path("XDG_CACHE_HOME").or_else(|| Some(self.home()?.join(".cache")));
            Some(user_cache?.join("huggingface"))
        })
    }

    fn home(&self) -> Option<PathBuf> {
        (self.lookup)(HOME).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// A path, with `~` and `$NAME` replaced as Python's expanduser and expandvars do.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let value = (self.lookup)(name).filter(|value| !value.is_empty())?;
        // A path that is not text has nothing to replace.
        let Some(text) = value.to_str() else { return Some(value.into()) };
        match text.strip_prefix('~') {
            Some(rest) if rest.is_empty() || rest.starts_with(std::path::is_separator) => {
                let below = self.expand_variables(rest);
                self.home().map(|home| home.join(below.trim_start_matches(std::path::is_separator)))
            }
            _ => Some(self.expand_variables(text).into()),
        }
    }

    /// Replaces `$NAME` and `${NAME}`; an unknown name stays as it is written.
    fn expand_variables(&self, text: &str) -> String {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find('$') {
            expanded.push_str(&rest[..start]);
            let after = &rest[start + 1..];
            let (name, len) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
                Some((name, _)) => (name, name.len() + 2),
                None => {
                    let len =
                        after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                    (&after[..len], len)
                }
            };
            match self.text(name) {
                Some(value) if !name.is_empty() => expanded.push_str(&value),
                _ => expanded.push_str(&rest[start..start + 1 + len]),
            }
            rest = &after[len..];
        }
        expanded.push_str(rest);
        expanded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<Settings, HubError> {
        let home = [("HOME", "/home/ann"), ("USERPROFILE", "/home/ann")];
        let variables = [&home, variables].concat();
        Settings::from_lookup(None, |name| {
            variables.iter().rev().find(|(found, _)| *found == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_cache_is_where_python_has_it() {
        for (variables, expected) in [
            (&[][..], "/home/ann/.cache/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/hf")], "/hf/hub"),
            (&[("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/c")], "/c"),
            (&[("HF_HOME", "/hf"), ("HUGGINGFACE_HUB_CACHE", "/old")], "/old"),
            (&[("HF_HOME", "~/hf")], "/home/ann/hf/hub"),
            (&[("HF_HOME", "$DATA/hf"), ("DATA", "/d")], "/d/hf/hub"),
            (&[("HF_HUB_CACHE", "/a/${U}b$V/c"), ("U", "1"), ("V", "2")], "/a/1b2/c"),
            (&[("HF_HUB_CACHE", "/a/$UNKNOWN/$")], "/a/$UNKNOWN/$"),
            (&[("HF_HOME", "")], "/home/ann/.cache/huggingface/hub"),
        ] {
            assert_eq!(settings(variables).unwrap().cache, PathBuf::from(expected), "{variables:?}");
        }
    }

    #[test]
    fn offline_is_what_python_calls_true() {
        for (variables, expected) in [
            (&[][..], false),
            (&[("HF_HUB_OFFLINE", "1")], true),
            (&[("HF_HUB_OFFLINE", "yes")], true),
            (&[("HF_HUB_OFFLINE", "True")], true),
            (&[("HF_HUB_OFFLINE", "on")], true),
            (&[("HF_HUB_OFFLINE", "0")], false),
            (&[("HF_HUB_OFFLINE", "2")], false),
            (&[("TRANSFORMERS_OFFLINE", "1")], true),
            (&[("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")], false),
        ] {
            assert_eq!(settings(variables).unwrap().offline, expected, "{variables:?}");
        }
    }

    #[test]
    fn the_token_comes_from_the_environment_or_the_file() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("token"), "hf_file\n").unwrap();
        std::fs::write(home.path().join("other"), "hf_other\n").unwrap();
        let home_text = home.path().to_str().unwrap();
        let other = home.path().join("other");
        let in_home = ("HF_HOME", home_text);
        for (variables, expected) in [
            (&[in_home][..], Some("hf_file")),
            (&[in_home, ("HF_TOKEN", " hf_env\n")], Some("hf_env")),
            (&[in_home, ("HUGGING_FACE_HUB_TOKEN", "hf_old")], Some("hf_old")),
            (&[in_home, ("HF_TOKEN_PATH", other.to_str().unwrap())], Some("hf_other")),
            (&[in_home, ("HF_TOKEN", "hf_env"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")], None),
            (&[], None),
        ] {
            let token = settings(variables).unwrap().token;
            assert_eq!(token.as_ref().map(Token::secret), expected, "{variables:?}");
        }
    }

    #[test]
    fn a_token_shows_in_no_debug_output() {
        let settings = settings(&[("HF_TOKEN", "hf_secret")]).unwrap();
        assert!(settings.token.is_some());
        assert!(!format!("{settings:?}").contains("hf_secret"));
    }

    #[test]
    fn what_cannot_be_followed_is_named() {
        for (name, value) in [("HF_ENDPOINT", "huggingface.co"), ("HF_HUB_DOWNLOAD_TIMEOUT", "soon")] {
            let message = settings(&[(name, value)]).unwrap_err().to_string();
            assert!(message.starts_with(name), "{message}");
        }
        assert_eq!(settings(&[("HF_ENDPOINT", "http://h/hub/")]).unwrap().endpoint, "http://h/hub");
    }
}
