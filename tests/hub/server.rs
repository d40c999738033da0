//! A hub on the loopback: two hosts, as in life. One speaks the hub's protocol and counts what it is asked; large
//! files lie on the other, to which the first redirects.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use sha2::{Digest, Sha256};

/// What a request went through, in order of arrival.
#[derive(Clone, Debug)]
pub(crate) struct Logged {
    /// `hub` or `storage`.
    pub(crate) host: &'static str,
    /// `HEAD` or `GET`.
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) authorization: Option<String>,
}

/// A file of a repository.
#[derive(Clone)]
pub(crate) struct RemoteFile {
    pub(crate) content: Vec<u8>,
    /// Whether it lies on the second host, under its SHA-256.
    pub(crate) is_large: bool,
}

/// What goes wrong with one request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// This status, these headers, no file.
    Answer(u16, Vec<(&'static str, String)>),
    /// The connection closes after so many bytes of the body.
    CutAfter(usize),
    /// The connection closes before any answer.
    Drop,
    /// A range is not heeded: status 200 and all of the file.
    IgnoreRange,
    /// One byte of the body is another.
    Corrupt,
    /// The body comes in so many pieces, with pauses between them.
    Slow(usize, Duration),
    /// These headers replace the answer's own.
    Headers(Vec<(&'static str, String)>),
}

#[derive(Default)]
struct State {
    /// By repository, then by file.
    repositories: BTreeMap<String, BTreeMap<String, RemoteFile>>,
    /// By branch or tag.
    revisions: BTreeMap<String, String>,
    /// How often the first request that contains the text still fails, and how.
    faults: Vec<(String, usize, Fault)>,
    log: Vec<Logged>,
    connections: usize,
}

pub(crate) struct Hub {
    state: Arc<Mutex<State>>,
    /// `http://127.0.0.1:PORT`
    pub(crate) endpoint: String,
}

/// The commit of the branch `main`.
pub(crate) const COMMIT: &str = "32bd64288804d66eefd0ccbe215aa642df71cc41";

impl Hub {
    pub(crate) fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        state.lock().unwrap().revisions.insert("main".into(), COMMIT.into());
        let [hub, storage] = ["hub", "storage"].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let endpoint = format!("http://{}", hub.local_addr().unwrap());
        // Another name and another port, as a storage has them.
        let storage_url = format!("http://localhost:{}", storage.local_addr().unwrap().port());
        for (name, listener) in [("hub", hub), ("storage", storage)] {
            let (state, storage_url) = (state.clone(), storage_url.clone());
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    state.lock().unwrap().connections += 1;
                    let (state, storage_url) = (state.clone(), storage_url.clone());
                    thread::spawn(move || serve(name, &stream, &state, &storage_url));
                }
            });
        }
        Self { state, endpoint }
    }

    pub(crate) fn add(&self, repository: &str, file: &str, content: &[u8], is_large: bool) {
        let mut state = self.state.lock().unwrap();
        let files = state.repositories.entry(repository.to_owned()).or_default();
        files.insert(file.to_owned(), RemoteFile { content: content.to_owned(), is_large });
    }

    pub(crate) fn add_revision(&self, name: &str, commit: &str) {
        self.state.lock().unwrap().revisions.insert(name.to_owned(), commit.to_owned());
    }

    /// The next `times` requests whose method and path contain `request` go wrong.
    pub(crate) fn fail(&self, request: &str, times: usize, fault: Fault) {
        self.state.lock().unwrap().faults.push((request.to_owned(), times, fault));
    }

    /// What has been asked since the last call.
    pub(crate) fn take_log(&self) -> Vec<Logged> {
        std::mem::take(&mut self.state.lock().unwrap().log)
    }

    /// How often anyone has connected, to either host.
    pub(crate) fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }
}

pub(crate) fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The ETag of a file that is not large: on the hub it is Git's hash of 40 digits.
pub(crate) fn small_etag(content: &[u8]) -> String {
    sha256(content)[..40].to_owned()
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn new(status: u16, headers: &[(&str, &str)]) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { status, headers, body: Vec::new() }
    }

    fn error(status: u16, code: &str) -> Self {
        Self::new(status, &[("X-Error-Code", code)])
    }
}

fn serve(host: &'static str, stream: &TcpStream, state: &Mutex<State>, storage: &str) {
    // Head and body are written one after the other, and neither should wait for the other's acknowledgement.
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(host, &mut reader) {
        let (answer, fault) = {
            let mut state = state.lock().unwrap();
            state.log.push(request.clone());
            let line = format!("{} {}", request.method, request.path);
            let fault =
                state.faults.iter_mut().find(|(text, times, _)| *times > 0 && line.contains(text.as_str()));
            let fault = fault.map(|(_, times, fault)| {
                *times -= 1;
                fault.clone()
            });
            (answer(&request, &state, storage, fault.as_ref()), fault)
        };
        if write_answer(stream, &request, answer, fault).is_none() {
            let _ = stream.shutdown(std::net::Shutdown::Both);
            return;
        }
    }
}

