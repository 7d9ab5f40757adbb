//! Which requests of the HTTP API are allowed.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};

use super::problem::Problem;
use rookery_config::api_keys::{ApiKey, ApiKeys};

/// The sender of an authorized request: its key; `None` if no key is needed.
#[derive(Clone)]
pub(super) struct Caller(pub(super) Option<Arc<ApiKey>>);

impl Caller {
    /// The name of its key.
    pub(super) fn name(&self) -> Option<&str> {
        self.0.as_ref().map(|key| key.name.as_str())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Caller>().cloned();
        // Every request under `/api` was authorized before it reached its route.
        caller.ok_or_else(|| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "No key was checked"))
    }
}

/// Which requests of the HTTP API are allowed. Cloning is shallow.
#[derive(Clone)]
pub enum Access {
    /// Requests with `Authorization: Bearer KEY`, where KEY is one of the current keys.
    Keys(Arc<ArcSwap<ApiKeys>>),
    /// All requests: there are no keys, and the listener is bound to a loopback address.
    Open,
    /// No requests: there are no keys, and the listener is not bound to a loopback address.
    Closed,
}

impl Access {
    /// The rule for these keys (`None` if `auth.apiKeysFile` is not set) and the address that the
    /// internal listener is bound to.
    pub fn new(keys: Option<Arc<ArcSwap<ApiKeys>>>, internal: SocketAddr) -> Self {
        match keys {
            Some(keys) => Access::Keys(keys),
            None if internal.ip().to_canonical().is_loopback() => Access::Open,
            None => Access::Closed,
        }
    }

    /// Who sends a request with these headers.
    ///
    /// # Errors
    /// 401 without a valid key, 403 while the API is closed.
    pub(super) fn authorize(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        let keys = match self {
            Access::Keys(keys) => keys,
            Access::Open => return Ok(Caller(None)),
            Access::Closed => return Err(closed()),
        };
        let Some(key) = bearer(headers) else {
            return Err(unauthenticated(
                "An API key is required: send `Authorization: Bearer KEY` with a key from \
                 auth.apiKeysFile",
                "Bearer realm=\"rookery\"",
            ));
        };
        match keys.load().find(key) {
            Some(key) => Ok(Caller(Some(key.clone()))),
            None => Err(unauthenticated(
                "Unknown API key: send one of the keys in auth.apiKeysFile",
                "Bearer realm=\"rookery\", error=\"invalid_token\"",
            )),
        }
    }
}

/// The token of an `Authorization: Bearer` header.
///
/// Source: RFC 6750, section 2.1; the scheme is case-insensitive (RFC 9110, section
/// 11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// 401 with its challenge.
///
/// Source: RFC 6750, section 3: no `error` if no token was sent.
fn unauthenticated(detail: &str, challenge: &'static str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, detail)
        .code("unauthenticated")
        .header(header::WWW_AUTHENTICATE, challenge)
}

fn closed() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "Without API keys, the HTTP API is served only on loopback: set auth.apiKeysFile, or \
         bind `internal` to a loopback address",
    )
    .code("forbidden")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_keys_the_api_is_open_only_on_loopback() {
        for (address, open) in [
            ("127.0.0.1:9090", true),
            ("[::1]:9090", true),
            ("[::ffff:127.0.0.1]:9090", true),
            ("0.0.0.0:9090", false),
            ("[::]:9090", false),
            ("10.0.0.7:9090", false),
        ] {
            let access = Access::new(None, address.parse().unwrap());
            assert_eq!(access.authorize(&HeaderMap::new()).is_ok(), open, "{address}");
        }
    }

    #[test]
    fn a_bearer_token_is_parsed_as_rfc_6750_specifies() {
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
