//! A hub that answers anything: raw HTTP answers one after the other, in the order of the requests.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use clip_features::hub::{Settings, Wanted, fetch};

use super::files::directory;

/// What stands between two answers of an input.
pub const BETWEEN: &[u8] = b"\n%%\n";

/// Answers that are still to be given, the next one last.
type Waiting = Mutex<Vec<Vec<u8>>>;

/// Where the answers of the current input wait, and the port that gives them.
static ANSWERS: LazyLock<(Arc<Waiting>, u16)> = LazyLock::new(|| {
    let answers = Arc::new(Mutex::new(Vec::new()));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let waiting = answers.clone();
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| answer(stream, &waiting)));
    (answers, port)
});

/// Answers one request, whatever it is, and hangs up.
fn answer(stream: TcpStream, waiting: &Waiting) {
    let mut lines = BufReader::new(&stream).lines();
    while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
    let answer = waiting.lock().expect("no panic").pop().unwrap_or_default();
    let _ = (&stream).write_all(&answer); // the client may have hung up first
}

pub fn run(data: &[u8]) {
    let (answers, port) = &*ANSWERS;
    let mut waiting = Vec::new();
    let mut rest = data;
    while let Some(end) = rest.windows(BETWEEN.len()).position(|bytes| bytes == BETWEEN) {
        waiting.push(rest[..end].to_vec());
        rest = &rest[end + BETWEEN.len()..];
    }
    waiting.push(rest.to_vec());
    waiting.reverse();
    *answers.lock().expect("no panic") = waiting;
    let cache = directory();
    let settings = Settings {
        cache: cache.path().to_owned(),
        endpoint: format!("http://127.0.0.1:{port}"),
        token: None,
        offline: false,
        symlinks: true,
        connect_timeout: Duration::from_secs(2),
        read_timeout: Duration::from_secs(2),
        tries: 1,
        first_pause: Duration::ZERO,
    };
    let (model, revision) = ("a/b".parse().expect("a name"), Default::default());
    let _ = fetch(&model, &revision, &settings, Wanted::Weights, &|_| {});
    // Whatever the answers name, all files are inside of the cache.
    let outside = cache.path().parent().expect("below another").join("models--a--b");
    assert!(!outside.exists());
}
