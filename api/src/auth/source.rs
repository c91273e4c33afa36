//! Where an issuer's keys come from, and when they are asked for again.
//!
//! Keys are kept until a refresh that succeeds drops them: an issuer that is down for an hour locks nobody out. They are refreshed once
//! an hour, so that a withdrawn key is gone by then, and when a token names a key that is not among them, so that a new key works at once;
//! but never more than once in ten seconds, since anybody can send a token that names a key which nobody has. One request refreshes,
//! the others go on with the keys they have or, lacking the one they need, wait for it.

use super::keys::{KeySet, NotAKeySet, RefusedKey};
use reqwest::{Client, Url, redirect};
use serde::Deserialize;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex;

/// Keys older than this are fetched again when they are next needed.
pub const GREATEST_AGE: Duration = Duration::from_secs(3600);
/// At most one attempt in this time, whatever tokens are sent.
pub const LEAST_INTERVAL: Duration = Duration::from_secs(10);
/// The time that one request to an issuer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The most that is read of an issuer's document.
const GREATEST_DOCUMENT: usize = 1024 * 1024;

/// Where the keys of an issuer are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// OpenID Connect Discovery: `{issuer}/.well-known/openid-configuration` names the `jwks_uri`.
    Discovery,
    /// A JWK set in a file, read again when the file has changed.
    File(PathBuf),
}

