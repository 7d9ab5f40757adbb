//! CORS: which browser origins may use the Engine.IO endpoint.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;

use super::response::EngineResponse;
use rookery_config::Cors;

/// Whether a request's origin may connect. Browsers send no preflight for a WebSocket, so the list
/// of origins is enforced here too.
pub fn origin_allowed(cors: &Cors, headers: &HeaderMap) -> bool {
    let origins = &cors.origins;
    let Some(origin) = headers.get(header::ORIGIN).and_then(|v| v.to_str().ok()) else {
        return true;
    };
    let host = headers.get(header::HOST).and_then(|v| v.to_str().ok());
    let own = origin.split_once("://").map(|(_, authority)| authority);
    origins.iter().any(|o| o == "*" || o == origin) || (own.is_some() && own == host)
}

/// Adds the headers that let the origin's page read the response.
pub fn allow_origin(cors: &Cors, origin: Option<HeaderValue>, headers: &mut HeaderMap) {
    let Some(origin) = origin else { return };
    if cors.origins.iter().any(|o| o == "*") {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        return;
    }
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if cors.origins.iter().any(|o| o.as_bytes() == origin.as_bytes()) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if cors.credentials {
            let yes = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
    }
}

/// The response to a preflight request with these headers.
pub fn preflight(request: &HeaderMap) -> EngineResponse {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    let methods = HeaderValue::from_static("GET, POST, OPTIONS");
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    if let Some(requested) = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, requested.clone());
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, 600.into());
    response
}
