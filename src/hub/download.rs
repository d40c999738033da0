//! One blob: continued where it stopped, checked, and only then in the cache.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use ureq::{Body, http::Response};

use super::{
    Event, HubError,
    cache::{ModelCache, create_parent},
    http::{Failure, text},
    lock::BlobLock,
    remote::{Remote, RemoteFile, number},
    retry::Backoff,
};
use crate::model::{LARGEST_CONFIG, LARGEST_INDEX};

/// A file's bytes on their way into the cache.
struct Download<'a> {
    remote: &'a Remote<'a>,
    info: &'a RemoteFile,
    /// Its name in the repository.
    name: &'a str,
    path: PathBuf,
    /// Written at explicit positions, never appended to: should a file system's locks not hold, two writers write
    /// the same bytes to the same places.
    partial: File,
    /// How many bytes are there.
    have: u64,
    size: Option<u64>,
}

/// How one answer ended.
enum Outcome {
    /// All bytes are there.
    Whole,
    /// They cannot be continued; the next request asks for all.
    StartOver,
}

impl Remote<'_> {
    /// Puts a file's blob into the cache, unless it is there.
    pub(super) fn fetch_blob(
        &self,
        cache: &ModelCache,
        info: &RemoteFile,
        name: &str,
    ) -> Result<(), HubError> {
        if let Some(size) = info.size.filter(|&size| size > largest(name)) {
            return Err(self.too_large(name, size));
        }
        let blob = cache.blob(&info.etag);
        let is_there = || blob.metadata().is_ok_and(|found| info.size.is_none_or(|size| size == found.len()));
        if is_there() {
            return Ok(());
        }
        let _lock =
            BlobLock::acquire(&cache.lock(&info.etag), || (self.events)(Event::Waiting { file: name }))?;
        // The process that held the lock may have fetched it.
        if is_there() {
            return Ok(());
        }
        let path = cache.blob(&format!("{}.incomplete", info.etag));
        let io_error = |source| HubError::Io { path: path.clone(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let partial = create_parent(&path).and_then(|_| options.open(&path)).map_err(io_error)?;
        let have = partial.metadata().map_err(io_error)?.len();
        let mut download = Download {
            remote: self,
            info,
            name,
            path: path.clone(),
            partial,
            // What is longer than the file is not a part of it.
            have: if info.size.is_some_and(|size| have > size) { 0 } else { have },
            size: info.size,
        };
        let needed = info.size.unwrap_or(0).saturating_sub(download.have);
        // A file system that cannot say how much is free, or says nothing is, is given a try.
        if fs4::available_space(cache.root()).is_ok_and(|free| free > 0 && free < needed) {
            return Err(HubError::DiskFull { path, needed });
        }
        (self.events)(Event::Begin { file: name, size: info.size, have: download.have });
        download.run()?;
        download
            .partial
            .set_len(download.have)
            .and_then(|()| download.partial.sync_all())
            .map_err(io_error)?;
        match std::fs::rename(&path, &blob) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_there() => {}
            renamed => renamed.and_then(|()| sync_directory(&blob)).map_err(io_error)?,
        }
        (self.events)(Event::Done);
        Ok(())
    }
}

impl Remote<'_> {
    fn too_large(&self, name: &str, size: u64) -> HubError {
        HubError::TooLarge { model: self.model.clone(), file: name.to_owned(), size, limit: largest(name) }
    }
}

/// The most bytes that a file of this name can have: what is read whole has the reader's limit.
fn largest(name: &str) -> u64 {
    /// Of one file of weights. The hub itself takes no larger one.
    const LARGEST_WEIGHTS: u64 = 500_000_000_000;
    if name.ends_with(".index.json") {
        LARGEST_INDEX
    } else if name.ends_with(".json") {
        LARGEST_CONFIG
    } else {
        LARGEST_WEIGHTS
    }
}

