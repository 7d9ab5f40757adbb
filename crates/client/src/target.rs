//! [`Target`]: where a client connects to, and as whom.

use std::fmt;
use std::time::Duration;

use reqwest::Url;

use super::ClientError;
use rookery_protocol::Data;

/// Where a client connects to, and as whom.
#[derive(Clone)]
pub struct Target {
    /// The server's URL as the user wrote it.
    pub(super) url: String,
    /// The WebSocket's URL, query included.
    pub(super) endpoint: Url,
    /// The namespace, with its leading slash.
    pub(super) namespace: String,
    /// Sent as `{token}` in the auth object.
    pub(super) token: Option<String>,
    /// How long connecting may take.
    pub(super) timeout: Duration,
}

impl Target {
    /// A server at `url` (`http`, `https`, `ws` or `wss`), with the path `/socket.io/`, the
    /// namespace `/`, no token, and ten seconds to connect.
    ///
    /// # Errors
    /// [`ClientError::Target`] when the URL cannot be used.
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

    /// With another path than `/socket.io/`.
    pub fn path(mut self, path: &str) -> Self {
        self.endpoint.set_path(&format!("/{}/", path.trim_matches('/')));
        self
    }

    /// In another namespace than `/`; the leading slash may be left out.
    ///
    /// # Errors
    /// [`ClientError::Target`] for a name with a comma or a question mark: packets cannot carry them.
    pub fn namespace(mut self, namespace: &str) -> Result<Self, ClientError> {
        if namespace.contains([',', '?']) {
            return Err(ClientError::Target(format!(
                "a namespace has no comma and no question mark, found `{namespace}`"
            )));
        }
        self.namespace = format!("/{}", namespace.trim_start_matches('/'));
        Ok(self)
    }

    /// With a token in the auth object.
    pub fn token(mut self, token: Option<&str>) -> Self {
        self.token = token.map(str::to_owned);
        self
    }

    /// With another limit for connecting.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The WebSocket's URL, query included: `ws` or `wss`.
    pub fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    /// The namespace, with its leading slash.
    pub fn namespace_name(&self) -> &str {
        &self.namespace
    }

    /// The auth object that goes with the CONNECT.
    pub fn auth(&self) -> Option<Data> {
        let token = self.token.as_deref()?;
        Some(Data::Object(vec![("token".to_owned(), Data::from(token))]))
    }

    /// The server's URL as it was given.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// Without the token.
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
