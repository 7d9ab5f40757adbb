//! [`Source`]: asks the server.

use std::time::Duration;

use anyhow::bail;
use reqwest::{Client, StatusCode, Url};

use crate::cli::pub_::problem;
use rookery_server::rooms::waits::SortBy;

/// How long the server may take: its own deadline for the other instances is 5 s.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where the figures come from. Cloning is shallow.
#[derive(Clone)]
pub(super) struct Source {
    client: Client,
    api: Url,
    key: Option<String>,
    namespace: Option<String>,
    limit: usize,
}

/// The server does not let us in: asking again will not help.
#[derive(Debug, thiserror::Error)]
#[error("refused by the server: {0}; name an API key with --key, or in ROOKERY_KEY")]
pub(super) struct Refused(String);

impl Source {
    /// Asks the API at `api`.
    ///
    /// # Errors
    /// Where no client can be made.
    pub fn new(
        api: Url,
        key: Option<String>,
        namespace: Option<String>,
        limit: usize,
    ) -> anyhow::Result<Self> {
        let client = Client::builder().timeout(TIMEOUT).build()?;
        Ok(Source { client, api, key, namespace, limit })
    }

    /// The body of the answer: a JSON document in one line.
    ///
    /// # Errors
    /// [`Refused`], or why there is no answer.
    pub async fn ask(&self, sort: SortBy) -> anyhow::Result<String> {
        let mut url = self.api.join("/api/latency")?;
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
        let response = request.send().await.map_err(|error| self.away(&error))?;
        let status = response.status();
        let body = response.text().await.map_err(|error| self.away(&error))?;
        if status.is_success() {
            return Ok(body);
        }
        let said = problem(status.as_u16(), &body);
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Refused(said).into()),
            _ => bail!("refused by the server: {said}"),
        }
    }

    fn away(&self, error: &reqwest::Error) -> anyhow::Error {
        let api = &self.api;
        if error.is_timeout() {
            anyhow::anyhow!("no answer from {api} within {} s", TIMEOUT.as_secs())
        } else if error.is_connect() {
            anyhow::anyhow!(
                "no server at {api}; start one with `rookery serve`, or name its internal address \
                 with --api"
            )
        } else {
            anyhow::anyhow!("the answer from {api} broke off: {error}")
        }
    }
}
