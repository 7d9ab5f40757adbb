//! [`Jwks`]: the issuer's key set, fetched over HTTP and kept up to date.

use std::sync::Arc;

use futures_util::FutureExt;
use reqwest::{Client, StatusCode, Url, redirect};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::keys::KeySet;
use super::timing::Timing;

/// The largest key set, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// The most redirects that a fetch follows.
const MAX_REDIRECTS: usize = 3;

/// The key set at a URL. A single task fetches it, so there is never more than one fetch at a time,
/// and a client that disconnects does not cancel one.
pub(super) struct Jwks {
    url: Url,
    client: Client,
    timing: Timing,
    state: watch::Sender<State>,
    /// Wakes `run` to fetch before its time.
    fetch_now: Notify,
}

struct State {
    /// The keys of the last successful fetch.
    keys: Arc<KeySet>,
    /// Whether any fetch has succeeded.
    ready: bool,
    /// Whether the last fetch failed. Only the first of several failures is a warning.
    failed: bool,
    /// Whether a fetch is in progress or requested.
    pending: bool,
    /// The number of fetches that have completed.
    completed: u64,
    /// When an unknown key last requested a fetch.
    requested: Option<Instant>,
}

impl Jwks {
    /// Prepares to fetch from `url`, which [`Jwks::run`] does.
    ///
    /// # Errors
    /// Fails if `url` is not an HTTP URL.
    pub(super) fn new(url: &str, timing: Timing) -> Result<Self, String> {
        let url = Url::parse(url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or("expected a URL such as https://issuer.example/.well-known/jwks.json")?;
        let client = Client::builder()
            .timeout(timing.fetch_timeout)
            .https_only(url.scheme() == "https")
            .redirect(redirect::Policy::limited(MAX_REDIRECTS))
            .build()
            .map_err(|error| format!("cannot create an HTTP client: {error}"))?;
        let state = State {
            keys: Arc::default(),
            ready: false,
            failed: false,
            pending: false,
            completed: 0,
            requested: None,
        };
        Ok(Jwks { url, client, timing, state: watch::Sender::new(state), fetch_now: Notify::new() })
    }

    /// Fetches at once and, until that has succeeded, every second; then every five minutes, and
    /// when a token's key is unknown.
    pub(super) async fn run(&self, cancel: CancellationToken) {
        let fetching = async {
            loop {
                self.state.send_modify(|state| state.pending = true);
                // This fetch serves every request made so far.
                let _ = self.fetch_now.notified().now_or_never();
                let fetched = self.fetch().await;
                self.state.send_modify(|state| state.complete(fetched));
                let pause =
                    if self.is_ready() { self.timing.refresh } else { self.timing.first_fetch };
                tokio::select! {
                    () = sleep(pause) => {}
                    () = self.fetch_now.notified() => {}
                }
            }
        };
        cancel.run_until_cancelled(fetching).await;
    }

    /// Whether a key set has been fetched.
    pub(super) fn is_ready(&self) -> bool {
        self.state.borrow().ready
    }

    /// The last key set that was fetched; empty before the first.
    pub(super) fn keys(&self) -> Arc<KeySet> {
        self.state.borrow().keys.clone()
    }

    /// Requests a fetch for an unknown key and waits until it, or the one in progress, has completed,
    /// which requires [`Jwks::run`]. Returns false at once if unknown keys have requested a fetch too
    /// recently.
    pub(super) async fn fetch_for_unknown_key(&self) -> bool {
        let (mut waits, mut completed) = (false, 0);
        let requests = self.state.send_if_modified(|state| {
            let due = state.requested.is_none_or(|at| at.elapsed() >= self.timing.unknown_key);
            (waits, completed) = (state.pending || due, state.completed);
            let requests = due && !state.pending;
            if requests {
                (state.pending, state.requested) = (true, Some(Instant::now()));
            }
            requests
        });
        if requests {
            self.fetch_now.notify_one();
        }
        waits && self.state.subscribe().wait_for(|state| state.completed != completed).await.is_ok()
    }

    async fn fetch(&self) -> Result<KeySet, String> {
        let request = self.client.get(self.url.clone()).send();
        let mut response = request.await.map_err(describe)?;
        if response.status() != StatusCode::OK {
            return Err(format!("the issuer answered {}", response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(describe)? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(format!("the issuer's answer is larger than {MAX_BYTES} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        KeySet::jwks(&body)
    }
}

impl State {
    fn complete(&mut self, fetched: Result<KeySet, String>) {
        (self.pending, self.completed) = (false, self.completed + 1);
        match fetched {
            Ok(keys) => {
                if keys.len() == 0 {
                    tracing::warn!("the key set of auth.jwt.jwksUrl holds no usable key");
                }
                if !self.ready || self.failed {
                    tracing::info!(keys = keys.len(), "fetched the key set of auth.jwt.jwksUrl");
                }
                self.failed = false;
                (self.keys, self.ready) = (Arc::new(keys), true);
            }
            Err(error) if self.failed => {
                tracing::debug!(error, "cannot fetch auth.jwt.jwksUrl, again");
            }
            Err(error) => {
                self.failed = true;
                tracing::warn!(
                    error,
                    "cannot fetch auth.jwt.jwksUrl; the previous keys stay in use"
                );
            }
        }
    }
}

/// The error and its causes, without the URL, which may hold a password.
fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests;
