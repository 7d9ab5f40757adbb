//! The Engine.IO endpoint: routes the clients' HTTP requests and refuses invalid ones.

mod body;
mod cors;
mod engine_error;
mod handshake;
mod polling;
mod query;
mod request;
mod response;
mod upgrade;

use http::header::{self, HeaderMap};
use http::{Method, StatusCode};

use super::drain_state::DrainPhase;
use super::log_throttles::LogSubject;
use crate::telemetry::metrics::Rejected;
use engine_error::EngineError;
use query::Query;
pub use request::EngineRequest;
use response::{EngineResponse, draining, error, limit_reached, text};
use rookery_config::Transport;
use rookery_protocol::Revision;
pub use upgrade::PendingUpgrade;

/// Answers a request of the clients' listener. Where the answer is a 101, the connection's upgrade
/// is put into `pending`.
pub async fn serve(request: EngineRequest, pending: &PendingUpgrade) -> EngineResponse {
    let gateway = request.gateway().clone();
    let config = &gateway.config.socketio;
    let origin = request.headers().get(header::ORIGIN).cloned();
    let uri = request.http.uri().clone();
    if !is_endpoint(uri.path(), &config.path) {
        let body = format!("Socket.IO answers at {}/\n", config.path);
        return text(StatusCode::NOT_FOUND, body);
    }
    let mut response = if request.http.method() == Method::OPTIONS {
        cors::preflight(request.headers())
    } else if cors::origin_allowed(&config.cors, request.headers()) {
        dispatch(request, Query::parse(uri.query().unwrap_or_default()), pending).await
    } else {
        let subject = LogSubject::address(request.origin().address);
        gateway.refused(
            Rejected::Forbidden,
            subject,
            &"the origin is not in socketio.cors.origins",
        );
        error(EngineError::Forbidden)
    };
    cors::allow_origin(&config.cors, origin, response.headers_mut());
    response
}

/// The checks and their order are those of Node's server.
async fn dispatch(
    request: EngineRequest,
    query: Query<'_>,
    pending: &PendingUpgrade,
) -> EngineResponse {
    let transports = &request.gateway().config.socketio.transports;
    let transport = query.transport().filter(|t| transports.contains(t) && !query.jsonp);
    let Some(transport) = transport else {
        return error(EngineError::UnknownTransport);
    };
    let upgrade = is_upgrade(request.headers());
    let Some(sid) = &query.sid else {
        return if request.http.method() != Method::GET {
            error(EngineError::BadHandshakeMethod)
        } else if (transport == Transport::Websocket) != upgrade {
            error(EngineError::BadRequest)
        } else {
            open(request, &query, transport, pending)
        };
    };
    let Some(session) = request.engine.sessions().get(sid) else {
        return error(EngineError::UnknownSid);
    };
    match (transport, request.http.method()) {
        (Transport::Websocket, &Method::GET) if upgrade => {
            upgrade::upgrade_session(request, session, pending)
        }
        (Transport::Polling, &Method::GET) => polling::get(&session, query.base64).await,
        (Transport::Polling, &Method::POST) => polling::post(request, &session).await,
        _ => error(EngineError::BadRequest),
    }
}

/// Answers a handshake.
fn open(
    request: EngineRequest,
    query: &Query<'_>,
    transport: Transport,
    pending: &PendingUpgrade,
) -> EngineResponse {
    let gateway = request.gateway();
    let revision = match query.eio.as_deref() {
        Some("4") => Revision::V4,
        Some("3") if gateway.config.socketio.eio3 => Revision::V3,
        _ => return error(EngineError::UnsupportedVersion),
    };
    let origin = request.origin();
    request.record_unreadable(origin);
    let subject = LogSubject::address(origin.address);
    if gateway.drain.phase() == DrainPhase::Window {
        gateway.refused(Rejected::Draining, subject, &"this instance is draining");
        return draining(&gateway.config);
    }
    let permit = match gateway.limits.acquire(origin) {
        Ok(permit) => permit,
        Err(limit) => {
            gateway.refused(limit.reason, subject, &limit.explanation);
            return limit_reached(&limit, &gateway.config);
        }
    };
    match transport {
        Transport::Polling => handshake::open_polling(&request, revision, query.base64, permit),
        Transport::Websocket => upgrade::open_websocket(request, revision, permit, pending),
    }
}

fn is_endpoint(path: &str, endpoint: &str) -> bool {
    let endpoint = endpoint.trim_end_matches('/');
    path.strip_prefix(endpoint).is_some_and(|rest| rest.is_empty() || rest == "/")
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    let value = headers.get(header::UPGRADE).and_then(|v| v.to_str().ok());
    value.is_some_and(|v| v.eq_ignore_ascii_case("websocket"))
}
