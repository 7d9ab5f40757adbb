//! [`Jwks`]: the issuer's key set, fetched and kept fresh.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use reqwest::{Client, StatusCode, Url, redirect};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Timing;
use super::keys::KeySet;

/// The largest key set.
const MAX_BYTES: usize = 1 << 20;

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 3;

/// A key set behind a URL. One task fetches, so there is never more than one fetch at a time and
/// no client that goes away breaks one off.
pub(super) struct Jwks {
    url: Url,
    client: Client,
    timing: Timing,
    state: watch::Sender<State>,
    wanted: Notify,
}

struct State {
    keys: Arc<KeySet>,
    ready: bool,
    /// Whether the last fetch failed, of which one line tells.
    failed: bool,
    /// Whether a fetch is under way or asked for.
    open: bool,
    /// How many fetches have ended.
    ended: u64,
    /// When an unknown key was last the reason for one.
    asked: Option<Instant>,
}

/// How often the first key set is asked for until it is there.
const FIRST: Duration = Duration::from_secs(1);

impl Jwks {
    /// Prepares to fetch from `url`; `run` does it.
    ///
    /// # Errors
    /// It is no HTTP URL.
    pub(super) fn new(url: &str, timing: Timing) -> Result<Self, String> {
        let url = Url::parse(url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or("expected a URL such as https://issuer.example/.well-known/jwks.json")?;
        let client = Client::builder()
            .timeout(timing.fetch)
            .https_only(url.scheme() == "https")
            .redirect(redirect::Policy::limited(MAX_REDIRECTS))
            .build()
            .map_err(|error| format!("no HTTP client could be made: {error}"))?;
        let state = State {
            keys: Arc::default(),
            ready: false,
            failed: false,
            open: false,
            ended: 0,
            asked: None,
        };
        Ok(Jwks { url, client, timing, state: watch::Sender::new(state), wanted: Notify::new() })
    }

    /// Fetches at once, then every five minutes (until the first set is here, every ten seconds)
    /// and when a key is not known.
    pub(super) async fn run(&self, cancel: CancellationToken) {
        let fetching = async {
            loop {
                self.state.send_modify(|state| state.open = true);
                // Whoever asked until now is served by this fetch.
                let _ = self.wanted.notified().now_or_never();
                let fetched = self.fetch().await;
                self.state.send_modify(|state| state.end(fetched));
                let pause = if self.is_ready() {
                    self.timing.refresh
                } else {
                    self.timing.retry.min(FIRST)
                };
                tokio::select! {
                    () = sleep(pause) => {}
                    () = self.wanted.notified() => {}
                }
            }
        };
        cancel.run_until_cancelled(fetching).await;
    }

    /// Whether a key set has ever been fetched.
    pub(super) fn is_ready(&self) -> bool {
        self.state.borrow().ready
    }

    /// The last key set.
    pub(super) fn keys(&self) -> Arc<KeySet> {
        self.state.borrow().keys.clone()
    }

    /// Has the key set fetched because of a key that is not known, and waits until that, or the
    /// fetch that is under way, has ended; without `run` that is never. False at once, where the
    /// last time is too short ago.
    pub(super) async fn fetch_for_unknown_key(&self) -> bool {
        let (mut waits, mut ended) = (false, 0);
        let asks = self.state.send_if_modified(|state| {
            let due = state.asked.is_none_or(|at| at.elapsed() >= self.timing.retry);
            (waits, ended) = (state.open || due, state.ended);
            let asks = due && !state.open;
            if asks {
                (state.open, state.asked) = (true, Some(Instant::now()));
            }
            asks
        });
        if asks {
            self.wanted.notify_one();
        }
        waits && self.state.subscribe().wait_for(|state| state.ended != ended).await.is_ok()
    }

    async fn fetch(&self) -> Result<KeySet, String> {
        let request = self.client.get(self.url.clone()).send();
        let mut response = request.await.map_err(told)?;
        if response.status() != StatusCode::OK {
            return Err(format!("the answer is {}", response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(told)? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(format!("the answer is larger than {MAX_BYTES} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        KeySet::jwks(&body)
    }
}

impl State {
    fn end(&mut self, fetched: Result<KeySet, String>) {
        (self.open, self.ended) = (false, self.ended + 1);
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
                tracing::warn!(error, "cannot fetch auth.jwt.jwksUrl; the keys before stay");
            }
        }
    }
}

/// An error with its causes, without the URL, which may hold a password.
fn told(error: reqwest::Error) -> String {
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
