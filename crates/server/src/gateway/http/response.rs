//! HTTP responses of the Engine.IO endpoint.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body_util::Full;

use super::engine_error::EngineError;
use crate::gateway::limits::LimitReached;
use crate::telemetry::metrics::Rejected;
use rookery_config::Config;
use rookery_ops::readiness::Readiness;
use rookery_protocol::payload::Form;

/// The response to a client's request.
pub type EngineResponse = Response<Full<Bytes>>;

/// A plain text response.
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> EngineResponse {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=UTF-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

/// The response to a load balancer that asks whether this instance is ready, without the reasons.
pub fn health(method: &Method, readiness: &Readiness) -> EngineResponse {
    let mut response = match (method, readiness.is_ready()) {
        (&Method::GET | &Method::HEAD, true) => text(StatusCode::OK, "ready\n"),
        (&Method::GET | &Method::HEAD, false) => {
            text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
        }
        _ => {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            let allow = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(header::ALLOW, allow);
            response
        }
    };
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, no_store);
    response
}

/// The response to a polling GET: packets in one payload.
pub fn payload(form: Form, body: impl Into<Bytes>) -> EngineResponse {
    let mut response = Response::new(Full::new(body.into()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The response to a request that Engine.IO cannot serve.
pub fn error(error: EngineError) -> EngineResponse {
    let status = match error {
        EngineError::Forbidden => StatusCode::FORBIDDEN,
        _ => StatusCode::BAD_REQUEST,
    };
    let mut response = text(status, error.body());
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// The response to a handshake that a limit forbids.
///
/// Unless it is the address's own limit, the client's next request may reach another instance.
pub fn limit_reached(limit: &LimitReached, config: &Config) -> EngineResponse {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, "at a limit; try again\n");
    let seconds = limit.retry_after.as_secs().max(1);
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, seconds.into());
    match limit.reason {
        Rejected::Connections | Rejected::Memory => release_client(config, headers),
        Rejected::PerIp => {}
        // The connection stays: in a storm of clients a new one for each attempt costs more.
        _ => expire_sticky_cookie(config, headers),
    }
    response
}

/// The response to a handshake while this instance drains.
pub fn draining(config: &Config) -> EngineResponse {
    elsewhere(config, "this instance is about to stop\n")
}

/// The response to a handshake while this instance gives sessions away.
pub fn rebalancing(config: &Config) -> EngineResponse {
    elsewhere(config, "another instance has fewer clients; try again\n")
}

fn elsewhere(config: &Config, explanation: &'static str) -> EngineResponse {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, explanation);
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, 1.into());
    release_client(config, headers);
    response
}

/// Makes the client's next request free to reach another instance: it closes the connection and
/// expires the ingress's sticky cookie.
pub fn release_client(config: &Config, headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    expire_sticky_cookie(config, headers);
}

fn expire_sticky_cookie(config: &Config, headers: &mut HeaderMap) {
    for expired in expired_cookies(config) {
        if let Ok(expired) = HeaderValue::from_str(&expired) {
            headers.append(header::SET_COOKIE, expired);
        }
    }
}

/// The values of `Set-Cookie` that expire the ingress's sticky cookie.
pub fn expired_cookies(config: &Config) -> impl Iterator<Item = String> {
    // Browsers accept a cookie in a cross-site response only with these attributes.
    let cross_site = config.socketio.cors.credentials.then_some("; SameSite=None; Secure");
    let cookie = config.drain.sticky_cookie.as_ref();
    let attributes = cookie.into_iter().flat_map(move |cookie| {
        std::iter::once("").chain(cross_site).map(move |attributes| (cookie, attributes))
    });
    attributes.map(|(cookie, attributes)| format!("{cookie}=; Path=/; Max-Age=0{attributes}"))
}
