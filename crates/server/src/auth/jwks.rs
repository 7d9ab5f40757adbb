//! [`Jwks`]: the issuer's key set, fetched over HTTP and kept up to date.

use std::sync::Arc;
use std::time::Duration;

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
    /// How long the keys stay in use after the last fetch that succeeded.
    max_age: Duration,
    timing: Timing,
    state: watch::Sender<State>,
    /// Wakes `run` to fetch before its time.
    fetch_now: Notify,
}

struct State {
    /// The keys of the last successful fetch.
    keys: Arc<KeySet>,
    /// When the last fetch that succeeded began; `None` before the first.
    fetched: Option<Instant>,
    /// Whether it has been logged that the keys are too old.
    stale_logged: bool,
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
    pub(super) fn new(url: &str, max_age: Duration, timing: Timing) -> Result<Self, String> {
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
            fetched: None,
            stale_logged: false,
            failed: false,
            pending: false,
            completed: 0,
            requested: None,
        };
        let (state, fetch_now) = (watch::Sender::new(state), Notify::new());
        Ok(Jwks { url, client, max_age, timing, state, fetch_now })
    }

    /// Fetches at once and, until that has succeeded, every second; then every five minutes, or
    /// three times in `max_age` if that is more often, and when a token's key is unknown. While the
    /// keys are too old, it fetches every second again.
    pub(super) async fn run(&self, cancel: CancellationToken) {
        let fetching = async {
            loop {
                self.state.send_modify(|state| state.pending = true);
                // This fetch serves every request made so far.
                let _ = self.fetch_now.notified().now_or_never();
                let began = Instant::now();
                let fetched = self.fetch().await;
                self.state.send_modify(|state| {
                    state.complete(fetched, began);
                    state.log_stale(self.max_age);
                });
                tokio::select! {
                    () = sleep(self.pause()) => {}
                    () = self.fetch_now.notified() => {}
                }
            }
        };
        cancel.run_until_cancelled(fetching).await;
    }

    /// The time until the next fetch: also when the keys become too old.
    fn pause(&self) -> Duration {
        match self.age().and_then(|age| self.max_age.checked_sub(age)) {
            Some(rest) if !rest.is_zero() => rest.min(self.max_age / 3).min(self.timing.refresh),
            _ => self.timing.first_fetch,
        }
    }

    /// Whether a key set has been fetched, however long ago: the other instances are probably no
    /// better off, and sessions that are open do not need the keys.
    pub(super) fn is_ready(&self) -> bool {
        self.age().is_some()
    }

    /// The time since the last fetch that succeeded; `None` before the first.
    pub(super) fn age(&self) -> Option<Duration> {
        self.state.borrow().fetched.map(|at| at.elapsed())
    }

    /// Whether the keys are too old to be used.
    pub(super) fn is_stale(&self) -> bool {
        self.state.borrow().is_stale(self.max_age)
    }

    /// The last key set that was fetched; empty before the first, and while it is too old.
    pub(super) fn keys(&self) -> Arc<KeySet> {
        let state = self.state.borrow();
        if state.is_stale(self.max_age) { Arc::default() } else { state.keys.clone() }
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
    fn is_stale(&self, max_age: Duration) -> bool {
        self.fetched.is_some_and(|at| at.elapsed() >= max_age)
    }

    fn log_stale(&mut self, max_age: Duration) {
        if self.is_stale(max_age) && !self.stale_logged {
            self.stale_logged = true;
            tracing::warn!(
                seconds = max_age.as_secs_f64(),
                "the key set of auth.jwt.jwksUrl is too old; tokens are refused"
            );
        }
    }

    fn complete(&mut self, fetched: Result<KeySet, String>, began: Instant) {
        (self.pending, self.completed) = (false, self.completed + 1);
        match fetched {
            Ok(keys) => {
                if keys.len() == 0 {
                    tracing::warn!("the key set of auth.jwt.jwksUrl holds no usable key");
                }
                if self.fetched.is_none() || self.failed {
                    tracing::info!(keys = keys.len(), "fetched the key set of auth.jwt.jwksUrl");
                }
                self.failed = false;
                (self.keys, self.fetched) = (Arc::new(keys), Some(began));
                self.stale_logged = false;
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
