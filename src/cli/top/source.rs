//! [`Source`]: fetches the figures from the server.

use std::time::Duration;

use anyhow::bail;
use reqwest::{Client, StatusCode, Url};

use crate::cli::api;
use rookery_server::rooms::ranking::SortBy;

/// How long the server may take to respond: its own timeout for the other instances is 5 s.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Fetches the figures from a server's HTTP API. Clones share the connection pool.
#[derive(Clone)]
pub(super) struct Source {
    client: Client,
    url: Url,
    key: Option<String>,
    namespace: Option<String>,
    limit: usize,
}

/// The server refuses access: another request would fail, too.
#[derive(Debug, thiserror::Error)]
#[error("refused by the server: {0}; set an API key with --key or ROOKERY_KEY")]
pub(super) struct Refused(String);

impl Source {
    /// A source for at most `limit` rooms, from the API at `url`.
    ///
    /// # Errors
    /// When TLS cannot be initialized.
    pub fn new(
        url: Url,
        key: Option<String>,
        namespace: Option<String>,
        limit: usize,
    ) -> anyhow::Result<Self> {
        let client = Client::builder().timeout(TIMEOUT).build()?;
        Ok(Source { client, url, key, namespace, limit })
    }

    /// Fetches the rooms: a JSON document on one line.
    ///
    /// # Errors
    /// [`Refused`], or the reason why there is no response.
    pub async fn fetch(&self, sort: SortBy) -> anyhow::Result<String> {
        let mut url = self.url.join("/api/latency")?;
        let sort = match sort {
            SortBy::P99 => "p99",
            SortBy::Rate => "rate",
            SortBy::Members => "members",
        };
        url.query_pairs_mut()
            .append_pair("sort", sort)
            .append_pair("limit", &self.limit.to_string())
            .extend_pairs(self.namespace.as_deref().map(|name| ("namespace", name)));
        let mut request = self.client.get(url);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let response = request.send().await.map_err(|error| self.failure(&error))?;
        let status = response.status();
        let body = response.text().await.map_err(|error| self.failure(&error))?;
        if status.is_success() {
            return Ok(body);
        }
        let message = api::problem(status.as_u16(), &body);
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Refused(message).into()),
            _ => bail!("refused by the server: {message}"),
        }
    }

    fn failure(&self, error: &reqwest::Error) -> anyhow::Error {
        let url = &self.url;
        if error.is_timeout() {
            anyhow::anyhow!("no response from {url} within {} s", TIMEOUT.as_secs())
        } else if error.is_connect() {
            api::unreachable(url)
        } else {
            anyhow::anyhow!("the response from {url} broke off: {error}")
        }
    }
}