fn read_request(host: &'static str, reader: &mut BufReader<&TcpStream>) -> Option<Logged> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let header = |name: &str| {
        lines.iter().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    let mut words = lines.first()?.split(' ');
    Some(Logged {
        host,
        method: words.next()?.to_owned(),
        path: words.next()?.to_owned(),
        range: header("range"),
        authorization: header("authorization"),
    })
}

fn answer(request: &Logged, state: &State, storage: &str, fault: Option<&Fault>) -> Answer {
    if let Some(Fault::Answer(status, headers)) = fault {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        return Answer::new(*status, &headers);
    }
    let range = request.range.as_deref().filter(|_| !matches!(fault, Some(Fault::IgnoreRange)));
    if let Some(hash) = request.path.strip_prefix("/lfs/") {
        let all = state.repositories.values().flat_map(BTreeMap::values);
        let file = all.into_iter().find(|file| sha256(&file.content) == hash);
        // A storage has ETags of its own.
        return file
            .map_or_else(|| Answer::new(404, &[]), |file| content(&file.content, "storage-etag", range));
    }
    if let Some(path) = request.path.strip_prefix("/api/resolve-cache/") {
        let (repository, rest) = path.split_at(path.match_indices('/').nth(1).unwrap().0);
        let (commit, name) = rest[1..].split_once('/').unwrap();
        let file = &state.repositories[repository][name];
        let mut answer = content(&file.content, &small_etag(&file.content), range);
        answer.headers.push(("X-Repo-Commit".into(), commit.to_owned()));
        return answer;
    }
    let mut parts = request.path.trim_start_matches('/').splitn(5, '/');
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let repository = format!("{}/{}", part(), part());
    let (resolve, revision, name) = (part(), part().replace("%2F", "/"), part());
    let Some(files) = state.repositories.get(&repository).filter(|_| resolve == "resolve") else {
        // So the hub answers whoever has no token.
        return Answer::error(401, "RepoNotFound");
    };
    let is_commit = state.revisions.values().any(|commit| *commit == revision);
    let Some(commit) = state.revisions.get(&revision).or(is_commit.then_some(&revision)) else {
        return Answer::error(404, "RevisionNotFound");
    };
    let commit_header = [("X-Repo-Commit", commit.as_str())];
    let Some(file) = files.get(&name) else {
        let mut answer = Answer::new(404, &commit_header);
        answer.headers.push(("X-Error-Code".into(), "EntryNotFound".into()));
        return answer;
    };
    let (hash, size) = (sha256(&file.content), file.content.len().to_string());
    let mut answer = if file.is_large {
        let location = format!("{storage}/lfs/{hash}");
        let etag = format!("\"{hash}\"");
        Answer::new(302, &[("Location", &location), ("X-Linked-Size", &size), ("X-Linked-Etag", &etag)])
    } else {
        // The hub serves small files from a cache of its own, by a relative redirect.
        Answer::new(307, &[("Location", &format!("/api/resolve-cache/{repository}/{commit}/{name}"))])
    };
    answer.headers.push(("X-Repo-Commit".into(), commit.clone()));
    answer
}

/// A file, or the part of it that was asked for.
fn content(content: &[u8], etag: &str, range: Option<&str>) -> Answer {
    let start =
        range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let mut answer = Answer::new(200, &[("ETag", &format!("\"{etag}\"")), ("Accept-Ranges", "bytes")]);
    match start {
        None => answer.body = content.to_owned(),
        Some(start) if start < content.len() => {
            answer.status = 206;
            let range = format!("bytes {start}-{}/{}", content.len() - 1, content.len());
            answer.headers.push(("Content-Range".into(), range));
            answer.body = content[start..].to_owned();
        }
        Some(_) => {
            answer.status = 416;
            answer.headers.push(("Content-Range".into(), format!("bytes */{}", content.len())));
        }
    }
    answer
}

/// `None` if the connection is to be closed.
fn write_answer(
    mut stream: &TcpStream,
    request: &Logged,
    mut answer: Answer,
    fault: Option<Fault>,
) -> Option<()> {
    let len = answer.body.len();
    let mut kept = len;
    let (mut pieces, mut pause) = (1, Duration::ZERO);
    match fault {
        Some(Fault::Drop) => return None,
        Some(Fault::CutAfter(count)) => kept = count.min(len),
        Some(Fault::Corrupt) if len > 0 => answer.body[len / 2] ^= 1,
        Some(Fault::Slow(count, between)) => (pieces, pause) = (count, between),
        Some(Fault::Headers(headers)) => {
            for (name, value) in headers {
                answer.headers.retain(|(found, _)| !found.eq_ignore_ascii_case(name));
                answer.headers.push((name.to_owned(), value));
            }
        }
        _ => {}
    }
    let mut head = format!("HTTP/1.1 {} Status\r\nContent-Length: {len}\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
    if request.method == "HEAD" {
        return Some(());
    }
    for piece in answer.body[..kept].chunks(kept.div_ceil(pieces).max(1)) {
        stream.write_all(piece).ok()?;
        thread::sleep(pause);
    }
    (kept == len).then_some(())
}
