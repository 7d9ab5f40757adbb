//! Who may use the HTTP API.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use tracing::debug;

use super::problem::Problem;
use super::{Shared, body};
use rookery_ops::throttle::limited;

/// Knows the API keys.
pub trait ApiKeyCheck: Send + Sync + 'static {
    /// The name of the publisher that holds this key; none when it is no key. Takes as long for
    /// a wrong key as for a right one.
    fn name_of(&self, key: &str) -> Option<String>;
}

/// Who sent a request that was let in: the name of its key; none where no key is needed.
#[derive(Clone)]
pub(super) struct Caller(pub(super) Option<Arc<str>>);

/// The rule by which requests of the HTTP API are let in.
#[derive(Clone)]
pub enum Access {
    /// Only with `Authorization: Bearer KEY`.
    Keys(Arc<dyn ApiKeyCheck>),
    /// Everybody: there are no keys, and only this machine reaches the listener.
    Open,
    /// Nobody: there are no keys, and others reach the listener.
    Closed,
}

impl Access {
    /// The rule for these keys (none: `auth.apiKeysFile` is not configured) and the address that
    /// the internal listener is bound to.
    pub fn new(keys: Option<Arc<dyn ApiKeyCheck>>, internal: SocketAddr) -> Self {
        match keys {
            Some(keys) => Access::Keys(keys),
            None if internal.ip().to_canonical().is_loopback() => Access::Open,
            None => Access::Closed,
        }
    }

    fn check(&self, headers: &HeaderMap) -> Result<Option<String>, Problem> {
        let keys = match self {
            Access::Keys(keys) => keys,
            Access::Open => return Ok(None),
            Access::Closed => return Err(closed()),
        };
        match bearer(headers) {
            None => Err(unauthenticated(
                "An API key is needed: send `Authorization: Bearer KEY` with a key of auth.apiKeysFile",
                "Bearer realm=\"rookery\"",
            )),
            Some(key) => keys.name_of(key).map(Some).ok_or_else(|| {
                unauthenticated(
                    "This is no API key: see auth.apiKeysFile for the keys",
                    "Bearer realm=\"rookery\", error=\"invalid_token\"",
                )
            }),
        }
    }
}

/// The middleware: refuses what [`Access`] does not let in.
pub(super) async fn check(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if path != "/api" && !path.starts_with("/api/") {
        return next.run(request).await;
    }
    match shared.api.access.check(request.headers()) {
        Ok(publisher) => {
            debug!(publisher, method = %request.method(), path, "an API request");
            let mut request = request;
            request.extensions_mut().insert(Caller(publisher.map(Into::into)));
            next.run(request).await
        }
        Err(problem) => {
            let client = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|c| c.0);
            limited!(
                shared.refusals,
                warn,
                client = client.map(tracing::field::display),
                status = problem.status().as_u16(),
                path,
                "refused an API request without a valid key"
            );
            let (head, body) = request.into_parts();
            body::discard(&head.headers, body).await;
            problem.into_response()
        }
    }
}

/// The token of an `Authorization: Bearer` header.
///
/// Source: RFC 6750, section 2.1; the scheme's name has no case (RFC 9110, section 11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// 401 with its challenge.
///
/// Source: RFC 6750, section 3: no `error` where no token was sent.
fn unauthenticated(detail: &str, challenge: &'static str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, detail)
        .code("unauthenticated")
        .header(header::WWW_AUTHENTICATE, challenge)
}

fn closed() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "The HTTP API has no keys, so it answers only on loopback: set auth.apiKeysFile, or bind \
         `internal` to a loopback address",
    )
    .code("forbidden")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_keys_only_loopback_is_open() {
        for (address, open) in [
            ("127.0.0.1:9090", true),
            ("[::1]:9090", true),
            ("[::ffff:127.0.0.1]:9090", true),
            ("0.0.0.0:9090", false),
            ("[::]:9090", false),
            ("10.0.0.7:9090", false),
        ] {
            let access = Access::new(None, address.parse().unwrap());
            assert_eq!(access.check(&HeaderMap::new()).is_ok(), open, "{address}");
        }
    }

    #[test]
    fn the_token_is_read_as_the_rfc_says() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(read("Bearer k1"), Some("k1".to_owned()));
        assert_eq!(read("bearer  k1 "), Some("k1".to_owned()));
        for bad in ["Bearer", "Bearer ", "Basic k1", "k1", ""] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