impl Download<'_> {
    /// Fetches what is missing and checks the whole.
    fn run(&mut self) -> Result<(), HubError> {
        let mut is_continued = self.have > 0;
        loop {
            self.transfer()?;
            let Some(expected) = self.info.sha256() else { return Ok(()) };
            (self.remote.events)(Event::Verify);
            let got = self.sha256().map_err(|source| HubError::Io { path: self.path.clone(), source })?;
            if got.eq_ignore_ascii_case(expected) {
                return Ok(());
            }
            if !is_continued {
                return Err(self.damaged("SHA-256", expected.to_owned(), got));
            }
            // The part that an earlier run left may be to blame, for instance after a power loss.
            is_continued = false;
            self.have = 0;
            (self.remote.events)(Event::Received { have: 0 });
        }
    }

    fn transfer(&mut self) -> Result<(), HubError> {
        let mut backoff = Backoff::new(self.remote.settings);
        let url = self.remote.client.resolve_url(self.remote.model.as_str(), &self.info.commit, self.name);
        while self.size != Some(self.have) || self.have == 0 {
            let before = self.have;
            let received = match self.remote.client.get(&url, self.have) {
                Ok((response, host)) => self.receive(response, &host)?,
                Err(failure) => Err(failure),
            };
            match received {
                Ok(Outcome::Whole) => return Ok(()),
                Ok(Outcome::StartOver) => {
                    self.have = 0;
                    (self.remote.events)(Event::Received { have: 0 });
                }
                Err(failure) => {
                    if self.have > before {
                        backoff.reset();
                    }
                    self.remote.pause(failure, &mut backoff, self.name)?;
                }
            }
        }
        Ok(())
    }

    /// Reads one answer into the partial file.
    fn receive(
        &mut self,
        response: Response<Body>,
        host: &str,
    ) -> Result<Result<Outcome, Failure>, HubError> {
        let total = match response.status().as_u16() {
            206 => match content_range(&response) {
                Some((start, total)) if start == self.have => total,
                _ if self.have == 0 => {
                    return Ok(Err(nonsense(host, "a part of the file that was not asked for")));
                }
                _ => return Ok(Ok(Outcome::StartOver)),
            },
            200 => {
                // The server knows no ranges, and sends it all.
                self.have = 0;
                (self.remote.events)(Event::Received { have: 0 });
                number(&response, "content-length")
            }
            416 if self.have > 0 => return Ok(Ok(Outcome::StartOver)),
            _ => {
                let refusal = self.remote.refusal(&response, self.name, host);
                return refusal
                    .map_or_else(|| Ok(Err(nonsense(host, "the file is listed, but cannot be had"))), Err);
            }
        };
        if let (Some(expected), Some(total)) = (self.info.size, total)
            && expected != total
        {
            return Err(self.damaged("size", expected.to_string(), total.to_string()));
        }
        self.size = self.info.size.or(total);
        let write_error = |download: &Self, error: io::Error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => HubError::DiskFull {
                path: download.path.clone(),
                needed: download.size.unwrap_or(0).saturating_sub(download.have),
            },
            _ => HubError::Io { path: download.path.clone(), source: error },
        };
        self.partial.seek(SeekFrom::Start(self.have)).map_err(|error| write_error(self, error))?;
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0u8; 1 << 18];
        loop {
            let count = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => {
                    let reason = match error.kind() {
                        io::ErrorKind::UnexpectedEof => "the connection broke".to_owned(),
                        _ => error.to_string(),
                    };
                    return Ok(Err(Failure::Transient { host: host.to_owned(), reason, after: None }));
                }
            };
            if self.size.is_some_and(|size| self.have + count as u64 > size) {
                let expected = self.size.unwrap_or(0).to_string();
                return Err(self.damaged("size", expected, format!("more than {}", self.have)));
            }
            // Where no size was announced, this is what bounds it.
            if self.have + count as u64 > largest(self.name) {
                let _ = std::fs::remove_file(&self.path);
                return Err(self.remote.too_large(self.name, self.have + count as u64));
            }
            self.partial.write_all(&buffer[..count]).map_err(|error| write_error(self, error))?;
            self.have += count as u64;
            (self.remote.events)(Event::Received { have: self.have });
        }
        if self.size.is_none_or(|size| size == self.have) {
            Ok(Ok(Outcome::Whole))
        } else {
            let reason = "the connection broke".to_owned();
            Ok(Err(Failure::Transient { host: host.to_owned(), reason, after: None }))
        }
    }

    /// Of the bytes on disk, not of those that were received: what is checked is what will be used.
    fn sha256(&mut self) -> io::Result<String> {
        self.partial.seek(SeekFrom::Start(0))?;
        let mut hasher = Sha256::new();
        io::copy(&mut (&self.partial).take(self.have), &mut hasher)?;
        Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// What has arrived is useless: it is removed.
    fn damaged(&self, property: &'static str, expected: String, got: String) -> HubError {
        // Should it stay, the next run finds it damaged again and starts over.
        let _ = std::fs::remove_file(&self.path);
        let (model, file) = (self.remote.model.clone(), self.name.to_owned());
        HubError::Damaged { model, file, property, expected, got }
    }
}

fn nonsense(host: &str, reason: &str) -> Failure {
    Failure::Nonsense { host: host.to_owned(), reason: reason.to_owned() }
}

/// The first byte's position and the whole's size in `Content-Range: bytes 100-199/200`.
fn content_range(response: &Response<Body>) -> Option<(u64, Option<u64>)> {
    let (range, total) = text(response, "content-range")?.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.trim().parse().ok()?, total.trim().parse().ok()))
}

/// Makes a rename last through a power loss.
#[cfg(unix)]
fn sync_directory(file: &Path) -> io::Result<()> {
    File::open(file.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}
