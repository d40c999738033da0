//! Requests to the hub: one hop at a time, so that the token goes to the hub's own host and no further.

use std::{cell::Cell, io, net::IpAddr, sync::LazyLock};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ureq::{
    Agent, Body, Error, Timeout,
    http::{Method, Request, Response, Uri, header, uri::Authority},
    tls::{Certificate, RootCerts, TlsConfig},
};

use super::Settings;

/// As Python's `quote`: letters, digits and `-._~` stay.
const QUOTED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Within a file's path, `/` stays as well.
const QUOTED_PATH: &AsciiSet = &QUOTED.remove(b'/');

/// A hub, and who asks.
pub(super) struct Client<'a> {
    agent: Agent,
    settings: &'a Settings,
    origin: Origin,
    /// Whether any server has answered: until then a failure to connect means that there is no network.
    answered: Cell<bool>,
}

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection comes about, and none ever did.
    Unreachable { host: String, reason: String },
    /// Worth another try.
    Transient { host: String, reason: String, after: Option<u64> },
    /// A redirect that leads nowhere, or another answer that makes no sense.
    Nonsense { host: String, reason: String },
}

/// Scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    fn of(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let port = uri.port_u16().or(match scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        })?;
        Some(Self { host: uri.host()?.to_ascii_lowercase(), scheme, port })
    }
}

impl<'a> Client<'a> {
    /// A client of the settings' endpoint. Nothing is connected yet.
    pub(super) fn new(settings: &'a Settings) -> Result<Self, String> {
        let uri: Uri = settings.endpoint.parse().map_err(|error| format!("{error}"))?;
        let origin = Origin::of(&uri).ok_or("it names no host")?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .accept_encoding("identity")
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(settings.connect_timeout))
            .timeout_resolve(Some(settings.connect_timeout))
            .timeout_per_read(Some(settings.read_timeout))
            .timeout_per_write(Some(settings.read_timeout))
            .tls_config(TlsConfig::builder().root_certs(ROOT_CERTIFICATES.clone()).build())
            .build();
        Ok(Self { agent: config.new_agent(), settings, origin, answered: Cell::new(false) })
    }

    /// `<endpoint>/<model>/resolve/<revision>/<file>`
    pub(super) fn resolve_url(&self, model: &str, revision: &str, file: &str) -> String {
        let revision = utf8_percent_encode(revision, QUOTED);
        let file = utf8_percent_encode(file, QUOTED_PATH);
        format!("{}/{model}/resolve/{revision}/{file}", self.settings.endpoint)
    }

    /// Whether a URL leads to the hub itself, and not to a host that the hub stores its files on.
    pub(super) fn is_hub(&self, uri: &Uri) -> bool {
        Origin::of(uri).as_ref() == Some(&self.origin)
    }

    /// One request, one answer: redirects are left to the caller, 429 and 5xx are failures.
    ///
    /// `from` asks for the bytes from there on.
    pub(super) fn send(&self, method: &Method, uri: &Uri, from: u64) -> Result<Response<Body>, Failure> {
        let host = host(uri);
        let mut request = Request::builder().method(method).uri(uri);
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        if let Some(token) = self.settings.token.as_ref().filter(|_| self.is_hub(uri)) {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.secret()));
        }
        let nonsense = |reason: String| Failure::Nonsense { host: host.clone(), reason };
        // The error is not quoted: it could hold the header.
        let request = request.body(()).map_err(|_| nonsense("the request cannot be made".into()))?;
        // Proxies are for other machines, as Go and browsers hold it.
        let proxy = self.agent.config().proxy().filter(|_| !is_loopback(&host)).cloned();
        let request = self.agent.configure_request(request).proxy(proxy).build();
        let response = self.agent.run(request).map_err(|error| self.classify(error, &host))?;
        self.answered.set(true);
        let status = response.status();
        if status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
            let after = text(&response, "retry-after").and_then(|value| value.trim().parse().ok());
            return Err(Failure::Transient { host, reason: format!("the server answered {status}"), after });
        }
        Ok(response)
    }

    /// Sends GET and follows redirects.
    pub(super) fn get(&self, url: &str, from: u64) -> Result<(Response<Body>, String), Failure> {
        let mut uri = parse(url)?;
        for _ in 0..MOST_REDIRECTS {
            let response = self.send(&Method::GET, &uri, from)?;
            match location(&response, &uri)? {
                Some(next) => uri = next,
                None => return Ok((response, host(&uri))),
            }
        }
        Err(Failure::Nonsense { host: host(&uri), reason: "too many redirects".into() })
    }

    fn classify(&self, error: Error, host: &str) -> Failure {
        let reason = describe(&error);
        let host = host.to_owned();
        let is_connecting = match &error {
            Error::HostNotFound | Error::ConnectionFailed | Error::ConnectProxyFailed(_) => true,
            Error::Timeout(timeout) => matches!(timeout, Timeout::Connect | Timeout::Resolve),
            // A certificate that is not trusted now will not be trusted a second later.
            Error::Tls(_) | Error::Rustls(_) => return Failure::Unreachable { host, reason },
            Error::Io(error) => match error.kind() {
                io::ErrorKind::InvalidData => return Failure::Unreachable { host, reason },
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::TimedOut
                | io::ErrorKind::WouldBlock => false,
                // All else happens before there is a connection: no such host, no route, refused.
                _ => true,
            },
            _ => false,
        };
        if is_connecting && !self.answered.get() {
            Failure::Unreachable { host, reason }
        } else {
            Failure::Transient { host, reason, after: None }
        }
    }
}

