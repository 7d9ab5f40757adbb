//! [`HttpClient`]: posts signed requests to the backend, and reads bounded responses.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::header;
use reqwest::{Certificate, Client, Response, Url, redirect};
use rookery_config::files::{read_authorities, read_signing_key};
use rookery_config::{self as config};

use super::failure::Failure;
use super::signature::SigningKey;

/// The header with the id of what a request tells of: the same in each attempt.
const EVENT_ID: &str = "Rookery-Event-Id";

/// The header with the signature.
const SIGNATURE: &str = "Rookery-Signature";

/// How long an idle connection is kept: less than servers keep theirs (Node 5 s), so that no request
/// is sent on one that is being closed.
const IDLE: Duration = Duration::from_secs(4);

/// Why the backend cannot be called at all.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// `backend.url` is not a URL.
    #[error("`backend.url` is not an http:// or https:// URL")]
    Url,
    /// A file cannot be read.
    #[error("`{key}` names {file}, which cannot be used: {error}")]
    File {
        /// The key of the configuration.
        key: &'static str,
        /// The file's path.
        file: String,
        /// What is wrong.
        error: String,
    },
    /// The HTTP client cannot be made.
    #[error("cannot create an HTTP client for `backend.url`: {0}")]
    Client(#[source] reqwest::Error),
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Post<'a> {
    /// The value of `Rookery-Event-Id`.
    pub id: &'a str,
    /// The value of `traceparent`.
    pub traceparent: &'a str,
    /// The body, JSON.
    pub body: &'a Bytes,
    /// How long the whole call may take.
    pub timeout: Duration,
}

/// Posts to the backend over HTTP/1.1 with keep-alive or, where TLS negotiates it, HTTP/2. Redirects
/// are not followed.
#[derive(Debug)]
pub struct HttpClient {
    client: Client,
    url: Url,
    key: ArcSwapOption<SigningKey>,
    max_reply: usize,
}

impl HttpClient {
    /// The client for a configured backend. Reads its files. Blocking I/O.
    ///
    /// # Errors
    /// See [`BackendError`].
    pub fn new(config: &config::Backend) -> Result<Self, BackendError> {
        let url = Url::parse(&config.url).map_err(|_| BackendError::Url)?;
        let mut builder = Client::builder()
            .redirect(redirect::Policy::none())
            .referer(false)
            .https_only(url.scheme() == "https")
            .pool_idle_timeout(IDLE)
            .tcp_nodelay(true)
            .user_agent(concat!("rookery/", env!("CARGO_PKG_VERSION")));
        if let Some(file) = &config.ca_file {
            builder = builder.tls_certs_only(authorities(file)?);
        }
        let key = config.signing_key_file.as_deref().map(signing_key).transpose()?;
        Ok(HttpClient {
            client: builder.build().map_err(BackendError::Client)?,
            url,
            key: ArcSwapOption::new(key.map(Arc::new)),
            max_reply: config.max_reply.bytes(),
        })
    }

    /// Signs with another key from now on.
    pub fn set_key(&self, key: SigningKey) {
        self.key.store(Some(Arc::new(key)));
    }

    /// Posts and reads the response's body.
    ///
    /// # Errors
    /// [`Failure::Timeout`], [`Failure::Unreachable`], [`Failure::Status`] or [`Failure::TooLarge`].
    pub async fn post(&self, post: Post<'_>) -> Result<Bytes, Failure> {
        let mut request = self
            .client
            .post(self.url.clone())
            .timeout(post.timeout)
            .header(header::CONTENT_TYPE, "application/json")
            .header(EVENT_ID, post.id)
            .header("traceparent", post.traceparent);
        if let Some(key) = &*self.key.load() {
            request = request.header(SIGNATURE, key.sign(now(), post.body));
        }
        let response = request.body(post.body.clone()).send().await.map_err(failure)?;
        let status = response.status();
        if !status.is_success() {
            return Err(Failure::Status(status.as_u16()));
        }
        self.read(response).await
    }

    async fn read(&self, mut response: Response) -> Result<Bytes, Failure> {
        let most = self.max_reply;
        let too_large = || Failure::TooLarge(most);
        let announced = response.content_length().unwrap_or(0);
        if announced > most as u64 {
            return Err(too_large());
        }
        let mut body = Vec::with_capacity(usize::try_from(announced).unwrap_or(0));
        while let Some(chunk) = response.chunk().await.map_err(failure)? {
            if body.len() + chunk.len() > most {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn failure(error: reqwest::Error) -> Failure {
    if error.is_timeout() {
        return Failure::Timeout;
    }
    // Without the URL, which may hold a password.
    Failure::Unreachable(format!("{:#}", anyhow::Error::from(error.without_url())))
}

fn authorities(file: &Path) -> Result<Vec<Certificate>, BackendError> {
    let unusable = |error: String| unusable("backend.caFile", file, error);
    let pem = read_authorities(file).map_err(|error| unusable(error.to_string()))?;
    Certificate::from_pem_bundle(&pem).map_err(|error| unusable(error.to_string()))
}

fn signing_key(file: &Path) -> Result<SigningKey, BackendError> {
    let secret = read_signing_key(file);
    let secret =
        secret.map_err(|error| unusable("backend.signingKeyFile", file, error.to_string()))?;
    Ok(SigningKey::new(&secret))
}

fn unusable(key: &'static str, file: &Path, error: String) -> BackendError {
    BackendError::File { key, file: file.display().to_string(), error }
}
