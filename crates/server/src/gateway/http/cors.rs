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

/// Which page may read a response. It keeps nothing of the request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigin {
    /// The request does not come from a page.
    Absent,
    /// Pages of every origin.
    Any,
    /// Pages of the server's own origin.
    Own,
    /// Pages of this origin, which may send cookies or not.
    Named { origin: HeaderValue, credentials: bool },
}

impl AllowedOrigin {
    /// The page that may read the response to a request with these headers.
    pub fn of(cors: &Cors, request: &HeaderMap) -> Self {
        let Some(origin) = request.get(header::ORIGIN) else { return AllowedOrigin::Absent };
        if cors.origins.iter().any(|o| o == "*") {
            return AllowedOrigin::Any;
        }
        let named = cors.origins.iter().find(|o| o.as_bytes() == origin.as_bytes());
        match named.map(|origin| HeaderValue::from_str(origin)) {
            Some(Ok(origin)) => AllowedOrigin::Named { origin, credentials: cors.credentials },
            _ => AllowedOrigin::Own,
        }
    }

    /// Adds the headers that let the origin's page read the response.
    pub fn add(self, headers: &mut HeaderMap) {
        match self {
            AllowedOrigin::Absent => {}
            AllowedOrigin::Any => {
                let any = HeaderValue::from_static("*");
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any);
            }
            AllowedOrigin::Own => {
                headers.append(header::VARY, HeaderValue::from_static("Origin"));
            }
            AllowedOrigin::Named { origin, credentials } => {
                headers.append(header::VARY, HeaderValue::from_static("Origin"));
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
                if credentials {
                    let yes = HeaderValue::from_static("true");
                    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
                }
            }
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