/// More than any hub needs; a loop ends here.
pub(super) const MOST_REDIRECTS: usize = 10;

/// Where a redirect leads.
pub(super) fn location(response: &Response<Body>, from: &Uri) -> Result<Option<Uri>, Failure> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    // A location may be a signed URL, which is as good as a password: it is not quoted.
    let nonsense = || Failure::Nonsense { host: host(from), reason: "a redirect that leads nowhere".into() };
    let target = text(response, "location").filter(|target| !target.is_empty()).ok_or_else(nonsense)?;
    let (scheme, authority) =
        (from.scheme_str().unwrap_or("https"), from.authority().map_or("", Authority::as_str));
    let absolute = if target.starts_with("//") {
        format!("{scheme}:{target}")
    } else if target.starts_with('/') {
        format!("{scheme}://{authority}{target}")
    } else if target.split(['/', '?', '#']).next().is_some_and(|first| first.contains(':')) {
        target.to_owned()
    } else {
        let directory = from.path().rsplit_once('/').map_or("", |(directory, _)| directory);
        format!("{scheme}://{authority}{directory}/{target}")
    };
    let uri = parse(&absolute).map_err(|_| nonsense())?;
    let is_downgrade = from.scheme_str() == Some("https") && uri.scheme_str() != Some("https");
    if Origin::of(&uri).is_none() || is_downgrade { Err(nonsense()) } else { Ok(Some(uri)) }
}

/// A header's value, where it is text.
pub(super) fn text<'r>(response: &'r Response<Body>, name: &str) -> Option<&'r str> {
    response.headers().get(name)?.to_str().ok()
}

pub(super) fn parse(url: &str) -> Result<Uri, Failure> {
    url.parse().map_err(|_| Failure::Nonsense { host: "the hub".into(), reason: "not a URL".into() })
}

pub(super) fn host(uri: &Uri) -> String {
    uri.host().unwrap_or("the hub").to_owned()
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// An error in words that hold neither a URL nor a header.
fn describe(error: &Error) -> String {
    match error {
        Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => "the connection broke".to_owned(),
        Error::Io(error) => error.to_string(),
        Error::HostNotFound => "there is no such host, or no network".to_owned(),
        Error::Timeout(timeout) => format!("no answer in time ({timeout})"),
        Error::ConnectProxyFailed(_) => "the proxy refuses the connection".to_owned(),
        Error::BadUri(_) => "not a URL".to_owned(),
        other => other.to_string(),
    }
}

/// The system's certificates (or those of `SSL_CERT_FILE`), so that a company's own count; Mozilla's where a system
/// has none, as small containers do. Read once: there are hundreds.
static ROOT_CERTIFICATES: LazyLock<RootCerts> = LazyLock::new(|| {
    let found = rustls_native_certs::load_native_certs().certs;
    if found.is_empty() {
        return RootCerts::WebPki;
    }
    found.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).into()
});
