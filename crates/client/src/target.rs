//! [`Target`]: the server, namespace and credentials of a client.

use std::fmt;
use std::time::Duration;

use reqwest::Url;

use crate::error::ClientError;
use rookery_protocol::Data;

/// The server that a client connects to, the namespace, and the credentials that it presents.
#[derive(Clone)]
pub struct Target {
    url: String,
    /// The WebSocket's URL, query included.
    endpoint: Url,
    /// The namespace, with its leading slash.
    namespace: String,
    /// Sent as `{token}` in the auth object.
    token: Option<String>,
    timeout: Duration,
}

impl Target {
    /// The server at `url` (`http`, `https`, `ws` or `wss`), with the path `/socket.io/`, the
    /// namespace `/`, no token, and ten seconds to connect.
    ///
    /// # Errors
    /// [`ClientError::Target`] when the URL is not one of these.
    pub fn new(url: &str) -> Result<Target, ClientError> {
        let expected = || {
            ClientError::Target(format!(
                "expected a URL such as http://127.0.0.1:3000, found `{url}`"
            ))
        };
        let mut endpoint = Url::parse(url).map_err(|_| expected())?;
        let scheme = match endpoint.scheme() {
            "http" | "ws" => "ws",
            "https" | "wss" => "wss",
            _ => return Err(expected()),
        };
        if endpoint.host_str().is_none_or(str::is_empty) || endpoint.set_scheme(scheme).is_err() {
            return Err(expected());
        }
        endpoint.set_fragment(None);
        endpoint.set_query(Some("EIO=4&transport=websocket"));
        endpoint.set_path("/socket.io/");
        Ok(Target {
            url: url.to_owned(),
            endpoint,
            namespace: "/".to_owned(),
            token: None,
            timeout: Duration::from_secs(10),
        })
    }

    /// Replaces the path `/socket.io/`.
    pub fn with_path(mut self, path: &str) -> Self {
        self.endpoint.set_path(&format!("/{}/", path.trim_matches('/')));
        self
    }

    /// Replaces the namespace `/`; the leading slash is optional.
    ///
    /// # Errors
    /// [`ClientError::Target`] for a name with a comma or a question mark, which a packet's
    /// namespace cannot contain.
    pub fn with_namespace(mut self, namespace: &str) -> Result<Self, ClientError> {
        if namespace.contains([',', '?']) {
            return Err(ClientError::Target(format!(
                "a namespace must not contain a comma or a question mark, found `{namespace}`"
            )));
        }
        self.namespace = format!("/{}", namespace.trim_start_matches('/'));
        Ok(self)
    }

    /// Sets the token that is sent in the auth object.
    pub fn with_token(mut self, token: Option<&str>) -> Self {
        self.token = token.map(str::to_owned);
        self
    }

    /// Replaces the time that connecting may take, ten seconds.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The WebSocket's URL, query included: `ws` or `wss`.
    pub fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    /// The namespace, with its leading slash.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The auth object of the CONNECT packet; `None` without a token.
    pub fn auth(&self) -> Option<Data> {
        let token = self.token.as_deref()?;
        Some(Data::Object(vec![("token".into(), Data::from(token))]))
    }

    /// The server's URL as the user wrote it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The time that connecting may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// Omits the token.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Target")
            .field("endpoint", &self.endpoint.as_str())
            .field("namespace", &self.namespace)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("timeout", &self.timeout)
            .finish()
    }
}