/// Why keys could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The issuer does not answer, or not with success.
    #[error("{0} cannot be fetched")]
    Http(Url, #[source] reqwest::Error),
    /// It answers more than could be a document of this kind.
    #[error("{0} is larger than 1 MiB")]
    TooLarge(Url),
    /// Its discovery document cannot be read.
    #[error("{0} is no discovery document")]
    Document(Url, #[source] serde_json::Error),
    /// The document is another issuer's: somebody is mistaken, or somebody is lying.
    #[error("the discovery document is that of {0:?}")]
    OtherIssuer(String),
    /// Tokens and keys must not cross a network in the clear.
    #[error("{0:?} is neither https nor a loopback address")]
    Insecure(String),
    /// The file cannot be read.
    #[error("{path} cannot be read", path = .0.display())]
    File(PathBuf, #[source] io::Error),
    /// What was fetched is no JWK set.
    #[error(transparent)]
    Keys(#[from] NotAKeySet),
}

/// There are no keys of this issuer yet, and they cannot be had now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the issuer's keys cannot be had")]
pub struct Unavailable;

/// The keys of one issuer, as they are now.
pub struct IssuerKeys {
    issuer: String,
    source: KeySource,
    http: Client,
    held: RwLock<Option<Held>>,
    /// Held by the one request that refreshes.
    attempted: Mutex<Attempt>,
}

#[derive(Clone)]
struct Held {
    keys: Arc<KeySet>,
    since: SystemTime,
}

#[derive(Default)]
struct Attempt {
    at: Option<SystemTime>,
    /// The file as it was at the last attempt, whether or not that one succeeded.
    file: Option<FileState>,
}

/// What tells a changed file from an unchanged one.
#[derive(Debug, Clone, PartialEq, Eq)]
enum FileState {
    Missing,
    Present { inode: u64, length: u64, modified: (i64, i64), changed: (i64, i64) },
}

/// The client with which issuers are asked: no redirects, short time-outs.
///
/// # Errors
/// When the TLS library cannot be initialised.
pub fn http_client() -> reqwest::Result<Client> {
    Client::builder().redirect(redirect::Policy::none()).timeout(TIMEOUT).connect_timeout(TIMEOUT / 2).build()
}

impl IssuerKeys {
    /// Nothing is fetched yet; the first token does that.
    pub fn new(issuer: String, source: KeySource, http: Client) -> Self {
        Self { issuer, source, http, held: RwLock::new(None), attempted: Mutex::default() }
    }

    /// The keys for a token that has just arrived, refreshed if they are due.
    ///
    /// # Errors
    /// [`Unavailable`] while there never were any.
    pub async fn current(&self, now: SystemTime) -> Result<Arc<KeySet>, Unavailable> {
        let held = self.held();
        let due = match (&self.source, &held) {
            (_, None) => true,
            // A look at the file costs microseconds; whoever takes a key out of it expects that to hold from now on.
            (KeySource::File(_), Some(_)) => true,
            (KeySource::Discovery, Some(held)) => elapsed(held.since, now) >= GREATEST_AGE,
        };
        match held {
            Some(held) if !due => Ok(held.keys),
            Some(held) => {
                // Somebody else is at it: these keys were good a moment ago.
                if let Ok(attempt) = self.attempted.try_lock() {
                    self.attempt(attempt, now).await;
                    return self.held().map(|held| held.keys).ok_or(Unavailable);
                }
                Ok(held.keys)
            }
            None => {
                let attempt = self.attempted.lock().await;
                if self.held().is_none() {
                    self.attempt(attempt, now).await;
                }
                self.held().map(|held| held.keys).ok_or(Unavailable)
            }
        }
    }

    /// The keys for a token whose key is not among `known`: fetched again if that is allowed now, otherwise the newest there are.
    pub async fn refreshed(&self, known: &Arc<KeySet>, now: SystemTime) -> Arc<KeySet> {
        let attempt = self.attempted.lock().await;
        let newest = |keys: &Self| keys.held().map_or_else(|| Arc::clone(known), |held| held.keys);
        let held = newest(self);
        if !Arc::ptr_eq(&held, known) {
            return held;
        }
        self.attempt(attempt, now).await;
        newest(self)
    }

    fn held(&self) -> Option<Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fetches, unless it is too early or the file is the same; what fails leaves the keys as they are.
    async fn attempt(&self, mut attempt: tokio::sync::MutexGuard<'_, Attempt>, now: SystemTime) {
        let fetched = match &self.source {
            KeySource::File(path) => {
                let state = Some(file_state(path));
                if state == attempt.file {
                    return;
                }
                attempt.file = state;
                read_file(path)
            }
            KeySource::Discovery => {
                if attempt.at.is_some_and(|at| elapsed(at, now) < LEAST_INTERVAL) {
                    return;
                }
                // Before the request: one that is cancelled with its caller counts, too.
                attempt.at = Some(now);
                discover(&self.http, &self.issuer).await
            }
        };
        match fetched.and_then(|json| Ok(KeySet::parse(&json)?)) {
            Ok((keys, refused)) => {
                for RefusedKey { kid, reason } in refused {
                    tracing::debug!(issuer = self.issuer, kid, %reason, "left out a key of issuer {}: {reason}", self.issuer);
                }
                if keys.is_empty() {
                    tracing::warn!(issuer = self.issuer, "issuer {} has no key that can be used: its tokens are refused", self.issuer);
                }
                let held = Held { keys: Arc::new(keys), since: now };
                *self.held.write().unwrap_or_else(PoisonError::into_inner) = Some(held);
            }
            Err(error) => {
                let cause: &dyn std::error::Error = &error;
                tracing::warn!(issuer = self.issuer, cause, "could not refresh the keys of issuer {}: {error}", self.issuer);
            }
        }
    }
}

/// The time since `then`. A clock that was set back makes it endless, so that keys are refreshed rather than kept for too long.
fn elapsed(then: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(then).unwrap_or(Duration::MAX)
}

fn file_state(path: &Path) -> FileState {
    fs::metadata(path).map_or(FileState::Missing, |metadata| FileState::Present {
        inode: metadata.ino(),
        length: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

fn read_file(path: &Path) -> Result<Vec<u8>, FetchError> {
    fs::read(path).map_err(|error| FetchError::File(path.to_owned(), error))
}

/// OpenID Connect Discovery 1.0, section 4.
async fn discover(http: &Client, issuer: &str) -> Result<Vec<u8>, FetchError> {
    #[derive(Deserialize)]
    struct Document {
        issuer: String,
        jwks_uri: String,
    }
    let url = secure(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/')))?;
    let document: Document = serde_json::from_slice(&get(http, &url).await?).map_err(|error| FetchError::Document(url, error))?;
    if document.issuer != issuer {
        return Err(FetchError::OtherIssuer(document.issuer));
    }
    get(http, &secure(&document.jwks_uri)?).await
}

/// An address from which keys may be fetched.
pub(super) fn secure(text: &str) -> Result<Url, FetchError> {
    let insecure = || FetchError::Insecure(text.to_owned());
    let url = Url::parse(text).map_err(|_| insecure())?;
    let loopback = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
    if url.scheme() == "https" || (url.scheme() == "http" && loopback) { Ok(url) } else { Err(insecure()) }
}

async fn get(http: &Client, url: &Url) -> Result<Vec<u8>, FetchError> {
    let failed = |error| FetchError::Http(url.clone(), error);
    let mut response = http.get(url.clone()).send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > GREATEST_DOCUMENT {
            return Err(FetchError::TooLarge(url.clone()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_tls_or_from_this_machine() {
        for good in ["https://id.example/keys", "http://127.0.0.1:8080/keys", "http://localhost/keys", "http://[::1]:1/keys"] {
            assert!(secure(good).is_ok(), "{good}");
        }
        for bad in ["http://id.example/keys", "http://127.0.0.1.example/keys", "ftp://127.0.0.1/", "file:///etc/passwd", "keys", ""] {
            assert!(matches!(secure(bad), Err(FetchError::Insecure(_))), "{bad}");
        }
    }
}
